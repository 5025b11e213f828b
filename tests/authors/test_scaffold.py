"""``registry new NAME``: what it writes installs, and works."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from registry.cli import main
from registry.cli.setup.new import KINDS, render


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["new", *arguments], prog_name="registry")


def test_every_file_is_in_the_words_of_the_new_name() -> None:
    files = {path.as_posix(): text for path, text in render("deep-sea-net")}
    assert {"pyproject.toml", ".gitignore", ".github/workflows/test.yml", "README.md"} <= set(files)
    assert {"src/deep_sea_net/plugin.py", "src/deep_sea_net/py.typed", "tests/test_conformance.py"} <= set(files)
    assert not [path for path, text in files.items() if re.search("my.?tiny", path + text, re.IGNORECASE)]
    assert "class DeepSeaNetForCausalLM(" in files["src/deep_sea_net/modeling.py"]
    project = tomllib.loads(files["pyproject.toml"])
    assert project["project"]["name"] == "deep-sea-net"
    assert project["project"]["entry-points"]["registry.v1"] == {"deep-sea-net": "deep_sea_net.plugin"}


def test_a_word_of_its_own_is_that_of_the_architecture_and_of_the_classes() -> None:
    files = {path.as_posix(): text for path, text in render("registry-sea", "encoder", "deep-net")}
    assert "class DeepNetForMaskedLM(" in files["src/registry_sea/modeling.py"]
    assert 'architecture: ClassVar[str] = "deep-net"' in files["src/registry_sea/config.py"]
    assert 'plugin = "registry-sea"\n    architecture = "deep-net"\n' in files["tests/test_conformance.py"]


@pytest.mark.parametrize(
    ("kind", "base"), [("seq2seq", "Seq2SeqLM, DeepNetModel"), ("image", "DeepNetPreTrainedModel")]
)
def test_the_kinds_of_encoder_decoders_and_images_are_in_the_words_of_the_architecture(kind: str, base: str) -> None:
    files = {path.as_posix(): text for path, text in render("registry-sea", kind, "deep-net")}
    last = {"seq2seq": "ConditionalGeneration", "image": "ImageClassification"}[kind]
    assert f"class DeepNetFor{last}({base}):" in files["src/registry_sea/modeling.py"]
    processor = {"seq2seq": "tokenization:DeepNetTokenizer", "image": "processing:DeepNetProcessor"}[kind]
    assert f'cls="registry_sea.{processor}"' in files["src/registry_sea/plugin.py"]
    requires = tomllib.loads(files["pyproject.toml"])["project"]["dependencies"]
    assert ("pillow" in requires) == (kind == "image")
    assert not [path for path, text in files.items() if re.search("my.?tiny", path + text, re.IGNORECASE)]


def test_a_leading_registry_is_no_part_of_the_architecture(tmp_path: Path) -> None:
    assert run("registry-sea", "--directory", str(tmp_path / "new"), "--no-weights").exit_code == 0
    assert 'architecture: ClassVar[str] = "sea"' in (tmp_path / "new/src/registry_sea/config.py").read_text("utf-8")


def test_a_card_names_the_files_and_the_task_of_the_architecture() -> None:
    files = {path.as_posix(): text for path, text in render("our-models", "cards", "gpt2")}
    written = files["src/our_models/__init__.py"]
    assert '    "vocab": "vocab.json",\n    "merges": "merges.txt",\n' in written
    assert 'name="our-models", architecture="gpt2", task="causal-lm")' in written
    assert 'our-models = "our_models"\n' in files["pyproject.toml"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--architecture", "gpt2"), "already declares the architecture 'gpt2'"),
        (("--architecture", "GPT"), "--architecture must be lower-case words"),
        (("--kind", "cards", "--architecture", "brt"), "no installed plugin declares the architecture 'brt'"),
        (("--kind", "head", "--architecture", "gpt"), "of this kind is bert or gpt2"),
        (("--kind", "heads"), "'heads' is not one of"),
    ],
)
def test_an_architecture_that_does_not_fit_the_kind_is_refused(
    options: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("my-tiny", *options)
    assert result.exit_code == 2
    assert said in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_its_code_is_clean(kind: str, tmp_path: Path) -> None:
    assert run("my-tiny", "--kind", kind, "--directory", str(tmp_path / "new"), "--no-weights").exit_code == 0
    for command in (["check", "--select", "E,F,W,UP,RUF"], ["format", "--check", "--exclude", "*.md"]):
        line = [sys.executable, "-m", "ruff", *command, "--isolated", "--line-length", "120", str(tmp_path)]
        ended = subprocess.run(line, capture_output=True, text=True, check=False)
        if "No module named ruff" in ended.stderr:
            pytest.skip("ruff is not installed")
        assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("My-Tiny", "lower-case words"),
        ("../escape", "lower-case words"),
        ("1st", "lower-case words"),
        ("lambda", "lower-case words"),
        ("email", "a module 'email' already exists"),
        ("torch", "a module 'torch' already exists"),
        ("bert", "already declares the architecture 'bert'"),
    ],
)
def test_a_name_that_could_not_work_is_refused(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(name)
    assert result.exit_code == 2
    assert said in result.output
    assert not list(tmp_path.iterdir())


def test_a_directory_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    result = run("my-tiny", "--directory", str(tmp_path))
    assert result.exit_code == 2
    assert "is not empty" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_what_fails_half_way_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    result = run("my-tiny", "--directory", str(tmp_path / "new"))
    assert result.exit_code == 1
    assert "make_tiny.py failed; --no-weights skips it." in result.output
    assert not list(tmp_path.iterdir())


# --- In a clean environment -------------------------------------------------------------------------------------------


WHEEL = "registry-encoder"
"""The package that is installed from its wheel; the others are installed as the printed line says."""
TRAIN = "import runpy, sys; [runpy.run_path(script, run_name='__main__') for script in sys.argv[1:]]"
"""Runs scripts in one process: each would import torch and its compiler again, which takes longer than to train."""
SKIPPED = (
    "has no parallel plan",
    "nothing is recorded",
    "declares no ",
    "adds to 'bert'",
    "positions are absolute",
    "all images of a batch have one size",
    "which is not a tokenizer",
)
"""What the reasons for which a check may be skipped say."""


@pytest.mark.slow
def test_new_packages_of_every_kind_are_installed_and_pass_their_own_tests(clean: Any, tmp_path: Path) -> None:
    """All in one process of pytest, since to start one takes longer than most of their tests."""
    kinds = [kind for kind in KINDS if kind != "causal"]  # which the guide runs
    names = [f"registry-{kind}" for kind in kinds]
    scripts = []
    for kind, name in zip(kinds, names, strict=True):
        printed = clean.call(f"registry new {name} --kind {kind} --no-weights", tmp_path)
        script = tmp_path / name / "make_tiny.py"
        scripts += [str(script)] if script.exists() else []
        training = "python make_tiny.py && " if script.exists() else ""
        line = printed.rpartition("Next:")[2].strip()
        assert line == f"cd {name} && {training}pip install -e '.[test]' && pytest"
    assert len(scripts) == 3
    clean.call(shlex.join(["python", "-c", TRAIN, *scripts]), tmp_path)
    pip = "pip install --quiet --no-index"
    packages = " ".join(f"-e './{name}[test]'" for name in names if name != WHEEL)
    clean.call(f"{pip} --no-build-isolation {packages}", tmp_path)
    clean.call(f"pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist ./{WHEEL}", tmp_path)
    clean.call(f"{pip} --no-deps dist/*.whl", tmp_path)
    (tmp_path / WHEEL / "src").rename(tmp_path / "out-of-reach")  # the tests must find what is installed
    assert clean.call("python -c 'import registry; print(registry.__file__)'", tmp_path).startswith(str(clean.venv))
    assert WHEEL in clean.call("registry list --cached", tmp_path)

    settings = [tomllib.loads((tmp_path / name / "pyproject.toml").read_text("utf-8"))["tool"] for name in names]
    warnings = {line for tool in settings for line in tool["pytest"]["ini_options"]["filterwarnings"]}
    (elsewhere := tmp_path / "elsewhere").mkdir()  # where no directory has the name of a model
    options = ["-c", f"../{names[0]}/pyproject.toml", "-p", "no:cacheprovider", "-q", "-rs"]
    options += [f"-W{line}" for line in sorted(warnings)]  # `error` stands before `ignore`, which overrides it
    options += ["-m", "not another_process"]  # what other processes show is seen in the tests of the guide
    printed = clean.call(shlex.join(["pytest", *options, *(f"../{name}/tests" for name in names)]), elsewhere)
    assert " passed" in printed
    reasons = [line.partition(": ")[2] for line in printed.splitlines() if line.startswith("SKIPPED")]
    assert [reason for reason in reasons if not any(known in reason for known in SKIPPED)] == []
