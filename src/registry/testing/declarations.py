"""Checks of the plugin: its records, the cost of importing it, and that it changes nothing for others."""

from typing import TYPE_CHECKING, Any

import pytest

from registry import discovery
from registry.errors import PluginIncompatibleError, PluginLoadError, RegistryError, did_you_mean
from registry.records import Card, ConfigSpec, LayerSpec, LazyRef, ModelSpec, TokenizerSpec, WeightLoaderSpec
from registry.sources.packages import package_path
from registry.sources.resolve import resolve
from registry.testing.suite import Suite, needs, of_loading

if TYPE_CHECKING:
    from registry.discovery.probe import Probe


class PluginSuite(Suite):
    """The plugin before it is imported, when its hooks are called, and when it is disabled."""

    # --- Records

    @of_loading
    def test_the_plugin_is_installed_and_loads(self) -> None:
        """An installed distribution has its entry point; importing it and calling its hooks raises nothing."""
        try:
            found = [plugin for plugin in discovery.plugins_called(self.plugin) if plugin.name == self.plugin]
            discovery.records(self.plugin)
        except PluginIncompatibleError:
            return  # another check reports it
        except PluginLoadError as problem:
            pytest.fail(f"{problem}")
        assert len(found) == 1, f"{len(found)} plugins are called {self.plugin!r}: {found}"
        assert found[0].distribution is not None, "it is registered in this process only; install it"

    @of_loading
    def test_its_hooks_are_known_and_marked_and_yield_their_records(self) -> None:
        """Every ``registry_*`` function is a hook, marked, without arguments, and yields records of its type."""
        try:
            discovery.records(self.plugin)
        except PluginIncompatibleError as problem:
            pytest.fail(f"{problem}")
        except PluginLoadError:
            return  # another check reports it

    def test_its_hooks_return_the_same_records_each_time(self) -> None:
        """Hooks are called once per process, so that records must not depend on the time of the call."""
        plugin = next(p for p in discovery.plugins_called(self.plugin) if p.name == self.plugin)
        first = discovery.records(self.plugin)
        assert discovery.call_hooks_again(plugin) == first

    def test_it_declares_the_architecture_completely(self) -> None:
        """There is a configuration, a model for its default task, and a tokenizer."""
        if not self.declares(ConfigSpec):
            pytest.skip(f"it adds to {self.architecture!r}, and declares no configuration of its own")
        tasks = [spec.task for spec in self.specs()]
        assert self.config_spec().default_task in tasks, f"default_task is not in {tasks}"
        if "tokenizer" not in self.unsupported:
            assert self.tokenizer_spec().architecture == self.architecture

    def test_every_reference_leads_to_the_right_kind(self) -> None:
        """Each class that a record names can be imported, and is of the kind that the record declares."""
        problems = [f"{record!r}: {fault}" for record in discovery.records(self.plugin) for fault in faults(record)]
        assert not problems, "\n".join(problems)

    @needs("cards")
    def test_its_names_resolve_to_its_own_cards(self) -> None:
        """``registry.resolve`` finds each name and alias in this plugin and in no other."""
        cards = [record for record in discovery.records(self.plugin) if isinstance(record, Card)]
        if not cards and not self.declares(ConfigSpec):
            pytest.skip(f"it adds to {self.architecture!r}, and declares no card")
        assert cards, "it declares no card; if that is intended, say why: unsupported = {'cards': '...'}"
        for card in cards:
            for name in (card.name, *card.aliases):
                found = resolve(name)
                assert found.card is card, (
                    f"{name!r} is taken by {discovery.owner(found.card) if found.card else found}"
                )

    @needs("cards")
    def test_its_cards_name_tasks_and_files_that_it_can_read(self) -> None:
        """A card's task has a model class, its files include configuration and weights, its tokenizer options exist."""
        for card in (record for record in discovery.records(self.plugin) if isinstance(record, Card)):
            known = discovery.architecture(card.architecture)
            names = [spec.architecture for spec in discovery.every(ConfigSpec)]
            assert known.config is not None, (
                f"{card.name}: no installed plugin declares the architecture {card.architecture!r}."
                f"{did_you_mean(card.architecture, names)}"
            )
            assert card.task in known.models, (
                f"{card.name}: no class for {card.task!r}; there are {', '.join(known.models)}"
            )
            missing = {"config", "weights"} - {file.role for file in card.files}
            assert not missing or card.archives, f"{card.name} lists no file of the role {missing}"
            if card.tokenizer:
                assert known.tokenizer is not None, f"{card.name} has options of a tokenizer, and there is none"
                options = discovery.load_class(known.tokenizer).options
                assert not set(card.tokenizer) - {*options}, (
                    f"{card.name}: the tokenizer's options are {sorted(options)}"
                )

    @needs("cards")
    def test_what_its_cards_name_in_its_package_is_there(self) -> None:
        """Each ``pkg:`` path of a card leads to a file that the distribution of the plugin installs."""
        plugin = next(p for p in discovery.plugins_called(self.plugin) if p.name == self.plugin)
        own = f"pkg:{plugin.distribution}/".lower()
        for card in (record for record in discovery.records(self.plugin) if isinstance(record, Card)):
            for url in (url for file in card.files for url in file.urls if url.lower().startswith(own)):
                try:
                    package_path(url)
                except RegistryError as problem:
                    pytest.fail(
                        f"{card.name} names {url}, which leads nowhere: {problem.message} Correct the path, or list "
                        f"the file in [tool.setuptools.package-data] and install the package again."
                    )

    # --- In a separate process

    @pytest.mark.another_process
    def test_reading_metadata_does_not_import_it(self, registry_probe: "Probe") -> None:
        """Only the registry imports the plugin, and only when something of it is needed."""
        assert not registry_probe.imported_unasked, "it is imported at startup: by a .pth file, or a sitecustomize?"

    @pytest.mark.another_process
    def test_its_hooks_import_nothing_heavy(self, registry_probe: "Probe") -> None:
        """Listing models stays fast for everybody who has the plugin installed."""
        assert registry_probe.heavy == (), f"importing {self.plugin!r} imports {', '.join(registry_probe.heavy)}"

    @pytest.mark.another_process
    def test_its_hooks_stay_within_their_budget(self, registry_probe: "Probe") -> None:
        """At most ``most_modules`` imported modules and ``most_seconds`` of CPU time."""
        added = registry_probe.modules
        assert len(added) <= self.most_modules, f"{len(added)} modules are imported: {', '.join(added)}"
        assert registry_probe.seconds <= self.most_seconds, f"its import and hooks take {registry_probe.seconds:.3f} s"

    @pytest.mark.another_process
    def test_configurations_and_tokenizers_need_no_torch(self, registry_probe: "Probe") -> None:
        """``registry.load_config`` and ``load_tokenizer`` import no torch; processors of images may import NumPy."""
        allowed = () if self.processor_is_tokenizer() else ("numpy",)
        heavy = [name for name in registry_probe.heavy_for_text if name not in allowed]
        assert not heavy, f"a configuration, tokenizer or detector imports {', '.join(heavy)}"

    @pytest.mark.another_process
    def test_importing_it_changes_nothing_for_others(self, registry_probe: "Probe") -> None:
        """Importing it leaves default types, seeds, warnings, logging, the environment and paths as they are."""
        assert registry_probe.changed == (), f"importing {self.plugin!r} changes {'; '.join(registry_probe.changed)}"

    @pytest.mark.another_process
    def test_it_is_not_imported_when_it_is_disabled(self, registry_probe: "Probe") -> None:
        """``REGISTRY_DISABLE_PLUGINS`` keeps a plugin from being imported."""
        assert not registry_probe.imported_when_disabled, "another plugin of the same distribution imports it"


def faults(record: Any) -> list[str]:
    """Problems of a record: references that fail or lead elsewhere, and contradictions to the class."""
    problems = []
    for reference, kind, found in _references(record):
        if isinstance(found, BaseException):
            problems.append(f"{reference} cannot be imported: {type(found).__name__}: {found}")
        elif not kind(found):
            problems.append(f"{reference} is {found!r}, which is of another kind")
    return problems or _contradictions(record)


def _references(record: Any) -> "list[tuple[str, Any, Any]]":
    """Each reference of a record, a test of its target, and the target or the exception of importing it."""
    from torch import nn

    from registry.config import Config
    from registry.loading.model import Model
    from registry.weights.names import NameTable

    def subclass(base: type) -> Any:
        return lambda found: isinstance(found, type) and issubclass(found, base)

    def processor(found: object) -> bool:
        return isinstance(found, type) and all(callable(getattr(found, name, None)) for name in ("from_files", "files"))

    if isinstance(record, WeightLoaderSpec):
        wanted: list[tuple[LazyRef, Any]] = [(record.detect, callable), (record.loader, callable)]
        wanted += [] if record.names is None else [(record.names, lambda found: isinstance(found, NameTable))]
        optional = (record.headers, record.config, record.tokenizer)
        wanted += [(reference, callable) for reference in optional if reference is not None]
    elif isinstance(record, Card):
        wanted = []
    else:
        base = {ConfigSpec: Config, ModelSpec: Model, LayerSpec: nn.Module}.get(type(record))
        wanted = [(record.cls, processor if base is None else subclass(base))]
    if isinstance(record, ConfigSpec) and record.reader is not None:
        wanted.append((record.reader, callable))
    found = []
    for reference, kind in wanted:
        try:
            found.append((str(reference), kind, reference.load()))
        except (Exception, SystemExit) as problem:  # noqa: BLE001  # all are reported
            found.append((str(reference), kind, problem))
    return found


def _contradictions(record: Any) -> list[str]:
    """Contradictions between a record and the class that it names."""
    from registry.tokenization.base import Tokenizer

    match record:
        case ConfigSpec():
            cls = record.cls.load()
            facts = [
                (cls.architecture == record.architecture, f"its architecture is {cls.architecture!r}"),
                (cls.model_type == record.model_types[:1][0], f"it writes the model_type {cls.model_type!r}"),
            ]
        case ModelSpec():
            config = record.cls.load().config_class
            facts = [(config.architecture == record.architecture, f"its configuration is {config.__name__}")]
        case TokenizerSpec():
            cls = record.cls.load()
            facts = [
                (
                    not issubclass(cls, Tokenizer) or bool(getattr(cls, "published_classes", ())),
                    "it has no published_classes",
                )
            ]
        case LayerSpec():
            facts = [(record.summary.endswith("."), "its summary does not end with a period")]
        case _:
            facts = []
    return [problem for true, problem in facts if not true]
