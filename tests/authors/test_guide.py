"""Every block of docs/plugins is run, page by page, as a reader would.

- ``sh`` blocks are run in a clean environment, and so are the ``python`` blocks of "In ten minutes", each in a process.
- ``python`` blocks of the other pages are run in one namespace a page.
- A ``text`` block is what the block before it prints, a ``pytb`` block the error it raises; ``...`` is anything.
- A block with a ``title`` stands word for word in the file of that name which `registry new my-tiny` writes, or which
  the example registry-roberta has; a ``diff`` with a title is applied to it.  Those in ``FILES`` are modules that their
  page imports.
"""

import ast
import doctest
import inspect
import io
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

import attrs
import pytest

import registry
from registry import discovery, records
from registry.cli.setup.new import KINDS, render
from registry.config import fields
from registry.discovery.card_file import CARD_KEYS
from registry.hookspecs import RECORD_TYPES, RegistrySpecs
from registry.testing import CAPABILITIES, Conformance

DOCS = Path(__file__).parent.parent.parent / "docs"
GUIDE = "first.md"
PAGES = {path.name: path.read_text("utf-8") for path in sorted((DOCS / "plugins").glob("*.md"))}
OTHERS = [page for page in PAGES if page != GUIDE]
ROBERTA = DOCS.parent / "examples" / "registry-roberta" / "src"
TEMPLATE = {path.as_posix(): text for path, text in render("my-tiny")} | {
    path.relative_to(ROBERTA).as_posix(): path.read_text("utf-8") for path in ROBERTA.glob("*/*.py")
}
FILES = ("npz_format.py",)
BUILD = ("python -m pip wheel", "python -m pip wheel --no-build-isolation")
"""The package was installed with setuptools from the index; its wheel is built with the one at hand: half the time."""
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    language: str
    title: str | None
    text: str


def blocks(page: str) -> Iterator[Block]:
    return (Block(language, title or None, text) for language, title, text in FENCE.findall(PAGES[page]))


def matches(promised: str, found: str) -> bool:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(promised, found, flags)


@pytest.fixture(autouse=True)
def _fresh_discovery() -> Iterator[None]:
    with discovery.isolated():
        yield


# --- The blocks -------------------------------------------------------------------------------------------------------


def test_every_block_says_its_language() -> None:
    fences = sum(page.count("\n```") for page in PAGES.values())
    assert 2 * sum(len(FENCE.findall(page)) for page in PAGES.values()) == fences


@pytest.mark.parametrize("page", PAGES)
def test_blocks_with_a_title_stand_in_the_files_of_a_new_package(page: str) -> None:
    for block in blocks(page):
        if block.title not in (None, *FILES) and block.language != "diff":
            assert block.text in TEMPLATE[block.title], f"{page}: {block.title} does not say\n{block.text}"


@pytest.mark.parametrize("page", OTHERS)
def test_every_block_of_a_page_does_what_the_page_says(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    namespace: dict[str, Any] = {"__name__": page}
    printed, raised = "", ""
    for block in blocks(page):
        if block.title in FILES:
            (tmp_path / block.title).write_text(block.text)
        elif block.language == "python" and block.title is None:
            printed, raised = run(block.text, page, namespace)
        elif block.language == "text":
            assert matches(block.text, printed), f"{page}: promised is\n{block.text}\nprinted was\n{printed}"
        elif block.language == "pytb":
            assert matches(block.text, raised), f"{page}: promised is\n{block.text}\nraised was\n{raised}"
            raised = ""
    assert not raised, f"{page}: {raised}"


def run(code: str, page: str, namespace: dict[str, Any]) -> tuple[str, str]:
    """What a block prints, and the error that it raises, in words."""
    output = io.StringIO()
    with redirect_stdout(output):
        try:
            exec(compile(code, page, "exec"), namespace)
        except Exception as problem:
            return output.getvalue(), f"{type(problem).__name__}: {problem}"
    return output.getvalue(), ""


@pytest.mark.slow
def test_the_guide_leads_from_an_empty_directory_to_a_model_of_ones_own(clean: Any, tmp_path: Path) -> None:
    directory, printed, titles = tmp_path, "", set()
    for block in blocks(GUIDE):
        if block.language == "sh":
            printed = clean.call(f"{block.text}\npwd > {tmp_path / 'where'}", directory)
            directory = Path((tmp_path / "where").read_text().strip())
        elif block.language == "python" and block.title is None:
            (tmp_path / "block.py").write_text(block.text)
            printed = clean.call(f"python {tmp_path / 'block.py'}", directory)
        elif block.language == "text":
            assert matches(block.text, printed), f"promised is\n{block.text}\nprinted was\n{printed}"
        elif block.language == "diff":
            apply(block.text, directory / str(block.title))
            titles.add(block.title)
    assert titles == {"src/my_tiny/modeling.py", "make_tiny.py", "tests/test_conformance.py"}
    assert (directory.name, directory.parent) == ("my-tiny", tmp_path)
    for page in (
        "packaging.md",
        "index.md",
        "testing.md",
    ):  # build a wheel, and install it from there
        for block in blocks(page):
            if block.language == "sh":
                text = block.text.replace(*BUILD).replace("--record-weights", "--record-weights -k published")
                clean.call(f"export PIP_NO_INDEX=1 PIP_FIND_LINKS=dist\n{text}", directory)
    assert (directory / "tests" / "TestMyTiny.weights.txt").is_file()


def apply(diff: str, path: Path) -> None:
    lines = diff.splitlines(keepends=True)
    old = "".join(line[1:] for line in lines if line[0] in "- ")
    new = "".join(line[1:] for line in lines if line[0] in "+ ")
    text = path.read_text("utf-8")
    assert text.count(old) == 1, f"{path} has this {text.count(old)} times:\n{old}"
    path.write_text(text.replace(old, new), "utf-8")


# --- What the pages list ----------------------------------------------------------------------------------------------


def rows(page: str, heading: str) -> dict[str, list[str]]:
    """The table under a heading: the word in the first column -> the other columns."""
    table = PAGES[page].partition(heading)[2].partition("|---")[2].partition("\n\n")[0].splitlines()[1:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]
    return {first.strip("` "): [cell.strip("`") for cell in others] for first, *others in cells}


def test_the_page_of_hooks_lists_every_hook_with_its_record() -> None:
    listed = {hook: columns[0] for hook, columns in rows("hooks.md", "# Hooks").items()}
    assert listed == {hook: kind.__name__ for hook, kind in RECORD_TYPES.items()}


def test_the_page_of_tests_lists_every_capability_and_every_suite() -> None:
    assert {name: words for name, (words,) in rows("testing.md", "## Unsupported capabilities").items()} == dict(
        CAPABILITIES
    )
    suites = {cls.__name__ for cls in Conformance.__mro__ if cls.__name__.endswith("Suite")} - {"Suite"}
    assert set(rows("testing.md", "## What is checked")) == suites


def test_every_page_is_listed_in_the_first() -> None:
    linked = set(re.findall(r"\]\((\w+\.md)\)", PAGES["index.md"]))
    assert linked == set(PAGES) - {"index.md"}


def test_the_file_of_cards_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (toml,) = (block.text for block in blocks("cards.md") if block.language == "toml")
    (tmp_path / "cards.toml").write_text(toml, "utf-8")
    monkeypatch.setenv("REGISTRY_CARDS", str(tmp_path / "cards.toml"))
    registry.refresh()
    assert registry.info("our-encoder").files[1].urls == ("https://models.example.org/encoder/model.safetensors",)
    assert registry.info("bert-base-uncased").files[0].urls[0].startswith("https://mirror.example.org/")


def test_the_page_of_cards_lists_every_key_of_a_model() -> None:
    listed = {word for row in rows("cards.md", "| key of a model") for word in row.replace("`", "").split(", ")}
    assert listed == set(CARD_KEYS)


def test_the_page_of_fields_lists_every_kind() -> None:
    listed = set(re.findall(r"\b(\w+)\(", "".join(rows("build.md", "## Fields of a configuration"))))
    kinds = {name for name, value in vars(fields).items() if isinstance(value, FunctionType) and name[0] != "_"}
    assert listed == kinds - {"field", "did_you_mean"}


# --- The reference, which is made from the source ---------------------------------------------------------------------


@pytest.mark.parametrize("hook", RECORD_TYPES)
def test_every_hook_is_documented_with_an_example_that_yields_its_record(hook: str) -> None:
    words = inspect.getdoc(getattr(RegistrySpecs, hook))
    assert words is not None
    sentence, _, example = words.partition("Example::")
    assert sentence.strip().endswith(".")
    namespace: dict[str, Any] = {**vars(registry.records), "hookimpl": registry.hookimpl}
    exec(inspect.cleandoc(example), namespace)
    declared = list(namespace[hook]())
    assert declared
    assert all(type(record) is RECORD_TYPES[hook] for record in declared)


def test_every_hook_has_a_record_and_every_record_a_hook() -> None:
    hooks = {name for name, value in vars(RegistrySpecs).items() if isinstance(value, FunctionType)}
    assert hooks == set(RECORD_TYPES)
    classes = {value for value in vars(records).values() if isinstance(value, type) and hasattr(value, "key")}
    assert classes == set(RECORD_TYPES.values())


TOP = {"registry", "registry.zoo", "registry.config", "registry.records", "registry.errors", "registry.testing"}
"""Modules whose public names are all on pages of their own."""


def imported() -> set[tuple[str, str]]:
    """Module and name of all that packages of authors import: those of `registry new`, and the examples."""
    texts = [text for kind in KINDS for path, text in render("my-tiny", kind) if path.suffix == ".py"]
    texts += [path.read_text("utf-8") for path in DOCS.parent.glob("examples/registry-*/src/*/**/*.py")]
    found = (node for text in texts for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom))
    ours = [(node.module, node.names) for node in found if node.module and re.match(r"registry(\.|$)", node.module)]
    return {(module, alias.name) for module, names in ours for alias in names}


def test_all_that_authors_import_is_in_the_reference() -> None:
    reference = "".join(page.read_text("utf-8") for page in (DOCS / "reference").glob("*.md"))
    shown: set[tuple[str, str]] = set()
    for path, options in re.findall(r"^::: (registry[\w.]*)\n((?:    .*\n)*)", reference, re.MULTILINE):
        members = re.search(r" members: \[(.+)\]", options)
        module, _, name = path.rpartition(".")
        shown |= {(path, "*")} if members is None else {(path, member) for member in members[1].split(", ")}
        shown.add((module, name))
    missing = {
        f"{module}.{name}"
        for module, name in imported()
        if module not in TOP
        and (module, name) not in shown
        and (module, "*") not in shown
        and not any(other.startswith(f"{module}.") and last in (name, "*") for other, last in shown)
    }
    assert missing == set()


def undocumented(source: str, classes: set[str]) -> list[str]:
    """Fields without a sentence behind them."""
    missing = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name in classes:
            for field, after in zip(node.body, [*node.body[1:], None], strict=True):
                if isinstance(field, ast.AnnAssign):
                    value = getattr(getattr(after, "value", None), "value", None)
                    if not isinstance(value, str) or not value.rstrip().endswith((".", "``")):
                        missing.append(f"{node.name}.{ast.unparse(field.target)}")
    return missing


def test_every_field_of_every_record_is_documented() -> None:
    names = {kind.__name__ for kind in RECORD_TYPES.values()} | {"FileSpec", "LazyRef"}
    assert undocumented(inspect.getsource(records), names) == []
    assert all(attrs.has(kind) for kind in RECORD_TYPES.values())


def test_a_field_without_a_sentence_would_be_noticed() -> None:
    source = 'class Card:\n    name: str\n    """A name."""\n    task: str\n'
    assert undocumented(source, {"Card"}) == ["Card.task"]
