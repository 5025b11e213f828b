"""``registry new NAME``: the package of a working plugin, as a starting point."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from keyword import iskeyword
from pathlib import Path
from typing import NamedTuple

import click

from registry.cli.output import echo

NAME = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"
"""How names of distributions and architectures are spelled."""

TRAINER = "make_tiny.py"
"""The script of a package that trains its model."""

SHARED = "shared"
"""The directory of ``scaffold/`` with the files of every kind of package."""

CHARACTERS = "characters"
"""The directory of ``scaffold/`` with a tokenizer of characters."""


class PackageKind(NamedTuple):
    """A kind of package, whose files are in the directory of ``scaffold/`` that is named like it."""

    summary: str
    entry_point: str = "my_tiny.plugin"
    requires: tuple[str, ...] = ()
    """What it imports, in addition to the registry."""
    adds: bool = False
    """Whether it adds to an architecture of another plugin, and declares none."""
    takes: tuple[str, ...] = ()
    """Further directories of ``scaffold/`` whose files it has."""


KINDS: Mapping[str, PackageKind] = {
    "causal": PackageKind("a model that reads from left to right", requires=("attrs", "torch"), takes=(CHARACTERS,)),
    "encoder": PackageKind("a model that reads from both sides", requires=("attrs", "torch")),
    "seq2seq": PackageKind("an encoder-decoder, which answers texts", requires=("attrs", "torch"), takes=(CHARACTERS,)),
    "image": PackageKind("a classifier of images, and their processor", requires=("attrs", "pillow", "torch")),
    "head": PackageKind("a head on a model of another plugin", requires=("attrs", "torch"), adds=True),
    "cards": PackageKind("names of models of another plugin", entry_point="my_tiny", adds=True),
    "weights": PackageKind("a weight format", requires=("numpy", "torch"), adds=True),
}


@click.command()
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(list(KINDS)),
    default="causal",
    help=f"What it declares (default: causal): {'; '.join(f'{kind}: {of.summary}' for kind, of in KINDS.items())}.",
)
@click.option(
    "--architecture",
    metavar="WORD",
    help="Its architecture (default: NAME without a leading 'registry-'), or that to which it adds.",
)
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Target directory (default: NAME).",
)
@click.option("--weights/--no-weights", default=True, help="Train the tiny model (default); imports torch.")
def command(name: str, kind: str, architecture: str | None, directory: Path | None, weights: bool) -> None:
    """Create a plugin package, ready to install and test.

    A kind with a model has a tokenizer, a card, trained weights, conformance tests and a CI workflow.  NAME becomes the
    name of the plugin and of the distribution: lower-case words separated by '-'.
    """
    if architecture is None:
        architecture = next(iter(based_on())) if KINDS[kind].adds else name.removeprefix("registry-")
    _check_name(name)
    _check_architecture(kind, architecture)
    target = directory or Path(name)
    if target.exists() and any(target.iterdir()):
        raise click.UsageError(f"{target} is not empty; choose another --directory.")
    try:
        for path, text in render(name, kind, architecture):
            file = target / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            echo(f"{file}")
        trains = (target / TRAINER).exists()
        if trains and weights:
            _train(target)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)  # it was empty or did not exist before
        raise
    training = f"python {TRAINER} && " if trains and not weights else ""  # a test loads the trained model
    echo(f"\nNext:  cd {target} && {training}pip install -e '.[test]' && pytest")


def render(name: str, kind: str = "causal", architecture: str | None = None) -> Iterator[tuple[Path, str]]:
    """The files of a new package: path and text of each.

    Args:
        name: Of the plugin and the distribution.
        kind: Of ``KINDS``.
        architecture: Which it declares, or to which it adds; the name, or the usual one, unless given.
    """
    of = KINDS[kind]
    architecture = architecture or (next(iter(based_on())) if of.adds else name)
    words = name if of.adds else architecture
    names = {
        "my-tiny": name,
        "my_tiny": name.replace("-", "_"),
        "MyTiny": "".join(map(str.capitalize, words.split("-"))),
        "tiny-arch": architecture,
        "DESCRIPTION": f"{name}: {of.summary}, for the registry",
        "DEPENDENCIES": "".join(f', "{package}"' for package in of.requires),
        "    ARCHITECTURE\n": "" if architecture == name else f'    architecture = "{architecture}"\n',
        **(_declared(architecture) if kind == "cards" else based_on()[architecture] if of.adds else {}),
    }
    names["ENTRY_POINT"] = of.entry_point.replace("my_tiny", names["my_tiny"])
    pattern = "|".join(sorted(map(re.escape, names), key=len, reverse=True))

    def named(text: str) -> str:
        return re.sub(pattern, lambda found: names[found[0]], text)

    scaffold = files(f"{__package__}.scaffold")
    for directory in (SHARED, *of.takes, kind):
        for parts, file in _template_files(scaffold / directory):
            path = Path(*(named(re.sub("^dot_", ".", part)) for part in parts))
            yield path.with_name(path.name.removesuffix(".in")), named(file.read_text(encoding="utf-8"))


def based_on() -> dict[str, dict[str, str]]:
    """Architectures to which a package may add, the usual one first, with words for the templates."""
    text = (files(f"{__package__}.scaffold") / "based_on.toml.in").read_text(encoding="utf-8")
    return {name: {key: value.rstrip() for key, value in words.items()} for name, words in tomllib.loads(text).items()}


def _declared(architecture: str) -> dict[str, str]:
    """What the templates of cards say of an installed architecture: its task, and the files of its tokenizer."""
    from registry import discovery

    found = discovery.architecture(architecture)
    roles = {} if found.tokenizer is None else found.tokenizer.files
    listed = "\n".join(f'    "{role}": "{filename}",' for role, filename in roles.items())
    return {"TASK": "base" if found.config is None else found.config.default_task, '    "TOKENIZER": "FILES",': listed}


def _template_files(directory: Traversable) -> Iterator[tuple[tuple[str, ...], Traversable]]:
    for entry in sorted(directory.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from (((entry.name, *parts), file) for parts, file in _template_files(entry))
        elif entry.name.endswith(".in"):
            yield (entry.name,), entry


def _check_name(name: str) -> None:
    """Refuse invalid names of distributions or modules, and names that are already taken."""
    module = name.replace("-", "_")
    if not re.fullmatch(NAME, name) or iskeyword(module):
        raise click.UsageError(f"NAME must be lower-case words and digits separated by '-', not {name!r}.")
    if module in sys.stdlib_module_names or module in ("registry", "plugins", "torch", "tests"):
        raise click.UsageError(f"a module {module!r} already exists; choose another NAME.")


def _check_architecture(kind: str, architecture: str) -> None:
    """Refuse an architecture that is taken, or to which nothing can be added."""
    from registry import discovery

    if not re.fullmatch(NAME, architecture):
        raise click.UsageError(
            f"--architecture must be lower-case words and digits separated by '-', not {architecture!r}."
        )
    installed = discovery.architecture(architecture).config is not None
    if not KINDS[kind].adds:
        if installed:
            raise click.UsageError(
                f"an installed plugin already declares the architecture {architecture!r}; choose another NAME, or "
                f"another word as --architecture."
            )
    elif kind == "cards":  # which need no template of the architecture
        if not installed:
            raise click.UsageError(f"no installed plugin declares the architecture {architecture!r}.")
    elif architecture not in based_on():
        raise click.UsageError(f"--architecture of a package of this kind is {' or '.join(based_on())}.")


def _train(target: Path) -> None:
    """Run the script that trains the tiny model, in a separate process, since the package is not installed."""
    run = subprocess.run(  # noqa: S603  # this interpreter, the file written above
        [sys.executable, TRAINER],
        cwd=target,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise click.ClickException(f"{TRAINER} failed; --no-weights skips it.\n{run.stderr}")
    echo(run.stdout.strip())
