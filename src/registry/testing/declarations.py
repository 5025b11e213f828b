"""What a plugin declares, what it costs to ask it, and that it harms nobody."""

from typing import TYPE_CHECKING, Any

import pytest

from registry import discovery
from registry.errors import PluginIncompatibleError, PluginLoadError
from registry.records import Card, ConfigSpec, LayerSpec, LazyRef, ModelSpec, TokenizerSpec, WeightLoaderSpec
from registry.sources.resolve import resolve
from registry.testing.suite import Suite, needs, of_loading

if TYPE_CHECKING:
    from registry.discovery.probe import Probe


class PluginSuite(Suite):
    """The plugin as the registry sees it: before it is imported, when it is asked, and when it is disabled."""

    # --- Asking it

    @of_loading
    def test_the_plugin_is_installed_and_loads(self) -> None:
        """An installed distribution announces it under ``registry.v1``; importing and asking it raises nothing."""
        try:
            found = [plugin for plugin in discovery.plugins_called(self.plugin) if plugin.name == self.plugin]
            discovery.records(self.plugin)
        except PluginIncompatibleError:
            return  # a check of its own says so
        except PluginLoadError as problem:
            pytest.fail(f"{problem}")
        assert len(found) == 1, f"{len(found)} plugins are called {self.plugin!r}: {found}"
        assert found[0].distribution is not None, "it was registered in this process only; install it"

    @of_loading
    def test_its_hooks_are_known_and_marked_and_yield_their_records(self) -> None:
        """Every ``registry_*`` function is a hook, marked, without arguments, and yields records of its type."""
        try:
            discovery.records(self.plugin)
        except PluginIncompatibleError as problem:
            pytest.fail(f"{problem}")
        except PluginLoadError:
            return  # a check of its own says so

    def test_it_gives_the_same_answers_when_it_is_asked_again(self) -> None:
        """A plugin is asked once and its answers are kept, so they must not depend on when that was."""
        plugin = next(p for p in discovery.plugins_called(self.plugin) if p.name == self.plugin)
        first = discovery.records(self.plugin)
        assert discovery.answers_again(plugin) == first

    def test_it_declares_the_architecture_whole(self) -> None:
        """There is a configuration, a model for the task that it names as the default, and a tokenizer."""
        tasks = [spec.task for spec in self.specs()]
        assert self.config_spec().default_task in tasks, f"default_task is none of {tasks}"
        if "tokenizer" not in self.lacks:
            assert self.tokenizer_spec().architecture == self.architecture

    def test_every_reference_leads_to_the_right_kind(self) -> None:
        """Each record names something that can be imported and that is what the record says."""
        problems = [f"{record!r}: {fault}" for record in discovery.records(self.plugin) for fault in faults(record)]
        assert not problems, "\n".join(problems)

    @needs("cards")
    def test_its_names_resolve_to_its_own_cards(self) -> None:
        """``registry.resolve`` finds each name and alias, and no other plugin wins it."""
        cards = [record for record in discovery.records(self.plugin) if isinstance(record, Card)]
        assert cards, "it declares no card; if that is meant, say why: lacks = {'cards': '...'}"
        for card in cards:
            for name in (card.name, *card.aliases):
                found = resolve(name)
                assert found.card is card, (
                    f"{name!r} is taken by {discovery.owner(found.card) if found.card else found}"
                )

    @needs("cards")
    def test_its_cards_name_tasks_and_files_that_it_can_read(self) -> None:
        """A card's task has a model class; it lists a configuration and weights, and the tokenizer's options exist."""
        for card in (record for record in discovery.records(self.plugin) if isinstance(record, Card)):
            if card.architecture != self.architecture:
                continue
            assert card.task in [spec.task for spec in self.specs()], f"{card.name}: no class for {card.task!r}"
            missing = {"config", "weights"} - {file.role for file in card.files}
            assert not missing or card.archives, f"{card.name} lists no file of the role {missing}"
            if card.tokenizer:
                known = discovery.load_class(self.tokenizer_spec()).options
                assert not set(card.tokenizer) - set(known), f"{card.name}: the tokenizer takes only {sorted(known)}"

    # --- In a process of its own

    @pytest.mark.another_process
    def test_reading_metadata_does_not_import_it(self, registry_probe: "Probe") -> None:
        """Nothing but the registry imports the plugin, and that only when something of it is needed."""
        assert not registry_probe.imported_unasked, "it was there before anybody asked: a .pth file, a sitecustomize?"

    @pytest.mark.another_process
    def test_asking_it_imports_nothing_heavy(self, registry_probe: "Probe") -> None:
        """Listing models must stay cheap for everybody who has the plugin installed."""
        assert registry_probe.heavy == (), f"importing {self.plugin!r} imports {', '.join(registry_probe.heavy)}"

    @pytest.mark.another_process
    def test_asking_it_stays_within_its_budget(self, registry_probe: "Probe") -> None:
        """``most_modules`` and ``most_seconds``, the latter of the processor's time."""
        added = registry_probe.modules
        assert len(added) <= self.most_modules, f"{len(added)} modules are imported: {', '.join(added)}"
        assert registry_probe.seconds <= self.most_seconds, f"asking it takes {registry_probe.seconds:.3f} s"

    @pytest.mark.another_process
    def test_configurations_and_tokenizers_need_no_torch(self, registry_probe: "Probe") -> None:
        """``registry.load_config`` and ``load_tokenizer`` work where torch would be too slow to import."""
        assert registry_probe.heavy_for_text == (), (
            f"a configuration, tokenizer or detector imports {', '.join(registry_probe.heavy_for_text)}"
        )

    @pytest.mark.another_process
    def test_importing_it_changes_nothing_for_others(self, registry_probe: "Probe") -> None:
        """Default types, seeds, warnings, logging, the environment and paths belong to the application."""
        assert registry_probe.changed == (), f"importing {self.plugin!r} changes {'; '.join(registry_probe.changed)}"

    @pytest.mark.another_process
    def test_it_is_not_imported_when_it_is_disabled(self, registry_probe: "Probe") -> None:
        """``REGISTRY_DISABLE_PLUGINS`` must be a way out when a plugin breaks something."""
        assert not registry_probe.imported_when_disabled, "another plugin of its distribution imports it"


def faults(record: Any) -> list[str]:
    """What is wrong with the references of a record."""
    problems = []
    for reference, kind, found in _leads(record):
        if isinstance(found, BaseException):
            problems.append(f"{reference} cannot be imported: {type(found).__name__}: {found}")
        elif not kind(found):
            problems.append(f"{reference} is {found!r}, which is of the wrong kind")
    return problems or _contradictions(record)


def _leads(record: Any) -> "list[tuple[str, Any, Any]]":
    """Each reference of a record, the test of what it must lead to, and what it leads to."""
    from torch import nn

    from registry.config import Config
    from registry.loading.model import Model
    from registry.tokenization.base import Tokenizer
    from registry.weights.names import NameTable

    def subclass(base: type) -> Any:
        return lambda found: isinstance(found, type) and issubclass(found, base)

    if isinstance(record, WeightLoaderSpec):
        wanted: list[tuple[LazyRef, Any]] = [(record.detect, callable), (record.loader, callable)]
        wanted += [] if record.names is None else [(record.names, lambda found: isinstance(found, NameTable))]
    elif isinstance(record, Card):
        wanted = []
    else:
        base = {ConfigSpec: Config, ModelSpec: Model, TokenizerSpec: Tokenizer, LayerSpec: nn.Module}[type(record)]
        wanted = [(record.cls, subclass(base))]
    found = []
    for reference, kind in wanted:
        try:
            found.append((str(reference), kind, reference.load()))
        except (Exception, SystemExit) as problem:  # noqa: BLE001  # whatever it is, it is reported
            found.append((str(reference), kind, problem))
    return found


def _contradictions(record: Any) -> list[str]:
    """Where a record says something else than the class that it names."""
    match record:
        case ConfigSpec():
            cls = record.cls.load()
            told = [
                (cls.architecture == record.architecture, f"its architecture is {cls.architecture!r}"),
                (cls.model_type == record.model_types[:1][0], f"it writes the model_type {cls.model_type!r}"),
            ]
        case ModelSpec():
            config = record.cls.load().config_class
            told = [(config.architecture == record.architecture, f"its configuration is {config.__name__}")]
        case TokenizerSpec():
            told = [(bool(getattr(record.cls.load(), "published_classes", ())), "it has no published_classes")]
        case LayerSpec():
            told = [(record.summary.endswith("."), "its summary is no sentence")]
        case _:
            told = []
    return [words for true, words in told if not true]
