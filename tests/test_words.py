"""The words of docs, README, docstrings and messages are the field's: a list of others does not occur.

Looked at are the prose of the README and of docs/ outside of code, the docstrings, comments and texts of src and
examples, and the templates of pages and of the scaffold.  A word is compared as a whole, in any case of letters.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

import registry

ROOT = Path(registry.__file__).parent.parent.parent

BANNED = {
    # not -> but, as in docs/glossary.md and CONTRIBUTING.md
    "stranger": "third party",
    "strangers": "third parties",
    "stranger's": "a third party's",
    "ancestor": "pytorch-pretrained-bert",
    "ancestor's": "pytorch-pretrained-bert's",
    "the manual": "the documentation of pytorch-pretrained-bert",
    "the original release": "the TensorFlow (OpenAI) checkpoint",
    "can be had": "is available",
    "could be had": "was available",
    "be had": "be available",
    "may be asked": "can be called",
    "anew": "again",
    "many ranks": "distributed training",
    "likeness": "similarity",
    "beside": "next to, in addition to",
    "besides": "in addition",
    "trunk": "base model, backbone",
    "surplus": "unexpected",
    "lacking": "missing",
    "misshapen": "shape mismatch",
    "passed over": "ignored",
    "left out": "dropped, skipped",
    "hallmarks": "required keys",
    "in words": "as text",
    "is told": "is reported",
    "walks on": "continues",
    "goes on": "continues",
    "go on": "continue",
    "going on": "continuing",
    "near in meaning": "similar",
    "likeliest": "most likely",
    "warned of": "warned about",
    "warns of": "warns about",
    "warn of": "warn about",
    "taken off": "removed",
    "is called that": "is named in the error",
    "are called that": "are named in the error",
    "has no meaning": "has no effect",
    "have no meaning": "have no effect",
    "makes no sense": "is invalid",
    "make no sense": "are invalid",
    "for ever": "forever, without end",
    "in front of": "before",
    "looking back": "causal",
    "looks back": "is causal",
    "looked back": "was causal",
    "watched": "with attention weights",
    "stretch": "span",
    "folder": "directory",
    "folders": "directories",
    "folder's": "directory's",
    "address": "URL",
    "addresses": "URLs",
    "spelt": "spelled",
    "misspelt": "misspelled",
    "learnt": "learned",
    "he": "they",
    "his": "their",
    "him": "them",
    "fate": "outcome",
    "fates": "outcomes",
    "harvest": "collect",
    "mishap": "error",
    "catalogue": "catalog",
    "licence": "license",
    "colour": "color",
    "colours": "colors",
    "neighbour": "neighbor",
    "neighbours": "neighbors",
    "honour": "honor",
    "honoured": "honored",
    "behaviour": "behavior",
    "favour": "favor",
    "grey": "gray",
    "centre": "center",
    "organisation": "organization",
    "organisations": "organizations",
    "quantisation": "quantization",
    "quantised": "quantized",
    "quantise": "quantize",
}
"""A word or phrase, and what to write instead."""

BRITISH = re.compile(
    r"\b\w*(?:initiali|normali|tokeni|seriali|recogni|optimi|utili|organi|standardi|generali|capitali|parametri|"
    r"minimi|maximi|summari|speciali|visuali|factori|reali|emphasi|customi|memori|materiali|finali|synchroni)"
    r"s(?:e|ed|es|er|ers|ing|ation|ations|able)\b",
    re.IGNORECASE,
)
"""Spellings with -ise."""

GERMAN_NO = re.compile(r"(?<!there )\b(?:is|was|are|were) no (?!longer\b|other\b|more\b)[\w-]+", re.IGNORECASE)
"""``X is no model``, for: X is not a model."""

HOMOGRAPHS = re.compile(
    r"(?:ip|loopback|memory|e-?mail|return|postal) address(?:es)?|address(?:es)? (?:space|of (?:memory|a machine))|"
    r"radius and colour",
    re.IGNORECASE,
)
"""Phrases in which a banned word stands for something else: the address of a machine or of memory; and a sentence of
examples/classify.py, whose measured result is in docs/examples.md."""

PARAMETER = re.compile(r"^ +\w+(?=: )")
"""A name under ``Args:``."""

WORDS = "|".join(map(re.escape, sorted(BANNED, key=len, reverse=True)))
PHRASES = re.compile(rf"(?<![\w.`/'-])(?:{WORDS})(?![\w`/-]|\.\w)", re.IGNORECASE)
CODE = re.compile(
    r"```.*?^```|``[^`\n]+``|`[^`\n]+`|\]\([^)\n]*\)|https?://\S+"
    r"|{[{%].*?[%}]}",  # of templates
    re.DOTALL | re.MULTILINE,
)


def prose(source: str, name: str) -> Iterator[tuple[int, str]]:
    """The text of a file that people read: line number, and line."""
    if name.endswith((".py", ".py.in")):
        yield from texts_of_code(source)
    else:
        yield from enumerate(blanked(source).splitlines(), 1)


def blanked(source: str) -> str:
    """The source with code, links and URLs replaced by blanks, line by line."""
    return CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), source)


def texts_of_code(source: str) -> Iterator[tuple[int, str]]:
    """Comments, docstrings and texts of sentences; names and keys are not prose."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
            for number, line in enumerate(blanked(node.value).splitlines()):
                yield node.lineno + number, line


PATTERNS = (
    *(
        "src/**/*.py",
        "src/**/*.in",
        "src/**/*.md",
        "src/**/*.html",
        "examples/**/*.py",
        "examples/**/*.md",
        "scripts/*",
    ),
    *("docs/**/*.md", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"),
)


def files() -> Iterator[Path]:
    """The files that are looked at."""
    for pattern in PATTERNS:
        found = (path for path in ROOT.glob(pattern) if path.is_file())
        yield from (path for path in found if not {"tests", "build"} & {*path.relative_to(ROOT).parts})


def area(path: Path) -> str:
    """The directory for which one test speaks: ``docs``, or ``src/registry/cli``."""
    parts = path.relative_to(ROOT).parts
    return "/".join(parts[:3] if parts[0] == "src" else parts[:1])


AREAS = {name: list(paths) for name, paths in groupby(sorted(files(), key=area), key=area)}


def faults(source: str, name: str) -> list[str]:
    """The banned words in a file, each with its line and what to write instead."""
    found = []
    for number, line in prose(source, name):
        text = HOMOGRAPHS.sub("", PARAMETER.sub("", line))
        found += [(number, match[0], BANNED[match[0].lower()]) for match in PHRASES.finditer(text)]
        found += [(number, match[0], "American spelling") for match in BRITISH.finditer(text)]
        found += [(number, match[0], "is not a ...") for match in GERMAN_NO.finditer(text)]
    return [f"{name}:{number}: not {word!r} but {instead!r}" for number, word, instead in found]


@pytest.mark.parametrize("area", AREAS)
def test_the_words_are_those_of_the_field(area: str) -> None:
    found = [fault for path in AREAS[area] for fault in faults(path.read_text("utf-8"), str(path.relative_to(ROOT)))]
    assert found == []


@pytest.mark.parametrize(
    ("name", "source", "count"),
    [
        ("a.md", "A stranger's plugin is passed over.", 2),
        ("a.md", "```python\nfolder = 1\n```\nThe `folder` of ``his`` is [here](folder.md).", 0),
        ("a.py", '"""Initialise anew."""\n# his folder\nfolder = "folder"\n', 4),
        ("a.py", 'raise ValueError("The loopback address has no folder.")', 1),
        ("a.md", "A file is no model, and there is no other.", 1),
    ],
)
def test_a_banned_word_is_found_in_prose_and_not_in_code(name: str, source: str, count: int) -> None:
    assert len(faults(source, name)) == count


# --- Names ------------------------------------------------------------------------------------------------------------


def classes() -> Iterator[tuple[str, str]]:
    """The classes of src: name, and file."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                yield node.name, str(path.relative_to(ROOT))


def test_no_two_classes_share_a_name() -> None:
    places: dict[str, list[str]] = {}
    for name, path in classes():
        places.setdefault(name, []).append(path)
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_everything_that_people_read_is_looked_at() -> None:
    assert {"docs", "README.md", "CHANGELOG.md", "examples", "src/registry/cli", "src/plugins/bert"} <= set(AREAS)
