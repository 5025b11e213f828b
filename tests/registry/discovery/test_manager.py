import ast
import importlib
import pickle
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import registry
from registry import Card, ConfigSpec, discovery, hookimpl
from registry.discovery import PluginInfo, entry_points
from registry.discovery.entry_points import PluginWarning
from registry.errors import (
    CardFileError,
    PluginConflictError,
    PluginError,
    PluginIncompatibleError,
    PluginLoadError,
    UnknownModelError,
    UnknownPluginError,
)

Install = Callable[..., Path]

SOURCE = Path(registry.__file__).parent.parent

HEAD = "from registry import Card, ConfigSpec, FileSpec, ModelSpec, hookimpl\n"


def card(name: str = "toy", **fields: object) -> Card:
    return Card(**{"name": name, "architecture": "toy", "task": "base", "files": (), **fields})


def plugin_with(*cards: object) -> SimpleNamespace:
    return SimpleNamespace(registry_cards=hookimpl(lambda: cards), __name__="mine")


def find(name: str) -> Card | None:
    return discovery.card(name)


def plugin_info(name: str) -> PluginInfo:
    return next(info for info in registry.plugins() if info.name == name)


def broken(install: Install, source: str, **options: object) -> PluginInfo:
    """What is known of a plugin that does not work, after the warning."""
    install("broken-dist", source, plugin="broken", **options)
    with pytest.warns(PluginWarning, match="'broken' \\(broken-dist 1.0\\)"):
        return plugin_info("broken")


# --- Finding ----------------------------------------------------------------------------------------------------------


def test_an_installed_plugin_is_found_and_described(install: Install) -> None:
    install("toy-dist")
    info = plugin_info("toy_plugin")
    assert (info.distribution, info.version, info.state, info.first_party) == ("toy-dist", "1.0", "loaded", False)
    assert info.declares == {"cards": ("toy",)}
    assert info.error is None
    assert info.import_seconds > 0
    assert discovery.owner(find("toy")).name == "toy_plugin"


def test_an_entry_point_may_name_an_object_in_a_module(install: Install) -> None:
    source = HEAD + "class Toys:\n @hookimpl\n def registry_cards(self): return []\n\ntoys = Toys()"
    install("toy-dist", source, value="toy_plugin:toys")
    assert plugin_info("toy_plugin").state == "loaded"


def test_hooks_are_called_once(install: Install) -> None:
    install("toy-dist", HEAD + "calls = []\n@hookimpl\ndef registry_cards():\n calls.append(1)\n return []")
    registry.list_models()
    registry.list_models()
    assert sys.modules["toy_plugin"].calls == [1]


def test_only_names_of_hooks_are_looked_at() -> None:
    class Touchy:
        @property
        def expensive(self) -> None:
            raise AssertionError("touched")

    registry.register(Touchy())
    assert plugin_info("Touchy").state == "loaded"


def test_first_party_names_are_found_without_importing_third_parties(install: Install) -> None:
    install("toy-dist")
    assert find("bert-base-uncased") is not None
    assert "toy_plugin" not in sys.modules
    assert find("toy") is not None
    assert "toy_plugin" in sys.modules


def test_an_architecture_of_a_plugin_may_be_asked_from_many_threads(install: Install) -> None:
    install(
        "toy-dist",
        "import time; time.sleep(0.05)\n" + HEAD + "@hookimpl\ndef registry_cards():\n yield Card("
        "name='toy', architecture='toy', task='base', files=())",
    )
    found: list[Card | None] = []
    threads = [threading.Thread(target=lambda: found.append(find("toy"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(one is found[0] is not None for one in found)


def test_one_object_is_one_plugin(install: Install) -> None:
    mine = plugin_with(card("mine-tiny"))
    registry.register(mine)
    with pytest.raises(
        PluginIncompatibleError, match=r"it is registered already, as the plugin 'mine' \(registered at run time\)"
    ):
        registry.register(mine, "again")
    discovery.unregister("mine")
    registry.register(mine, "again")
    install("toy-dist", entry_points="[registry.v1]\ntoy = toy_plugin\nold-name = toy_plugin\n")
    with pytest.warns(PluginWarning, match=r"it is registered already, as the plugin 'toy' \(toy-dist 1.0\)"):
        assert plugin_info("old-name").state == "failed"
    assert find("toy") is not None


def test_an_architecture_is_one_value_whose_entries_are_looked_up_when_used(install: Install) -> None:
    install(
        "toy-dist",
        HEAD + "@hookimpl\ndef registry_models():\n"
        " yield ModelSpec(architecture='bert', task='toying', cls='toy:BertForToying')\n"
        " yield ModelSpec(architecture='bert', task='base', cls='toy:BertModel')",
    )
    bert = discovery.architecture("bert")
    assert bert.name == "bert"
    assert bert.config is discovery.architecture_of_model_type("bert")
    assert bert.tokenizer is discovery.class_named("BertTokenizer")
    assert bert.models["masked-lm"] is bert.model_named("BertForMaskedLM") is discovery.class_named("BertForMaskedLM")
    assert [loader.format for loader in bert.weight_loaders] == ["tensorflow"]
    sys.modules.pop("toy_plugin", None)
    discovery.refresh()
    assert discovery.architecture("bert").models["base"].cls.target == "plugins.bert.modeling:BertModel"
    assert discovery.architecture("bert").weight_loader("tensorflow") is not None
    assert next(iter(discovery.architecture("bert").layers)) == next(iter(bert.layers))
    assert "toy_plugin" not in sys.modules, "a third party is imported only for what no first-party plugin declares"
    assert bert.models["toying"].cls.name == "BertForToying"
    assert list(bert.models).count("base") == 1
    assert set(bert.models) >= {"base", "masked-lm", "toying"}


def test_an_unknown_architecture_has_no_entries() -> None:
    unknown = discovery.architecture("no-such")
    assert unknown.config is unknown.tokenizer is unknown.model_named("X") is unknown.weight_loader("x") is None
    assert not unknown.models
    assert not unknown.layers
    assert unknown.weight_loaders == ()
    assert discovery.architecture_of_model_type(5) is discovery.architecture_of_model_type("no-such") is None


def test_a_conflict_is_an_error_of_the_entry_in_conflict(install: Install) -> None:
    models = (
        "@hookimpl\ndef registry_models():\n yield ModelSpec(architecture='toy', task='base', cls='toy:Toy')\n"
        " yield ModelSpec(architecture='toy', task='{0}', cls='toy:Toy{0}')\n"
    )
    install("first-dist", HEAD + models.format("one"), plugin="first")
    install("second-dist", HEAD + models.format("two"), plugin="second")
    toy = discovery.architecture("toy")
    assert list(toy.models) == ["base", "one", "two"]
    assert toy.models["two"].cls.name == "Toytwo"
    with pytest.raises(PluginConflictError, match=r"The model 'base' of 'toy' is declared by 2 plugins"):
        toy.models.get("base")
    registry.prefer("second")
    assert toy.models["base"] is next(r for r in discovery.records("second") if r.task == "base")


def test_the_task_of_a_model_class_is_that_of_its_record() -> None:
    from registry.zoo import BertConfig, BertForMaskedLM

    assert discovery.model_class_task(BertForMaskedLM) == "masked-lm"
    assert discovery.model_class_task(BertConfig) is None


def test_settings_made_in_isolation_are_undone(install: Install) -> None:
    registry.register(plugin_with(card("mine-tiny")))
    with discovery.isolated():
        install("toy-dist")
        registry.register(plugin_with(card("inner")), "inner")
        registry.prefer("inner")
        discovery.unregister("mine")
        assert find("mine-tiny") is None
    assert find("mine-tiny") is not None
    assert find("inner") is None
    with pytest.raises(UnknownPluginError):
        registry.prefer("inner")


# --- Settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("allowed", ["toy_plugin", "toy-dist", "TOY.DIST", " bert , toy_plugin"])
def test_an_allow_list_takes_names_of_plugins_or_distributions(
    install: Install, monkeypatch: pytest.MonkeyPatch, allowed: str
) -> None:
    install("toy-dist")
    install("other-dist", "raise SystemExit", plugin="other")
    monkeypatch.setenv("REGISTRY_PLUGINS", allowed)
    assert find("toy") is not None
    registry.plugins()
    assert "other" not in sys.modules


def test_an_empty_allow_list_allows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_PLUGINS", "")
    assert registry.list_models() == []
    assert {info.state for info in registry.plugins()} == {"disabled"}
    with pytest.raises(UnknownModelError, match=r"Disabled plugins: 'bert' .*not among REGISTRY_PLUGINS"):
        registry.resolve("bert-base-uncased")


def test_an_unknown_name_in_the_allow_list_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_PLUGINS", "bret")
    with pytest.warns(PluginWarning, match=r"'bret', which is not installed. Did you mean 'bert'\?"):
        registry.list_models()


def test_a_disabled_plugin_is_not_imported(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("toy-dist")
    monkeypatch.setenv("REGISTRY_DISABLE_PLUGINS", "toy-dist")
    assert plugin_info("toy_plugin").state == "disabled"
    assert "toy" not in registry.list_models()
    assert "toy_plugin" not in sys.modules


def test_the_environment_is_read_when_something_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find("bert-base-uncased") is not None
    monkeypatch.setenv("REGISTRY_DISABLE_PLUGINS", "bert")
    assert find("bert-base-uncased") is None


def test_strict_mode_raises_what_is_else_a_warning(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("toy-dist", "import nowhere")
    monkeypatch.setenv("REGISTRY_STRICT", "1")
    for _ in range(2):
        with pytest.raises(PluginLoadError, match="No module named 'nowhere'"):
            registry.list_models()
    assert find("bert-base-uncased") is not None, "a plugin that nobody needs is not asked"


def test_register_adds_a_plugin_to_this_process() -> None:
    mine = plugin_with(card("mine-tiny"))
    registry.register(mine)
    registry.register(mine)
    assert registry.info("mine-tiny").name == "mine-tiny"
    assert plugin_info("mine").distribution is None
    with pytest.raises(PluginConflictError, match="another plugin is registered as 'mine'"):
        registry.register(plugin_with(card("other")))


def test_only_narrows_what_is_found(install: Install) -> None:
    install("toy-dist")
    with registry.only("bert"):
        assert "toy" not in registry.list_models()
        with registry.only("toy_plugin"):
            assert registry.list_models() == [], "an inner block narrows further"
        assert "bert-base-uncased" in registry.list_models()
    with registry.only("toy-dist"):
        assert registry.list_models() == ["toy"]
    assert {"toy", "bert-base-uncased"} <= set(registry.list_models())


def test_only_ends_with_its_block_also_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), registry.only("bert"):
        raise ZeroDivisionError
    assert "gpt2" in registry.list_models()


def test_who_names_a_plugin_is_told_when_it_is_not_there_or_does_not_work(install: Install) -> None:
    with pytest.raises(UnknownPluginError, match=r"'bret'. Did you mean 'bert'\?"), registry.only("bret"):
        pass
    install("toy-dist", "import nowhere")
    for use in (registry.prefer, lambda name: registry.only(name).__enter__()):
        with pytest.raises(PluginLoadError, match=r"toy-dist 1.0.*No module named 'nowhere'"):
            use("toy_plugin")


@pytest.mark.parametrize("strict", ["0", "1"])
def test_an_error_that_is_raised_again_does_not_keep_the_frames_of_before(
    install: Install, monkeypatch: pytest.MonkeyPatch, strict: str
) -> None:
    install("toy-dist", "import nowhere")
    monkeypatch.setenv("REGISTRY_STRICT", strict)

    def depth() -> int:
        with pytest.raises(PluginError) as raised:
            discovery.plugins() if strict == "1" else discovery.records("toy_plugin")
        return len(raised.traceback)

    assert [depth() for _ in range(3)] == [depth()] * 3


def test_refresh_finds_what_was_installed_meanwhile(install: Install) -> None:
    assert find("toy") is None
    install("toy-dist")  # refreshes
    assert find("toy") is not None


# --- The cases of faults.md -------------------------------------------------------------------------------------------

MISTAKES = {
    "ModuleNotFoundError": "import nowhere",
    "SyntaxError": "def (",
    "AttributeError": "import sys\nsys.nothing",
    "SystemExit": "import sys\nsys.exit('no')",
    "RecursionError": "def f(): f()\nf()",
    "ZeroDivisionError": HEAD + "@hookimpl\ndef registry_cards():\n yield 1 / 0",
    "ValueError": HEAD
    + "@hookimpl\ndef registry_cards():\n yield Card(name='UPPER', architecture='a', task='b', files=())",
}


@pytest.mark.parametrize("problem", MISTAKES)
def test_a_plugin_that_fails_is_left_out_and_the_others_work(install: Install, problem: str) -> None:
    info = broken(install, MISTAKES[problem])
    assert info.state == "failed"
    assert "PluginLoadError" not in info.error
    assert f"'broken' (broken-dist 1.0) failed: {problem}" in info.error
    assert "bert-base-uncased" in registry.list_models(), "without a second warning"


def test_an_entry_point_that_leads_nowhere_is_left_out(install: Install) -> None:
    assert "AttributeError" in broken(install, "", value="broken:nothing").error


def test_a_failure_is_named_where_something_is_missed(install: Install) -> None:
    broken(install, "import nowhere")
    with pytest.raises(UnknownModelError, match=r"'broken' \(broken-dist 1.0\) failed: ModuleNotFoundError"):
        registry.resolve("model-of-the-broken")


def test_system_exit_is_a_failure_like_others(install: Install) -> None:
    assert "SystemExit: no" in broken(install, MISTAKES["SystemExit"]).error


def test_an_interrupt_from_the_keyboard_goes_through_and_leaves_no_mark(install: Install) -> None:
    install("toy-dist", "raise KeyboardInterrupt")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            registry.list_models()


def test_a_plugin_that_would_end_the_process_is_not_imported_unasked(install: Install) -> None:
    site = install("toy-dist", "import os\nos._exit(7)")
    code = "import registry; registry.resolve('bert-base-uncased'); print('alive')"
    run = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": f"{site}"}, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (0, "alive\n"), run.stderr


def test_a_hanging_import_hangs_only_who_needs_it(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("toy-dist", "import time\ntime.sleep(1e6)")
    assert find("bert-base-uncased") is not None
    monkeypatch.setenv("REGISTRY_DISABLE_PLUGINS", "toy_plugin")
    assert "bert-base-uncased" in registry.list_models()


@pytest.mark.parametrize("damage", ["[registry.v1]\nno equals sign\n", b"[registry.v1]\ntoy = \xff\xfe\n"])
def test_a_damaged_entry_points_file_is_warned_of_once(install: Install, damage: str | bytes) -> None:
    install("unrelated", entry_points=damage)
    with pytest.warns(PluginWarning, match="unrelated-1.0.dist-info"):
        assert find("bert-base-uncased") is not None
    registry.plugins()


def test_a_half_removed_distribution_is_left_out(install: Install) -> None:
    install("ghost", metadata="")
    with pytest.warns(PluginWarning, match="half removed"):
        assert find("toy") is None


def test_an_application_without_metadata_is_told_how_to_take_them_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_points, "distributions", lambda: iter(()))
    discovery.refresh()
    with pytest.raises(UnknownModelError, match="metadata of the distribution torch-registry") as caught:
        registry.resolve("bert-base-uncased")
    assert "--copy-metadata torch-registry" in str(caught.value)
    registry.register(importlib.import_module("plugins.bert.plugin"))
    assert registry.resolve("bert-base-uncased").card is not None


def test_the_first_of_two_copies_of_a_distribution_counts(install: Install) -> None:
    install("toy-dist", plugin="older", version="1.0")
    install("Toy.Dist", plugin="newer", version="2.0")
    with pytest.warns(PluginWarning, match="toy-dist 1.0 at .* is hidden by Toy.Dist 2.0"):
        names = [info.name for info in registry.plugins()]
    assert "newer" in names
    assert "older" not in names


def test_the_same_version_twice_is_no_news(install: Install) -> None:
    install("toy-dist")
    install("toy-dist")
    assert [info.name for info in registry.plugins()].count("toy_plugin") == 1


def test_two_third_parties_with_one_name_are_an_error_when_it_is_used(install: Install) -> None:
    install("first-dist", plugin="first")
    install("second-dist", plugin="second", version="2.0")
    assert "toy" in registry.list_models()
    assert find("bert-base-uncased") is not None
    with pytest.raises(PluginConflictError, match=r"'first' \(first-dist 1.0\), 'second' \(second-dist 2.0\)") as error:
        registry.resolve("toy")
    assert "registry.prefer('first')" in str(error.value)
    registry.prefer("second")
    assert discovery.owner(registry.resolve("toy").card).name == "second"


def test_first_party_names_win_unless_another_plugin_is_preferred() -> None:
    registry.register(plugin_with(card("bert-base-uncased"), card("mine-tiny")))
    assert registry.info("bert-base-uncased").architecture == "bert"
    assert plugin_info("mine").shadowed == {"Card bert-base-uncased": "bert"}
    registry.prefer("mine")
    assert registry.info("bert-base-uncased").architecture == "toy"
    assert plugin_info("bert").shadowed == {"Card bert-base-uncased": "mine"}
    registry.prefer()
    assert registry.info("bert-base-uncased").architecture == "bert"


BREACHES = {
    "registry_card is not a hook. Did you mean 'registry_cards'": "@hookimpl\ndef registry_card(): return []",
    "registry_models is not marked as a hook.": "def registry_models(): return []",
    "Argument(s) {'config'} are declared": "@hookimpl\ndef registry_models(config): return []",
    "registry_models must yield records of type ModelSpec, but yielded 'x'": "@hookimpl\n"
    "def registry_models(): yield 'x'",
    "registry_cards must yield records of type Card, but returned <Card 'toy'": "@hookimpl\ndef registry_cards():\n"
    " return Card(name='toy', architecture='toy', task='base', files=())",
    "registry_cards declares 'toy' twice": "@hookimpl\ndef registry_cards():\n"
    " for i in (1, 2): yield Card(name='toy', architecture='toy', task='base', files=(), num_parameters=i)",
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_of_the_contract_is_refused_in_words(install: Install, breach: str) -> None:
    info = broken(install, HEAD + BREACHES[breach])
    assert "breaks the contract" in info.error
    assert breach in info.error
    with pytest.raises(PluginIncompatibleError, match=re.escape(breach)):
        registry.prefer("broken")


def test_a_plugin_that_fails_half_way_leaves_nothing_behind(install: Install) -> None:
    cards = "@hookimpl\ndef registry_cards():\n yield Card(name='toy', architecture='toy', task='base', files=())\n"
    broken(install, HEAD + cards + "@hookimpl\ndef registry_models():\n raise ValueError")
    assert find("toy") is None
    bad = plugin_with(card("toy"), "no record")
    with pytest.raises(PluginIncompatibleError):
        registry.register(bad)
    assert find("toy") is None
    registry.register(plugin_with(card("toy")))
    assert find("toy") is not None, "the name is still free"


def test_a_plugin_that_changes_the_state_of_others_is_not_imported_unasked(install: Install) -> None:
    install("toy-dist", "import warnings\nwarnings.simplefilter('ignore')\nraise SystemExit")
    assert registry.info("bert-base-uncased").name == "bert-base-uncased"
    assert "toy_plugin" not in sys.modules


def test_an_error_of_a_plugin_names_the_plugin_and_its_version(install: Install) -> None:
    install("toy-dist", HEAD + "@hookimpl\ndef registry_cards():\n raise OSError('disk on fire')", version="3.4")
    with pytest.raises(PluginLoadError, match=r"'toy_plugin' \(toy-dist 3.4\) failed: OSError: disk on fire") as error:
        registry.prefer("toy_plugin")
    assert isinstance(error.value.__cause__, OSError)
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


def test_a_class_that_cannot_be_imported_names_the_plugin() -> None:
    registry.register(
        SimpleNamespace(
            registry_configs=hookimpl(
                lambda: [ConfigSpec(architecture="toy", cls="nowhere:ToyConfig", model_types=("toy",))]
            )
        ),
        "mine",
    )
    with pytest.raises(PluginLoadError, match="nowhere:ToyConfig of the plugin mine failed: ModuleNotFoundError"):
        registry.zoo.ToyConfig  # noqa: B018


def test_no_code_of_ours_opens_an_unsafe_door() -> None:
    doors = {"weights_only": False, "allow_pickle": True, "trust_remote_code": True}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.keyword) and node.arg in doors:
                assert isinstance(node.value, ast.Constant), f"{path}:{node.value.lineno}"
                assert node.value.value is not doors[node.arg], f"{path}:{node.value.lineno}"


def test_a_plugin_may_look_things_up_while_it_is_imported(install: Install) -> None:
    install(
        "toy-dist",
        HEAD + "import registry\nnames = registry.list_models()\n@hookimpl\ndef registry_cards():\n"
        " registry.plugins()\n yield Card(name='toy', architecture='toy', task='base', files=())",
    )
    assert find("toy") is not None
    assert "bert-base-uncased" in sys.modules["toy_plugin"].names


def test_a_plugin_may_register_another_while_it_is_imported(install: Install) -> None:
    install(
        "toy-dist",
        HEAD + "import registry\nfrom types import SimpleNamespace\nregistry.register(SimpleNamespace("
        "registry_cards=hookimpl(lambda: [Card(name='inner', architecture='toy', task='base', files=())])), 'inner')",
    )
    assert "inner" not in registry.list_models("bert-base-uncased")
    assert "inner" in registry.list_models()


def test_what_was_made_with_a_plugin_outlives_it() -> None:
    mine = plugin_with(card("toy"))
    registry.register(mine)
    found = registry.info("toy")
    discovery.unregister("mine")
    assert found == card("toy")
    assert find("toy") is None
    with pytest.raises(UnknownPluginError):
        discovery.owner(found)
    with pytest.raises(UnknownPluginError):
        discovery.unregister("mine")


@given(st.text(min_size=1))
def test_names_of_models_are_plain_ascii(name: str) -> None:
    if re.fullmatch(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?", name, re.ASCII):
        assert card(name).name == name
    else:
        with pytest.raises(ValueError, match=r"Card\.name must be"):
            card(name)


def test_all_refusals_of_plugins_have_one_base() -> None:
    assert {CardFileError, PluginLoadError, PluginConflictError, PluginIncompatibleError, UnknownPluginError} == set(
        PluginError.__subclasses__()
    )


def test_a_module_is_registered_under_its_own_name() -> None:
    registry.register(ModuleType("my_module"))
    assert plugin_info("my_module").state == "loaded"
