import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner, Result

import registry
from registry import Card, FileSpec, hookimpl
from registry.cli import COMMANDS, main
from registry.cli.exit_codes import ExitCode, exit_code
from registry.errors import (
    CorruptWeightsError,
    IntegrityError,
    MissingTokenizerError,
    SaveError,
    UnknownLayerError,
    UnsafeWeightsError,
    UnsupportedError,
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
        "name  architecture  task       languages       parameters     size  cached",
        "toy   toy           masked-lm  en, de, fr ...      22.7 M  90.9 MB  no",
    ]


def test_list_sorts_by_name_and_by_size() -> None:
    for name, size, parameters in (("large", None, 200_000_000), ("unknown", None, None), ("big", 10**9, None)):
        card = Card(
            name=name,
            architecture="sized",
            task="base",
            num_parameters=parameters,
            files=(FileSpec(role="weights", filename="w", urls=("hub:me/w",), size=size),),
        )
        registry.register(SimpleNamespace(registry_cards=hookimpl(lambda card=card: (card,))), name)

    def listed(*arguments: str) -> list[str]:
        return [line.split()[0] for line in run("list", "--architecture", "sized", *arguments).output.splitlines()[1:]]

    assert listed() == ["large", "unknown", "big"]
    assert listed("--sort", "name") == ["big", "large", "unknown"]
    assert listed("--sort", "size") == ["large", "big", "unknown"], "unknown sizes come last"
    assert "~800 MB" in run("list", "large").output, "an estimated size is marked"


def test_list_says_which_models_are_on_this_computer() -> None:
    name, *_, cached = run("list", "all-minilm-l6-v2").output.splitlines()[1].split()
    assert (name, cached) == ("all-minilm-l6-v2", "yes")
    found = {card["name"]: card for card in json.loads(run("list", "--json").output)}
    assert (found["all-minilm-l6-v2"]["cached"], found["all-minilm-l6-v2"]["size"]) == (True, 91_101_088)
    assert (found["toy"]["cached"], found["toy"]["size"]) == (False, 90_868_988)


def test_list_takes_conditions() -> None:
    for conditions in (["--architecture", "toy"], ["--language", "fr"], ["*", "--architecture", "toy", "--not-cached"]):
        assert [card["name"] for card in json.loads(run("list", *conditions, "--json").output)] == ["toy"]
    for conditions in (["--task", "multiple-choice"], ["--architecture", "toy", "--cached"]):
        result = run("list", *conditions)
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No matching models.\n")
        assert json.loads(run("list", *conditions, "--json").output) == []


def test_list_shows_names_that_are_shadowed(install: Install) -> None:
    install(
        "mine-dist",
        "from registry import Card, hookimpl\n@hookimpl\ndef registry_cards():\n"
        " yield Card(name='bert-base-uncased', architecture='mine', task='base', files=())",
        plugin="mine",
    )
    line = "Card bert-base-uncased of mine (mine-dist 1.0) is shadowed by the one of bert.\n"
    assert run("list").stderr == line
    assert run("plugins").stdout.endswith(line)


# --- info -------------------------------------------------------------------------------------------------------------


def test_info_prints_what_is_known() -> None:
    lines = run("info", "toy").output.splitlines()
    assert "parameters    22,713,216" in lines
    assert "tokenizer     do_lower_case=True" in lines
    assert "plugin        toys" in lines
    assert f"weights  model.bin      90.9 MB  {'0' * 64}" in lines
    assert not any(line.startswith("source") for line in lines), "fields without a value are not printed"


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


def test_info_says_which_sizes_differ_and_whether_the_files_are_here() -> None:
    lines = run("info", "gpt2-xl").output.splitlines()
    assert "configuration  n_embd=1600, n_layer=48, n_head=25" in lines
    assert "downloaded     no" in lines
    card = json.loads(run("info", "all-minilm-l6-v2", "--json").output)
    assert (card["size"], card["cached"], card["config"]["hidden_size"]) == (91_101_088, True, 384)


# --- resolve ----------------------------------------------------------------------------------------------------------


def test_resolve_says_what_a_name_means_and_why(tmp_path: Path) -> None:
    assert run("resolve", "toy").output.splitlines()[:2] == [
        "meaning  model 'toy'",
        "because  it is the name of a card",
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


# --- completion -------------------------------------------------------------------------------------------------------


def completed(*words: str) -> list[str]:
    """What bash is offered for the last of ``words``."""
    environment = {
        "_REGISTRY_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    result = CliRunner().invoke(main, [], prog_name="registry", env=environment)
    return [line.partition(",")[2] for line in result.output.splitlines()]


def test_commands_options_names_and_values_are_completed() -> None:
    assert completed("registry", "inf") == ["info"]
    assert completed("registry", "list", "--so") == ["--sort"]
    assert completed("registry", "info", "all-") == ["all-minilm-l6-v2"]
    assert completed("registry", "resolve", "sentence-transformers/") == ["sentence-transformers/all-MiniLM-L6-v2"]
    assert completed("registry", "list", "--task", "masked") == ["masked-lm"]
    assert completed("registry", "list", "--language", "fr") == ["fr"]
    assert completed("registry", "list", "all-") == ["all-minilm-l6-v2"]
    assert completed("registry", "help", "page", "t") == ["tokens"]


BEFORE_A_NAME = (
    *("registry info", "registry resolve", "registry pull", "registry verify", "registry inspect", "registry embed"),
    *("registry generate", "registry evaluate", "registry attention", "registry convert", "registry lock"),
    *("registry lock gpt2", "registry diff", "registry diff ./other", "registry cache rm", "registry cache rm gpt2"),
    *("registry config", "registry tokenize", "registry tokenize gpt2 text --compare", "registry predict"),
    *("registry chat", "registry rm", "registry rm gpt2", "registry pull gpt2", "registry fill-mask"),
    "registry fill-mask --model",
)
"""Command lines after which a model's name is expected."""


@pytest.mark.parametrize("line", BEFORE_A_NAME)
def test_every_command_that_takes_a_name_completes_it(line: str) -> None:
    assert completed(*line.split(), "all-") == ["all-minilm-l6-v2"]


def test_every_argument_for_a_name_is_the_one_that_completes() -> None:
    """No command declares such an argument again: all go through ``name_argument`` or ``complete_names``."""
    taking = {"name", "names", "source", "left", "right"}
    without = [
        (path, parameter.name)
        for path, command in all_commands()
        for parameter in command.params
        if parameter.name in taking and path != "new" and parameter._custom_shell_complete is None
    ]
    assert without == []


def all_commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(main)
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", found) for inner, found in command.commands.items())


@pytest.mark.parametrize("word", ["./mod", "mod", "models/tin"])
def test_paths_are_left_to_the_shell(word: str) -> None:
    """A word that begins no name may still begin a path."""
    environment = {"_REGISTRY_COMPLETE": "bash_complete", "COMP_WORDS": f"registry info {word}", "COMP_CWORD": "2"}
    assert CliRunner().invoke(main, [], prog_name="registry", env=environment).output == f"file,{word}\n"


@pytest.mark.filterwarnings("error")
def test_a_broken_plugin_does_not_disturb_completion(install: Install) -> None:
    install("broken-dist", "import nowhere", plugin="broken")
    assert completed("registry", "info", "all-") == ["all-minilm-l6-v2"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_printed(shell: str) -> None:
    script = run("completion", shell).output
    assert f"_REGISTRY_COMPLETE={shell}_complete" in script
    found = json.loads(run("completion", shell, "--json").output)
    assert found == {"shell": shell, "script": script.removesuffix("\n")}


def test_bash_takes_the_script(tmp_path: Path) -> None:
    """Bash itself runs it, and asks the command for names."""
    (tmp_path / "registry").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m registry "$@"\n')
    (tmp_path / "registry").chmod(0o755)
    script = run("completion", "bash").output
    asking = "COMP_WORDS=(registry info all-); COMP_CWORD=2; _registry_completion registry; echo ${COMPREPLY[@]}"
    ended = subprocess.run(
        ["bash", "-c", f"{script}\n{asking}"], capture_output=True, text=True, check=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert (ended.stdout, ended.stderr) == ("all-minilm-l6-v2\n", "")


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes_every_time(tmp_path: Path) -> None:
    (tmp_path / "registry").write_text("#!/bin/sh\nprintf 'file\\nmod\\n_\\n'\n")
    (tmp_path / "registry").chmod(0o755)
    (tmp_path / "_registry").write_text(run("completion", "zsh").output)
    pressing = "words=(registry info mod); CURRENT=3; _registry; _registry"
    stubs = 'compdef() { print "no completion" }; _path_files() { print "files" }'
    ended = subprocess.run(
        ["zsh", "-f", "-c", f"fpath=({tmp_path}); autoload -Uz _registry; {stubs}; {pressing}"],
        capture_output=True, text=True, check=True, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert (ended.stdout, ended.stderr) == ("files\nfiles\n", "")


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


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nope", "No such command 'nope'."),
        ("list --nope", "No such option '--nope'."),
        ("info", "Missing argument 'NAME'."),
        ("resolve a b", "Got unexpected extra argument (b)"),
        ("attention toy", "Missing argument 'TEXT'. Pass a text, or write it to stdin."),
        ("attention toy hi /nowhere/a.html", "Invalid value for 'OUT': there is no directory '/nowhere'."),
        ("embed toy hi -o /nowhere/a.npy", "Invalid value for '-o/--out': there is no directory '/nowhere'."),
        ("embed toy hi --device gpu", "'gpu' cannot be used: devices are named cpu, cuda, cuda:1, mps and so on."),
        ("plan toy --mesh tp", "'tp' is not a mesh; write fsdp=8,tp=8, or one of the two."),
        ("plan toy --mesh tp=2,pp=2", "'tp=2,pp=2' is not a mesh; write fsdp=8,tp=8, or one of the two."),
        ("plan toy --mesh tp=2 --batch 8", "'8' is not a batch; write 8x512 for 8 sequences of 512 tokens."),
        ("plan toy --mesh tp=2 --optimizer lion", "'lion' is not one of 'sgd', 'momentum', 'adamw'."),
        ("new my-tiny --directory .", ". is not empty; choose another --directory."),
    ],
)
def test_wrong_usage_ends_with_2_before_anything_is_printed(line: str, said: str) -> None:
    result = run(*line.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.endswith(f"{said}\n")


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
def test_a_closed_stream_is_an_empty_one(stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after ``registry list >&-``, where Python has None for it."""
    monkeypatch.setattr(sys, stream, None)
    assert main(["list", "toy"], standalone_mode=False) is None
    getattr(sys, stream).close()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnsupportedError, 1),
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


def test_the_codes_are_those_of_the_documentation() -> None:
    page = Path(__file__).parents[3] / "docs" / "command-line.md"
    listed = re.findall(r"^\| (\d+) \|", page.read_text("utf-8"), re.MULTILINE)
    assert [int(code) for code in listed] == [code.value for code in ExitCode]


def test_a_misspelled_command_or_option_is_answered_with_suggestions() -> None:
    assert run("lst").stderr.endswith("Error: No such command 'lst'. Did you mean 'list'?\n")
    assert run("nothing-like-it").stderr.endswith("Error: No such command 'nothing-like-it'.\n")
    assert "Did you mean '--task'?" in run("list", "--tsk", "base").stderr


@pytest.mark.parametrize(
    ("problem", "code", "stderr"),
    [
        (KeyboardInterrupt(), 130, ""),
        (OSError(28, "No space left on device"), 1, "OSError: [Errno 28] No space left on device\n"),
        (TypeError("odd"), 1, "TypeError: odd\nThis is a bug in registry or in a plugin; "),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_mishap_shows_a_traceback(
    problem: BaseException, code: int, stderr: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise problem

    monkeypatch.setattr("registry.sources.resolve.resolve", fail)
    result = run("resolve", "toy")
    assert (result.exit_code, result.stdout, result.stderr[: len(stderr)]) == (code, "", stderr)
    assert stderr or not result.stderr
    if not isinstance(problem, KeyboardInterrupt):
        assert CliRunner().invoke(main, ["--debug", "resolve", "toy"]).exception is problem


def test_ctrl_c_behind_the_end_of_a_command_changes_nothing() -> None:
    code = (
        "import atexit, signal\n"
        "atexit.register(lambda: (signal.raise_signal(signal.SIGINT), print('tidied up')))\n"
        "from registry.cli import main\n"
        "main(['list', '--json'])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.endswith("tidied up\n")


def test_who_stops_reading_ends_a_command_quietly() -> None:
    ended = subprocess.run(
        f'"{sys.executable}" -m registry list --json | true', shell=True, capture_output=True, text=True, check=False
    )
    assert ended.stderr == ""


def test_every_command_explains_itself() -> None:
    overview = run("--help").output
    for command in COMMANDS:
        assert command in overview
        assert "--json" in run(command, "--help").output or command in ("new", "help")
    page = (Path(__file__).parents[3] / "docs" / "command-line.md").read_text("utf-8")
    assert [command for command in COMMANDS if f"registry {command}" not in page] == [], "all are documented"
    assert run("--version").output == f"registry, version {registry.__version__}\n"


def test_the_module_is_the_command() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "registry", "resolve", "no-such-model"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 3
    assert ended.stderr.startswith("UnknownModelError: no model is named 'no-such-model'.")


# --- terminals --------------------------------------------------------------------------------------------------------


def on_a_terminal(*command: str, **environment: str) -> tuple[str, str]:
    """What a command writes to a terminal on its stdout, and to one on its stderr."""
    import pty

    (out, out_slave), (err, err_slave) = pty.openpty(), pty.openpty()
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    subprocess.run(
        [sys.executable, *command], stdout=out_slave, stderr=err_slave, check=False,
        env={**plain, "TERM": "xterm", "COLUMNS": "120", **environment},
    )  # fmt: skip
    os.close(out_slave)
    os.close(err_slave)
    return read_all(out), read_all(err)


def read_all(master: int) -> str:
    read = b""
    try:
        while chunk := os.read(master, 4096):
            read += chunk
    except OSError:  # the other end is closed
        pass
    os.close(master)
    return read.decode()


terminals = pytest.mark.skipif(os.name == "nt", reason="no pseudo-terminals there")


@terminals
def test_a_terminal_gets_colors() -> None:
    shown, news = on_a_terminal("-m", "registry", "list", "minilm")
    assert "\x1b[" in shown
    assert "all-minilm-l6-v2" in shown
    assert news == ""
    assert "\x1b[" in on_a_terminal("-m", "registry", "info", "nothing")[1]


@terminals
def test_a_narrow_terminal_gets_fewer_columns() -> None:
    def header(width: int) -> list[str]:
        shown, news = on_a_terminal("-m", "registry", "list", "gpt2", COLUMNS=str(width))
        assert ("Columns not shown" in news) == (width < 100)
        return re.sub(r"\x1b\[[\d;]*m", "", shown).splitlines()[0].split()

    assert header(100) == ["name", "architecture", "task", "languages", "parameters", "size", "cached"]
    assert header(70) == ["name", "architecture", "task", "parameters", "size", "cached"]
    assert header(40) == ["name", "task", "size"]


@terminals
@pytest.mark.parametrize("wish", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_without_colors_gets_what_a_file_gets(wish: dict[str, str]) -> None:
    for command in (["list", "minilm"], ["info", "all-minilm-l6-v2"], ["resolve", "./nothing"]):
        shown, news = on_a_terminal("-m", "registry", *command, **wish)
        plain = run(*command)
        assert (shown, news) == tuple(text.replace("\n", "\r\n") for text in (plain.stdout, plain.stderr))


LONG_WORK = """
from time import sleep
from registry.cli.output import progress
with progress("Counting", 40, unit="sheep") as advance:
    for _ in range(40):
        sleep(0.02)
        advance(1)
"""


@terminals
def test_long_work_shows_a_bar_with_rate_and_time_left() -> None:
    shown, bar = on_a_terminal("-c", LONG_WORK)
    assert shown == ""
    assert re.search(r"Counting: .*\d+/40 \[00:0\d<00:0\d, .* sheep/s\]", re.sub(r"\x1b\[[\d;]*m", "", bar))


def test_long_work_is_silent_off_a_terminal() -> None:
    ended = subprocess.run([sys.executable, "-c", LONG_WORK], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("", "")
