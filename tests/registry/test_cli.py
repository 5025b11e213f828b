import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

import registry
from registry import Card, FileSpec, hookimpl
from registry.cli import COMMANDS, exit_code, main
from registry.errors import (
    CorruptWeightsError,
    IntegrityError,
    MissingTokenizerError,
    NotYetError,
    SaveError,
    UnknownLayerError,
    UnsafeWeightsError,
)

Install = Callable[..., Path]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="registry")


@pytest.fixture(autouse=True)
def _toys() -> None:
    files = (
        FileSpec(role="config", filename="config.json", urls=("hub:me/toy/config.json",), size=612),
        FileSpec(
            role="weights", filename="model.bin", urls=("hub:me/toy/model.bin",), size=90_868_376, sha256="0" * 64
        ),
    )
    toy = Card(
        name="toy",
        architecture="toy",
        task="masked-lm",
        files=files,
        languages=("en", "de", "fr", "es"),
        license="MIT",
        num_parameters=22_713_216,
        tokenizer={"do_lower_case": True},
    )
    registry.register(SimpleNamespace(registry_cards=hookimpl(lambda: (toy,))), "toys")


# --- list -------------------------------------------------------------------------------------------------------------


def test_list_prints_an_aligned_table() -> None:
    assert run("list", "toy").output.splitlines() == [
        "name  architecture  task       languages       size",
        "toy   toy           masked-lm  en, de, fr ...  90.9 MB",
    ]


def test_list_takes_conditions() -> None:
    for conditions in (["--architecture", "toy"], ["--language", "fr"], ["*", "--architecture", "toy", "--not-cached"]):
        assert [card["name"] for card in json.loads(run("list", *conditions, "--json").output)] == ["toy"]
    for conditions in (["--task", "nothing"], ["--architecture", "toy", "--cached"]):
        result = run("list", *conditions)
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No model matches.\n")
        assert json.loads(run("list", *conditions, "--json").output) == []


def test_list_shows_names_that_are_hidden(install: Install) -> None:
    install(
        "mine-dist",
        "from registry import Card, hookimpl\n@hookimpl\ndef registry_cards():\n"
        " yield Card(name='bert-base-uncased', architecture='mine', task='base', files=())",
        plugin="mine",
    )
    line = "Card bert-base-uncased of mine (mine-dist 1.0) is hidden by the one of bert.\n"
    assert run("list").stderr == line
    assert run("plugins").stdout.endswith(line)


# --- info -------------------------------------------------------------------------------------------------------------


def test_info_prints_what_is_known() -> None:
    lines = run("info", "toy").output.splitlines()
    assert "parameters    22,713,216" in lines
    assert "tokenizer     do_lower_case=True" in lines
    assert "plugin        toys" in lines
    assert f"weights  model.bin    90.9 MB    {'0' * 64}" in lines
    assert not any(line.startswith("source") for line in lines), "what is not known is left out"


def test_info_prints_the_card_as_json() -> None:
    card = json.loads(run("info", "toy", "--json").output)
    assert card["files"][0] == {
        "role": "config",
        "filename": "config.json",
        "urls": ["hub:me/toy/config.json"],
        "sha256": None,
        "size": 612,
    }
    assert card["tokenizer"] == {"do_lower_case": True}


# --- resolve ----------------------------------------------------------------------------------------------------------


def test_resolve_says_what_a_name_means_and_why(tmp_path: Path) -> None:
    assert run("resolve", "toy").output.splitlines()[:2] == [
        "meaning   model 'toy'",
        "because   it is the name of a card",
    ]
    found = json.loads(run("resolve", str(tmp_path), "--json").output)
    assert (found["kind"], found["path"], found["card"]) == ("directory", str(tmp_path), None)
    found = json.loads(run("resolve", "org/name", "--revision", "v1", "--json").output)
    assert (found["kind"], found["url"], found["revision"]) == ("hub", "hub:org/name", "v1")


# --- plugins ----------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("default")
def test_plugins_are_printed_with_what_they_declare_and_why_they_fail(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("broken-dist", "import nowhere", plugin="broken")
    install("toy-dist", plugin="off")
    monkeypatch.setenv("REGISTRY_DISABLE_PLUGINS", "off")
    result = run("plugins")
    assert result.exit_code == 0
    rows = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert "torch-registry" in rows["bert"]
    assert "8 models, 1 tokenizer" in rows["bert"]
    assert "failed" in rows["broken"]
    assert (
        "The plugin 'broken' (broken-dist 1.0) failed: ModuleNotFoundError: No module named 'nowhere'." in result.stdout
    )
    assert "off (toy-dist 1.0) is named by REGISTRY_DISABLE_PLUGINS." in result.stdout
    assert result.stderr.startswith("warning: The plugin 'broken'")
    found = {plugin["name"]: plugin for plugin in json.loads(run("plugins", "--json").stdout)}
    assert (found["broken"]["state"], found["off"]["state"]) == ("failed", "disabled")
    assert found["toys"]["declares"] == {"cards": ["toy"]}


# --- errors -----------------------------------------------------------------------------------------------------------


def test_an_unknown_name_ends_with_3_and_without_a_traceback() -> None:
    for command in ("info", "resolve"):
        result = run(command, "bert-base-uncasd")
        assert (result.exit_code, result.stdout) == (3, "")
        assert result.stderr.startswith("UnknownModelError: no model is named 'bert-base-uncasd'. Did you mean 'bert-")
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize("debug", [{"args": ["--debug"]}, {"env": {"REGISTRY_DEBUG": "1"}}])
def test_debug_shows_the_traceback(debug: dict[str, object]) -> None:
    result = CliRunner().invoke(main, [*debug.get("args", []), "info", "nope"], env=debug.get("env"))
    assert isinstance(result.exception, registry.RegistryError)


@pytest.mark.parametrize("arguments", [["nope"], ["list", "--nope"], ["info"], ["resolve", "a", "b"]])
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotYetError, 1),
        (SaveError, 1),
        (UnknownLayerError, 3),
        (MissingTokenizerError, 3),
        (IntegrityError, 4),
        (CorruptWeightsError, 4),
        (UnsafeWeightsError, 4),
    ],
)
def test_each_kind_of_error_has_its_code(error: type[registry.RegistryError], code: int) -> None:
    assert exit_code(error("no")) == code


def test_every_command_explains_itself() -> None:
    overview = run("--help").output
    for command in COMMANDS:
        assert command in overview
        assert "--json" in run(command, "--help").output or command == "new"
    assert run("--version").output == f"registry, version {registry.__version__}\n"


def test_the_module_is_the_command() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "registry", "resolve", "no-such-model"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 3
    assert ended.stderr.startswith("UnknownModelError: no model is named 'no-such-model'.")


@pytest.mark.skipif(os.name == "nt", reason="no pseudo-terminals there")
def test_a_terminal_gets_colours() -> None:
    import pty

    master, slave = pty.openpty()
    ended = subprocess.run(
        [sys.executable, "-m", "registry", "list", "minilm"],
        stdout=slave, stderr=subprocess.PIPE, env={**os.environ, "TERM": "xterm", "COLUMNS": "120"}, check=True,
    )  # fmt: skip
    os.close(slave)
    shown = os.read(master, 4096)
    assert b"\x1b[" in shown
    assert b"all-minilm-l6-v2" in shown
    assert ended.stderr == b""
