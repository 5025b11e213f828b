"""Distributions that do everything wrong harm nobody else: each alone, all together, and among two hundred."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import registry
from registry.discovery.entry_points import PluginWarning
from registry.errors import PluginConflictError, PluginError

Install = Callable[..., Path]

HEAD = "from registry import Card, ConfigSpec, ModelSpec, hookimpl\n"
CARD = "Card(name={name!r}, architecture='bad', task='base', files=())"
GOOD = HEAD + "@hookimpl\ndef registry_cards():\n yield " + CARD.format(name="good-model")


def hook(body: str, *, name: str = "registry_cards", arguments: str = "", mark: str = "@hookimpl") -> dict[str, str]:
    return {"source": f"{HEAD}{mark}\ndef {name}({arguments}):\n {body}"}


HOSTILE: dict[str, dict[str, Any]] = {
    # name: what is installed
    "raises ImportError": {"source": "import nowhere"},
    "raises SyntaxError": {"source": "def ("},
    "exits": {"source": "import sys\nsys.exit('no')"},
    "raises what is not an Exception": {"source": "class Stop(BaseException): pass\nraise Stop"},
    "recurses": {"source": "def f(): f()\nf()"},
    "misspells a hook": hook("return []", name="registry_modles"),
    "forgets the mark": hook("return []", mark="#"),
    "wants an argument": hook("return []", arguments="config"),
    "yields other things": hook("yield 'my-model'"),
    "yields records of another hook": hook("yield " + CARD.format(name="mine"), name="registry_models"),
    "yields an impossible record": hook("yield " + CARD.format(name="MINE !")),
    "fails half way": hook(f"yield {CARD.format(name='half')}\n raise OSError"),
    "yields one name twice": hook("for _ in 1, 2: yield " + CARD.format(name="twice")),
    "never ends": hook(
        "i = 0\n while True:\n  i += 1\n  yield Card(name=f'n{i}', architecture='a', task='b', files=())"
    ),
    "returns no iterable": hook("return 7"),
    "points nowhere": {"value": "bad.plugin:nothing"},
    "is not a module": {"value": "not a module!"},
    "has no equals sign": {"entry_points": "[registry.v1]\nbad\n"},
    "is not in UTF-8": {"entry_points": b"[registry.v1]\nbad = \xff\xfe\n"},
    "has no name": {"metadata": ""},
}
"""What a distribution does wrong, and how; each is ignored with a warning."""

RUDE: dict[str, dict[str, Any]] = {
    "claims a first-party name": hook("yield " + CARD.format(name="bert-base-uncased")),
    "claims a first-party architecture": hook(
        "yield ConfigSpec(architecture='bert', cls='nowhere:Config', model_types=('bert',))", name="registry_configs"
    ),
    "claims a first-party task": hook(
        "yield ModelSpec(architecture='bert', task='masked-lm', cls='nowhere:M')", name="registry_models"
    ),
    "imports much": {"source": "import numpy\n" + hook("return []")["source"]},
    "refers to what is broken": hook(
        "yield ConfigSpec(architecture='bad', cls='nowhere:Config', model_types=('bad',))", name="registry_configs"
    ),
}
"""What a plugin does that is not a mistake in form; it is loaded, and must not win."""


def everything_else_works() -> None:
    """What a user of other plugins does, first-party and third-party."""
    assert registry.info("good-model").architecture == "bad"
    assert registry.resolve("bert-base-uncased").card.architecture == "bert"
    assert {"good-model", "bert-base-uncased", "gpt2"} <= set(registry.list_models())
    from registry.zoo import BertConfig, BertForMaskedLM

    assert BertConfig.__module__ == "plugins.bert.config"
    assert BertForMaskedLM.__module__ == "plugins.bert.modeling"
    states = {plugin.name: plugin.state for plugin in registry.plugins()}
    assert states["bert"] == states["gpt2"] == states["good"] == "loaded"


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_distribution_that_is_broken_is_warned_of_once_and_harms_nobody(install: Install, fault: str) -> None:
    install("good-dist", GOOD, plugin="good")
    install("bad-dist", **HOSTILE[fault], plugin="bad")
    with pytest.warns(PluginWarning, match="bad.dist") as caught:
        everything_else_works()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        everything_else_works()
    assert len(caught) == 1
    infos = [plugin for plugin in registry.plugins() if plugin.name == "bad"]
    assert all(plugin.state == "failed" and plugin.error for plugin in infos)
    if infos:
        with pytest.raises(PluginError):
            registry.prefer("bad")
    everything_else_works()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rudeness", RUDE)
def test_a_plugin_that_claims_or_costs_too_much_harms_nobody(install: Install, rudeness: str) -> None:
    install("good-dist", GOOD, plugin="good")
    install("bad-dist", **RUDE[rudeness], plugin="bad")
    everything_else_works()


def test_two_third_parties_with_one_name_harm_only_who_uses_the_name(install: Install) -> None:
    install("good-dist", GOOD, plugin="good")
    for number in (1, 2):
        install(f"bad-dist-{number}", hook("yield " + CARD.format(name="contested"))["source"], plugin=f"bad_{number}")
    everything_else_works()
    with pytest.raises(PluginConflictError, match=r"bad-dist-1 1.0.*bad-dist-2 1.0"):
        registry.resolve("contested")
    everything_else_works()


def test_all_of_them_at_once_harm_nobody_in_a_process_of_its_own(install: Install) -> None:
    sites = [install("good-dist", GOOD, plugin="good")]
    for number, options in enumerate([*HOSTILE.values(), *RUDE.values()]):
        options = {"value": f"bad_{number}", **options} if "value" not in options else options
        sites.append(install(f"bad-dist-{number}", **options, plugin=f"bad_{number}"))
    ended = subprocess.run(
        [sys.executable, "-m", "registry", "list", "--json"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sites))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert {"good-model", "bert-base-uncased", "gpt2"} <= {card["name"] for card in json.loads(ended.stdout)}
    assert ended.stderr.count("warning: ") == len(HOSTILE), ended.stderr
    assert "Traceback" not in ended.stderr


# --- Two hundred ------------------------------------------------------------------------------------------------------

MANY = 200


@pytest.fixture
def many(install: Install) -> Path:
    """Two hundred plugins of third parties, each of a distribution of its own, in one directory as pip leaves them."""
    site = install("toy-0", GOOD.replace("good-model", "toy-0"), plugin="toy_0")
    for number in range(1, MANY):
        info = site / f"toy_{number}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: toy-{number}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[registry.v1]\ntoy_{number} = toy_{number}\n")
        (site / f"toy_{number}.py").write_text(GOOD.replace("good-model", f"toy-{number}"))
    registry.refresh()
    return site


def imported() -> int:
    return sum(name.startswith("toy_") for name in sys.modules)


def test_among_two_hundred_a_first_party_name_is_found_importing_none(many: Path) -> None:
    assert registry.resolve("bert-base-uncased").card is not None
    assert registry.load_config("all-minilm-l6-v2").architecture == "bert"
    from registry.zoo import BertTokenizer  # noqa: F401

    assert imported() == 0


def test_among_two_hundred_a_third_partys_name_is_found_importing_each_once_and_no_torch(many: Path) -> None:
    code = (
        "import sys, registry\n"
        "assert registry.resolve('toy-137').card.name == 'toy-137'\n"
        "print(sum(name.startswith('toy_') for name in sys.modules), 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(many)}, capture_output=True, text=True
    )
    assert ended.stdout == f"{MANY} False False\n", ended.stderr


def test_among_two_hundred_a_typing_error_is_answered(many: Path) -> None:
    with pytest.raises(registry.RegistryError, match=r"'toy-1377'. Did you mean .*'toy-137'"):
        registry.resolve("toy-1377")
    assert len([plugin for plugin in registry.plugins() if plugin.state == "loaded"]) >= MANY
