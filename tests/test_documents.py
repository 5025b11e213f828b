"""What the documents say of the source is so: import paths, links, the rooms of the core, and the picture of a load."""

import ast
import functools
import http.server
import importlib
import inspect
import os
import re
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

import registry
from registry.nn import onednn
from registry.zoo import BertConfig, BertModel, BertTokenizer

ROOT = Path(registry.__file__).parent.parent.parent
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [*DOCS, ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
PAGES += [ROOT / "src/registry/README.md", ROOT / "src/plugins/README.md"]


# --- Import paths -----------------------------------------------------------------------------------------------------

NO_MODULES = {"registry.py", "registry.json", "registry.lock", "registry.v1", "registry.v2"}
"""Files and entry-point groups, which look like import paths."""

PATH = re.compile(r"(?<![\w./:-])(?:registry|plugins)(?:\.[A-Za-z_]\w*)+(?![\w/])")
IMPORT = re.compile(r"^\s*from ((?:registry|plugins)[\w.]*) import (\([^)]*\)|[^\n#]+)", re.MULTILINE)
REFERENCE = re.compile(r"^::: (\S+)\n(?:    .*\n)*?(?: +members: \[([^\]]*)\])", re.MULTILINE)


def import_paths(text: str) -> set[str]:
    """The import paths that a page names: in its text, in import statements, and for its reference."""
    found = set(PATH.findall(text))
    for module, names in [*IMPORT.findall(text), *REFERENCE.findall(text)]:
        words = [name.split(" as ")[0].strip() for name in names.strip("() \n").split(",")]
        found |= {module, *(f"{module}.{word}" for word in words if word)}
    return found - NO_MODULES


def resolve(path: str) -> Any:
    """What an import path leads to: a module, or an attribute of one."""
    parts = path.split(".")
    for number in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:number]))
        except ModuleNotFoundError as problem:
            if not ".".join(parts[:number]).startswith(str(problem.name)):
                raise
            continue
        return functools.reduce(getattr, parts[number:], found)
    raise ModuleNotFoundError(path)


def test_every_import_path_that_the_documents_name_works() -> None:
    named = {path for page in PAGES for path in import_paths(page.read_text("utf-8"))}
    assert len(named) > 60
    broken = {}
    for path in sorted(named):
        try:
            resolve(path)
        except (ImportError, AttributeError) as problem:
            broken[path] = str(problem)
    assert broken == {}


def test_import_paths_are_found_wherever_they_stand() -> None:
    text = "`registry.a.b`, see `registry.json`\n```python\nfrom registry.c import (\n    D,\n    E as F,\n)\n```\n"
    text += "::: registry.g\n    options:\n      members: [h, i]\n"
    expected = {
        "registry.a.b",
        "registry.c",
        "registry.c.D",
        "registry.c.E",
        "registry.g",
        "registry.g.h",
        "registry.g.i",
    }
    assert import_paths(text) == expected


# --- Links ------------------------------------------------------------------------------------------------------------

REPOSITORY = re.compile(r"https://github\.com/torch-registry/torch-registry/(?:blob|tree)/main/([\w./-]+)")


def test_every_link_into_the_repository_leads_to_a_file() -> None:
    for page in (ROOT / "README.md", *(ROOT / "src/registry/cli/setup/scaffold").glob("*/README.md.in")):
        for path in REPOSITORY.findall(page.read_text("utf-8")):
            assert (ROOT / path).exists(), f"{page.name}: {path}"


def test_the_readme_has_no_relative_link() -> None:
    """It is shown on the page of the package index as well."""
    links = re.findall(r"\]\(([^)]+)\)|^\[[^\]]+\]: (\S+)", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert len(links) > 10
    assert [link for pair in links for link in pair if link and not link.startswith("https://")] == []


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[2])
    assert sorted(listed) == [path.relative_to(ROOT / "docs").as_posix() for path in DOCS]


def test_the_page_of_errors_lists_all_with_their_first_lines() -> None:
    page = (ROOT / "docs/reference/errors.md").read_text("utf-8")
    listed = re.findall(r"^\| \[`(\w+)`\]\(#registry\.errors\.(\w+)\) \| (.+) \|$", page, re.MULTILINE)
    assert listed == sorted(
        (name, name, (inspect.getdoc(kind) or "").split("\n")[0])
        for name, kind in vars(registry.errors).items()
        if isinstance(kind, type)
        and issubclass(kind, (registry.RegistryError, Warning))
        and kind.__module__ == "registry.errors"
    )


# --- The rooms --------------------------------------------------------------------------------------------------------


def rooms() -> list[str]:
    """The modules and directories that the README of the core lists, in its order."""
    return re.findall(r"^\| `([\w./]+)` \|", (ROOT / "src/registry/README.md").read_text("utf-8"), re.MULTILINE)


def test_the_readme_of_the_core_lists_its_rooms() -> None:
    here = ROOT / "src/registry"
    there = {path.name for path in here.glob("*.py")} | {f"{path.parent.name}/" for path in here.glob("*/__init__.py")}
    assert set(rooms()) == there
    assert len(rooms()) == len(there)


def test_the_readme_of_the_plugins_lists_their_files() -> None:
    text = (ROOT / "src/plugins/README.md").read_text("utf-8")
    files = {path.name for path in (ROOT / "src/plugins").glob("*/*.py")}
    assert sorted(name for name in files if f"`{name}`" not in text) == []
    assert {path.parent.name for path in (ROOT / "src/plugins").glob("*/plugin.py")} == set(
        re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    )


# --- The picture of the design ----------------------------------------------------------------------------------------

BOTTOM = {"__init__", "_version", "errors", "garbage", "formatting", "namespace", "records", "hookspecs", "files"}
"""Facts and values which every step uses; the picture leaves them out."""


def steps() -> list[list[str]]:
    """The arrows of the picture: the rooms of each, from the name to the model."""
    text = (ROOT / "docs/design.md").read_text("utf-8")
    return [re.split(r", ", arrow) for arrow in re.findall(r"^ +│  ([a-z]+(?:, [a-z]+)*)  ", text, re.MULTILINE)]


def test_the_picture_of_the_design_shows_the_rooms_that_a_load_enters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_archive(tmp_path)
    monkeypatch.setenv("PYTORCH_PRETRAINED_BERT_CACHE", str(tmp_path / "cache"))
    registry.refresh()
    onednn.is_faster.cache_clear()  # another test may have asked
    with serving(tmp_path) as url, entered() as order:
        loaded = registry.load(f"{url}/model.tar.gz", offline=False)
        _ = loaded.tokenizer
    drawn = {room: number for number, arrow in enumerate(steps()) for room in arrow}
    assert set(order) - BOTTOM == set(drawn)
    numbers = [drawn[room] for room in order if room in drawn and room != "loading"]
    assert numbers == sorted(numbers), f"the rooms return in the order {order}"


def save_archive(directory: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat"]
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    torch.manual_seed(0)
    model = BertModel(BertConfig(vocab_size=len(words), **sizes))
    model.init_weights()
    tokenizer = BertTokenizer({word: number for number, word in enumerate(words)})
    saved = registry.save(model, directory / "model", tokenizer=tokenizer)
    with tarfile.open(directory / "model.tar.gz", "w:gz") as archive:
        for path in saved.iterdir():
            archive.add(path, path.name)


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """A server of the files in a directory; yields its URL."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def entered() -> Iterator[list[str]]:
    """The rooms of the core in the order in which a function of each first returns: a step may call an earlier one."""
    order: list[str] = []
    home = f"{ROOT / 'src/registry'}{os.sep}"

    def note(frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        is_function = code.co_flags & inspect.CO_OPTIMIZED
        if event == "return" and is_function and code.co_filename.startswith(home):
            room = Path(code.co_filename.removeprefix(home)).parts[0].removesuffix(".py")
            if room not in order:
                order.append(room)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield order
    finally:
        sys.setprofile(before)


# --- Deprecation ------------------------------------------------------------------------------------------------------

FORM = re.compile(r".+ is deprecated since \d+\.\d+ and will be removed in \d+\.\d+; use .+\.$", re.DOTALL)


def deprecations() -> Iterator[tuple[str, str]]:
    """The messages of deprecation in the source, each with its file; a part that is computed counts as ``X``."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and "RegistryDeprecationWarning" in ast.unparse(node):
                for message in node.args[:1]:
                    if isinstance(message, ast.JoinedStr):
                        parts = [part.value if isinstance(part, ast.Constant) else "X" for part in message.values]
                        yield str(path), "".join(map(str, parts))
                    elif isinstance(message, ast.Constant):
                        yield str(path), str(message.value)


def test_deprecations_have_the_form_that_the_documentation_promises() -> None:
    quoted = re.findall(r'"(X is deprecated[^"]+)"', (ROOT / "docs/versioning.md").read_text("utf-8"))
    assert [bool(FORM.match(text)) for text in quoted] == [True]
    assert [(path, text) for path, text in deprecations() if not FORM.match(text)] == []
    promised = "Nothing is deprecated at present." in (ROOT / "docs/versioning.md").read_text("utf-8")
    assert promised == (not [*deprecations()])


def test_a_deprecation_is_shown_by_default() -> None:
    from registry.errors import RegistryDeprecationWarning, RegistryWarning

    assert issubclass(RegistryDeprecationWarning, RegistryWarning)
    assert not issubclass(RegistryDeprecationWarning, DeprecationWarning), "these are hidden outside of __main__"


# --- Glossary ---------------------------------------------------------------------------------------------------------


def test_the_glossary_has_one_sentence_for_each_word() -> None:
    rows = re.findall(r"^\| ([a-z ]+) \| (.+) \|$", (ROOT / "docs/glossary.md").read_text("utf-8"), re.MULTILINE)
    glossary = {word: meaning for word, meaning in rows if word != "word"}
    expected = [
        "architecture",
        "card",
        "layout",
        "manifest",
        "overlay",
        "part",
        "plugin",
        "policy",
        "source",
        "tie group",
    ]
    assert list(glossary) == expected
    for word, meaning in glossary.items():
        assert meaning.endswith((".", "`.")), word
        assert meaning[0].isupper() or meaning[0] == "`", word
