"""What files, servers, cards and plugins say is shown on a terminal, and does nothing else there."""

import ast
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from safetensors.torch import save_file

import registry
from registry import cli
from registry.errors import FetchError, RegistryWarning

EVIL = "\x1b]0;title\x07\x1b[2J\x9b31m\u202egnp\x7f"
HARMLESS = r"\x1b]0;title\x07\x1b[2J\x9b31m\u202egnp\x7f"
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

Run = Callable[..., Result]


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A directory whose tensors, configuration and manifest have names that a terminal would obey."""
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({f"weight{EVIL}": torch.zeros(2), "other": torch.zeros(1)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": f"toy{EVIL}", "architectures": [f"X{EVIL}"]}))
    files = {f"gone{EVIL}.bin": {"size": 1, "sha256": "0" * 64}}
    (folder / "registry.json").write_text(json.dumps({"schema": 1, "files": files, "task": f"t{EVIL}"}))
    return folder


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card that says what a terminal would obey."""
    text = json.dumps(f"described{EVIL}\nand more")
    (tmp_path / "cards.toml").write_text(
        f"[models.house]\narchitecture = 'bert'\ntask = 'base'\ndescription = {text}\n"
        f"license = {json.dumps('x' + EVIL)}\ntokenizer = {{do_lower_case = {json.dumps(EVIL)}}}\n"
        "files = [{role = 'config', filename = 'config.json', urls = ['https://a.example/config.json']}]\n"
    )
    monkeypatch.setenv("REGISTRY_CARDS", str(tmp_path / "cards.toml"))
    registry.refresh()


@pytest.mark.filterwarnings("always::registry.errors.RegistryWarning")
@pytest.mark.parametrize(
    "command",
    [
        ["inspect", "{}"],
        ["inspect", "{}", "--json"],
        ["inspect", "{}/model.safetensors"],
        ["diff", "{}", "{}/model.safetensors"],
        ["verify", "{}"],
        ["verify", "{}", "--json"],
        ["embed", "{}", "text"],
        ["convert", "{}", "{}/out"],
        ["resolve", "{}"],
        ["info", "house"],
        ["info", "house", "--json"],
        ["list"],
        ["pull", f"no{EVIL}"],
        [f"no{EVIL}"],
        ["embed", f"--no{EVIL}"],
    ],
)
def test_no_command_prints_a_control_character(run: Run, hostile: Path, cards: None, command: list[str]) -> None:
    result = run(*(word.replace("{}", str(hostile)) for word in command))
    assert result.output
    assert CONTROLS.search(result.output) is None, repr(result.output)


def test_what_is_escaped_is_still_shown(run: Run, hostile: Path, cards: None) -> None:
    assert f"weight{HARMLESS}" in run("inspect", hostile / "model.safetensors").stdout
    shown = run("info", "house").stdout
    assert f"described{HARMLESS}\\x0aand more" in shown, "a field is one line"
    assert json.loads(run("info", "house", "--json").stdout)["description"] == f"described{EVIL}\nand more"


def test_a_terminal_gets_none_either(hostile: Path) -> None:
    """On a pseudo-terminal: colors are the only escape sequences, and they are of rich and click."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200"}
    for command in (["inspect", str(hostile / "model.safetensors")], ["embed", str(hostile), "x"]):
        process = subprocess.Popen(
            [sys.executable, "-m", "registry", *command], stdout=theirs, stderr=theirs, stdin=theirs, env=environment
        )
        process.wait(60)
        text = os.read(ours, 2**16).decode()
        assert "\x1b[" in text, "there are colors"
        plain = re.sub(r"\x1b\[[\d;]*m", "", text).replace("\r", "")
        assert CONTROLS.search(plain) is None, repr(plain)
        assert "title" in plain
    os.close(ours)
    os.close(theirs)


def test_generated_text_is_escaped(run: Run, writer: Path) -> None:
    streamed = run("generate", writer, "a", "--max-new-tokens", "20", "--temperature", "1", "--seed", "3")
    assert streamed.exit_code == 0, streamed.output
    assert CONTROLS.search(streamed.stdout) is None, repr(streamed.stdout)


def test_answers_of_servers_are_cleaned(server: Any, reply: Any, run: Run, loopback: None) -> None:
    url = server.add("/model.bin", reply(b"", 404, {"X-Error-Message": f"gone{EVIL[:18]}" + "x" * 9000}))
    result = run("pull", url)
    assert CONTROLS.search(result.output) is None
    assert r"gone\x1b]0;title\x07" in result.output
    assert len(result.output) < 1000


def test_errors_and_warnings_are_cleaned_in_python_too() -> None:
    error = FetchError(f"a{EVIL}\nb", hint=f"c{EVIL}")
    assert str(error) == f"a{HARMLESS}\nb\nc{HARMLESS}"
    assert CONTROLS.search(repr(error)) is None
    assert str(RegistryWarning(f"a{EVIL}")) == f"a{HARMLESS}"
    with pytest.warns(RegistryWarning) as caught:
        __import__("warnings").warn(f"a{EVIL}", RegistryWarning, stacklevel=1)
    assert str(caught[0].message) == f"a{HARMLESS}"


def test_every_command_prints_through_the_door() -> None:
    own = Path(cli.__file__).parent
    for path in own.rglob("*.py"):
        if path.name == "output.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
                name = ast.unparse(node.func)
                assert name not in ("click.echo", "click.secho", "print", "sys.stdout.write"), f"{path}:{node.lineno}"
