"""``registry plugins --check`` and ``registry env``."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import registry
from registry.cli import main
from registry.cli.setup.env import environment

Install = Callable[..., Path]

TOY = "from registry import Card, LayerSpec, hookimpl\n"
LAYER = "LayerSpec(architecture='toy', name='layer', cls='toy_plugin_classes:Layer', summary='A layer.')"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="registry")


def check(*arguments: str) -> Result:
    return run("plugins", "--check", *arguments)


# --- plugins --check --------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _few_plugins(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each that is checked takes a second."""
    if "install" in request.fixturenames:
        monkeypatch.setenv("REGISTRY_DISABLE_PLUGINS", "torch-registry")


@pytest.mark.slow
def test_first_party_plugins_are_sound() -> None:
    result = check("--json")
    assert result.exit_code == 0, result.output
    for plugin in json.loads(result.output):
        observed = plugin["check"]
        assert observed["error"] is None
        assert observed["heavy"] == observed["heavy_for_text"] == observed["changed"] == []
        assert observed["broken"] == {}
        assert f"plugins.{plugin['name']}.plugin" in observed["modules"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import os\nos._exit(7)", "Its import ended the process with code 7: no message"),
        ("import time\ntime.sleep(1e6)", "Its import did not end within 1 s."),
        ("import nowhere", "failed: ModuleNotFoundError: No module named 'nowhere'."),
        ("def registry_cards(): return []", "registry_cards is not marked as a hook."),
    ],
)
def test_what_hangs_or_ends_its_process_does_no_harm_to_the_command(
    install: Install, monkeypatch: pytest.MonkeyPatch, source: str, said: str
) -> None:
    install("toy-dist", source)
    result = check("--timeout", "1" if "sleep" in source else "60")
    assert result.exit_code == 1
    assert said in result.stdout
    rows = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert "failed" in rows["toy_plugin"]
    monkeypatch.delenv("REGISTRY_DISABLE_PLUGINS")
    assert registry.info("openai-gpt").architecture == "gpt"


def test_a_reference_that_leads_nowhere_is_broken(install: Install) -> None:
    install("toy-dist", f"{TOY}@hookimpl\ndef registry_layers():\n yield {LAYER}")
    result = check()
    assert result.exit_code == 1
    assert "refers to toy_plugin_classes:Layer, which fails: ModuleNotFoundError" in result.stdout


def test_a_card_that_nothing_can_load_is_reported(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REGISTRY_DISABLE_PLUGINS")
    monkeypatch.setenv("REGISTRY_PLUGINS", "bert toy-dist")
    cards = (
        "Card(name='one', architecture='brt', task='base', files=())",
        "Card(name='two', architecture='bert', task='masked', files=())",
        "Card(name='three', architecture='bert', task='base', files=())",
    )
    install("toy-dist", f"{TOY}@hookimpl\ndef registry_cards():\n return [{', '.join(cards)}]")
    result = check()
    assert result.exit_code == 1
    told = [line for line in result.stdout.splitlines() if "cannot be loaded" in line]
    assert told == [
        "The card 'one' of toy_plugin (toy-dist 1.0) cannot be loaded: no installed plugin declares the architecture "
        "'brt'. Did you mean 'bert'?",
        "The card 'two' of toy_plugin (toy-dist 1.0) cannot be loaded: 'bert' has no model for the task 'masked'. "
        "Did you mean 'masked-lm' or 'base'?",
    ]


def test_what_is_heavy_or_changes_the_state_of_others_is_remarked_on(install: Install) -> None:
    install("toy-dist", "import numpy, os, sys\nos.environ['TOY'] = '1'\nsys.path.append('/nowhere')")
    result = check()
    assert result.exit_code == 0
    assert "toy_plugin (toy-dist 1.0) imports numpy when its hooks are called." in result.stdout
    assert "changes the state of others: os.environ: TOY." in result.stdout
    assert "changes the state of others: sys.path: " in result.stdout


def test_a_disabled_plugin_is_not_checked(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("toy-dist", "import os\nos._exit(7)")
    monkeypatch.setenv("REGISTRY_DISABLE_PLUGINS", "torch-registry toy_plugin")
    result = check("--json")
    assert result.exit_code == 0
    assert not any("check" in plugin for plugin in json.loads(result.output))


def test_of_two_plugins_with_one_name_each_is_checked(install: Install) -> None:
    install("first-dist", "import numpy", plugin="same")
    install("second-dist", TOY, plugin="same_too", entry_points="[registry.v1]\nsame = same_too\n")
    found = [plugin for plugin in json.loads(check("--json").output) if plugin["name"] == "same"]
    assert {plugin["distribution"]: plugin["check"]["heavy"] for plugin in found} == {
        "first-dist": ["numpy"],
        "second-dist": [],
    }


# --- env --------------------------------------------------------------------------------------------------------------


def test_env_prints_versions_settings_and_plugins(monkeypatch: pytest.MonkeyPatch, install: Install) -> None:
    install("toy-dist")
    monkeypatch.setenv("REGISTRY_OFFLINE", "1")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    text = run("env").output
    lines = dict(line.split(None, 1) for line in text.splitlines())
    assert lines["registry"] == registry.__version__
    assert lines["torch"].startswith("2.")
    assert lines["REGISTRY_OFFLINE"] == "1"
    assert lines["HF_TOKEN"] == "(set, not shown)"
    assert "hf_secret" not in text
    assert f"gpt (torch-registry {registry.__version__}, disabled)" in lines["plugins"]
    assert "toy_plugin (toy-dist 1.0)" in lines["plugins"]


@pytest.mark.filterwarnings("default")
def test_env_is_printed_although_a_plugin_fails(install: Install) -> None:
    install("toy-dist", "import nowhere")
    assert "toy_plugin (toy-dist 1.0, failed)" in json.loads(run("env", "--json").stdout)["plugins"]


def test_env_names_no_distribution_that_is_not_installed() -> None:
    assert environment()["spacy"] is None or "." in str(environment()["spacy"])
    assert "None" not in run("env").output
