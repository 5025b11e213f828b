"""Plugins are found wherever ``importlib.metadata`` would find them."""

import itertools
import re
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version

from registry import discovery
from registry.discovery import entry_points
from registry.discovery.entry_points import PluginWarning, entries_in
from registry.discovery.plugin import module_and_path

Install = Callable[..., Path]

ENTRY_POINTS = "[registry.v1]\ntoy = toy_plugin\n"


def announced() -> set[str]:
    """The plugins that installed distributions announce, those of ours left out."""
    discovery.refresh()
    return {plugin.name for plugin in discovery.announced() if not plugin.first_party}


def peer() -> set[str]:
    """The same, by Python's own reader."""
    return {entry.name for entry in metadata.entry_points(group="registry.v1")} - {"bert", "gpt", "gpt2", "transfo_xl"}


def directory(site: Path, name: str, described: str) -> Path:
    info = site / name
    info.mkdir(parents=True)
    (info / described).write_text("Metadata-Version: 2.1\nName: toy-dist\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return site


def archive(path: Path, name: str, described: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}/{described}", "Metadata-Version: 2.1\nName: toy-dist\nVersion: 1.0\n")
        file.writestr(f"{name}/entry_points.txt", ENTRY_POINTS)
    return path


PLACES: dict[str, Callable[[Path], Path]] = {
    "what pip leaves": lambda path: directory(path / "site", "toy_dist-1.0.dist-info", "METADATA"),
    "an older installer's directory": lambda path: directory(path / "site", "toy_dist-1.0-py3.11.egg-info", "PKG-INFO"),
    "an installation in development": lambda path: directory(path / "src", "toy_dist.egg-info", "PKG-INFO"),
    "a wheel that is not unpacked": lambda path: archive(path / "toy.whl", "toy_dist-1.0.dist-info", "METADATA"),
    "an egg": lambda path: directory(path / "toy_dist-1.0-py3.11.egg", "EGG-INFO", "PKG-INFO"),
    "an egg that is not unpacked": lambda path: archive(path / "toy_dist-1.0.egg", "EGG-INFO", "PKG-INFO"),
    "a directory of another case": lambda path: directory(path / "site", "Toy.Dist-1.0.DIST-INFO", "METADATA"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_distribution_is_found_in(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(PLACES[place](tmp_path))
    assert announced() == peer() == {"toy"}
    assert [plugin.distribution for plugin in discovery.announced() if plugin.name == "toy"] == ["toy-dist"]


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that writes metadata of one distribution into one directory on the path: name -> version."""

    def write(*names: str) -> None:
        for name in names:
            info = tmp_path / "site" / name
            info.mkdir(parents=True)
            version = name.removesuffix(".dist-info").removesuffix(".egg-info").partition("-")[2] or "0.9"
            text = f"Metadata-Version: 2.1\nName: toy-dist\nVersion: {version}\n"
            (info / ("METADATA" if name.endswith("dist-info") else "PKG-INFO")).write_text(text)
            target = re.sub(r"\W", "_", name)
            (info / "entry_points.txt").write_text(f"[registry.v1]\ntoy = {target}\n")
        monkeypatch.syspath_prepend(tmp_path / "site")
        discovery.refresh()

    return write


class Nothing(metadata.DistributionFinder):
    """A finder of an application that has nothing."""

    def find_spec(self, *_arguments: object) -> None:
        return None

    def find_distributions(self, context: object = None) -> Iterator[metadata.Distribution]:
        return iter(())


def counted() -> list[str]:
    """The modules of the plugin ``toy`` that are announced."""
    return [str(plugin.target) for plugin in entry_points.installed_plugins() if plugin.name == "toy"]


@pytest.mark.parametrize("finder", [False, True], ids=["read here", "read by importlib"])
def test_what_pip_was_about_to_remove_is_no_distribution(
    finder: bool, copies: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    if finder:
        monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Nothing()])
    copies("~oy_dist-1.5.dist-info", "~-y_dist-3.0.dist-info", "toy_dist-2.0.dist-info", "~oy_dist-9.egg-info")
    copies("-oy_dist-4.0.dist-info", ".toy_dist-5.0.dist-info")
    assert set(counted()) == {"toy_dist_2_0_dist_info"}


ORDERS: dict[tuple[str, ...], str] = {
    ("toy_dist-1.9.dist-info", "toy_dist-1.10.dist-info"): "toy_dist_1_10_dist_info",
    ("toy_dist-2.0rc1.dist-info", "toy_dist-2.0.dist-info", "toy_dist-2.0.dev5.dist-info"): "toy_dist_2_0_dist_info",
    ("toy_dist-2.0.post1.dist-info", "toy_dist-2.0.dist-info"): "toy_dist_2_0_post1_dist_info",
    ("toy_dist-1.0.egg-info", "toy_dist-1.0.dist-info"): "toy_dist_1_0_dist_info",
    ("toy_dist-2.0.egg-info", "toy_dist-1.0.dist-info"): "toy_dist_2_0_egg_info",
}


@pytest.mark.parametrize(("names", "first"), [(n, ORDERS[o]) for o in ORDERS for n in itertools.permutations(o)])
def test_of_several_versions_in_one_directory_the_newest_counts(
    names: tuple[str, ...], first: str, copies: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    copies(*names)
    found = list(names)
    monkeypatch.setattr(entry_points, "_listing", lambda entry: found if str(entry).endswith("site") else [])
    others = len({name.rpartition(".")[0] for name in names}) - 1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert counted() == [first]
    assert [str(warning.message).count(" is hidden by toy-dist ") for warning in caught] == [1] * others


@settings(max_examples=30)
@given(st.lists(st.from_regex(r"(1!)?[0-3](\.[0-2]){0,2}((a|b|rc)[0-2]|\.post[0-2])?(\.dev[0-2])?", fullmatch=True)))
def test_versions_are_sorted_as_packaging_sorts_them(versions: list[str]) -> None:
    keys = sorted(versions, key=entry_points.version_key)
    assert [Version(version) for version in keys] == sorted(map(Version, versions))


def test_entries_of_the_path_that_hold_nothing_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text").write_text("no archive")
    (tmp_path / "empty").mkdir()
    for name in ("text", "empty", "nowhere"):
        monkeypatch.syspath_prepend(str(tmp_path / name))
    assert announced() == peer() == set()


def test_an_empty_entry_of_the_path_is_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(directory(tmp_path / "site", "toy_dist-1.0.dist-info", "METADATA"))
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert announced() == peer() == {"toy"}


def test_a_finder_of_an_application_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Carried(metadata.Distribution):
        def read_text(self, filename: str) -> str | None:
            return {"METADATA": "Name: toy-dist\nVersion: 1.0\n", "entry_points.txt": ENTRY_POINTS}.get(filename)

        def locate_file(self, path: object) -> Path:
            return Path(str(path))

    class Finder(metadata.DistributionFinder):
        def find_spec(self, *_arguments: object) -> None:
            return None

        def find_distributions(self, context: object = None) -> Iterator[metadata.Distribution]:
            yield Carried()

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    assert announced() == peer() == {"toy"}


def test_a_directory_in_place_of_a_file_counts_as_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = directory(tmp_path / "site", "toy_dist-1.0.dist-info", "METADATA")
    (site / "toy_dist-1.0.dist-info" / "entry_points.txt").unlink()
    (site / "toy_dist-1.0.dist-info" / "entry_points.txt").mkdir()
    monkeypatch.syspath_prepend(site)
    assert announced() == set()


LINES = st.sampled_from(
    [
        *("[registry.v1]", "[[registry.v1]]", " [registry.v1] ", "[registry.v2]", "[registry.v1", "[]", "[other]"),
        *("toy = toy.plugin", "toy=toy.plugin:hooks", "a b = c.d [extra]", "toy = a = b", "= x", "x =", "registry.v1"),
        *("", "  ", "# toy = x", "; toy = x", "\ttoy = x\t", "\x0ctoy = x"),
    ]
)


@given(st.lists(LINES, max_size=8).map("\n".join))
def test_entry_points_are_read_as_python_reads_them(text: str) -> None:
    try:
        entries = metadata.EntryPoints._from_text_for(text, None)
        wanted = [(entry.name, entry.value) for entry in entries if entry.group == "registry.v1"]
    except TypeError:  # a line without an equals sign
        if "registry.v1" in text:
            with pytest.raises(ValueError, match="not of the form"):
                list(entries_in(text))
    else:
        assert list(entries_in(text)) == wanted


def test_a_comment_in_an_entry_points_file_is_no_entry() -> None:
    text = "# [registry.v1]\n[registry.v1]\n#old = old_plugin\n  # a comment without an equals sign\ntoy = toy_plugin\n"
    assert list(entries_in(text)) == [("toy", "toy_plugin")]


@pytest.mark.parametrize("target", ["a.b", "a.b:c.d", "a:b [x, y]", "a : b", "a [x]", "a.b:c[x]"])
def test_targets_are_understood_as_python_does(target: str) -> None:
    entry = metadata.EntryPoint("name", target, "registry.v1")
    assert module_and_path(target) == (entry.module, entry.attr or "")


def test_extras_after_a_target_mean_nothing(install: Install) -> None:
    install("toy-dist", value="toy_plugin [gpu, more]")
    assert {plugin.name: plugin.state for plugin in discovery.plugins()}["toy_plugin"] == "loaded"


def test_a_damaged_archive_is_told_or_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = archive(tmp_path / "toy.whl", "toy_dist-1.0.dist-info", "METADATA").read_bytes()
    (tmp_path / "toy.whl").write_bytes(whole[: len(whole) // 2])
    monkeypatch.syspath_prepend(str(tmp_path / "toy.whl"))
    assert announced() == peer() == set()


def test_metadata_that_are_not_in_utf_8_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = directory(tmp_path / "site", "toy_dist-1.0.dist-info", "METADATA")
    (site / "toy_dist-1.0.dist-info" / "METADATA").write_bytes(b"Name: toy\xff\n")
    monkeypatch.syspath_prepend(site)
    with pytest.warns(PluginWarning, match="UnicodeDecodeError"):
        assert announced() == set()


def test_looking_for_plugins_does_not_import_the_reader_of_python() -> None:
    code = (
        "import sys\nfrom registry.sources.resolve import resolve\nresolve('bert-base-uncased')\n"
        "assert not {'importlib.metadata', 'email', 'zipfile', 'tomllib'} & set(sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_every_distribution_of_this_environment_is_found() -> None:
    def names(found: Iterator[str | None]) -> set[str]:
        return {Path(place).name for place in found if place}

    wanted = names(str(getattr(distribution, "_path", "")) for distribution in metadata.distributions())
    assert names(place for place, _ in entry_points.distributions()) == wanted
