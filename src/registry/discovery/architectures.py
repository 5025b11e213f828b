"""What plugins declare of one architecture, as one value."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

from attrs import frozen

from registry.records import ConfigSpec, LayerSpec, ModelSpec, TokenizerSpec, WeightLoaderSpec

if TYPE_CHECKING:
    from registry.discovery.manager import Discovery

E = TypeVar("E", ModelSpec, LayerSpec)


@frozen(eq=False, repr=False)
class Architecture:
    """What the installed plugins declare of one architecture; nothing at all where its name is unknown.

    An entry is looked up when it is used.  So third parties are imported only for what no first-party plugin declares,
    and two of them that declare the same entry are an error (PluginConflictError) of those who use that entry.
    """

    name: str
    """The architecture's name: ``gpt2``."""
    _discovery: "Discovery"

    @property
    def config(self) -> ConfigSpec | None:
        """The configuration class, and how a checkpoint of this architecture is recognized."""
        found: ConfigSpec | None = self._discovery.find(("config", self.name), f"The architecture {self.name!r}")
        return found

    @property
    def models(self) -> Mapping[str, ModelSpec]:
        """The model classes, by task."""
        return _Entries(self._discovery, ModelSpec, "model", self.name)

    @property
    def tokenizer(self) -> TokenizerSpec | None:
        """The tokenizer class, and the files which it reads."""
        asked = f"The tokenizer of {self.name!r}"
        found: TokenizerSpec | None = self._discovery.find(("tokenizer", self.name), asked)
        return found

    @property
    def weight_loaders(self) -> tuple[WeightLoaderSpec, ...]:
        """The formats that plugins read, of this architecture and of any; to list them imports every plugin."""
        return self._discovery.weight_loaders(self.name)

    @property
    def layers(self) -> Mapping[str, LayerSpec]:
        """The layers for others to build with, by name."""
        return _Entries(self._discovery, LayerSpec, "layer", self.name)

    def model_named(self, cls: str) -> ModelSpec | None:
        """The record of the model class of this name; ``architectures`` in a ``config.json`` has such names."""
        asked = f"The class {cls!r} of {self.name!r}"
        found: ModelSpec | None = self._discovery.find(("model name", self.name, cls), asked)
        return found

    def own_weight_loader(self, format: str) -> WeightLoaderSpec | None:
        """The record of a format by the plugin that declares the architecture, or by a preferred one."""
        return self._discovery.own_weight_loader(self.name, format)

    def weight_loader(self, format: str) -> WeightLoaderSpec | None:
        """A record of a format for this architecture, whichever plugin declares it, with its table of names."""
        asked = f"The format {format!r} of {self.name!r}"
        found: WeightLoaderSpec | None = self._discovery.find(("weights", self.name, format), asked)
        return found


class _Entries(Mapping[str, E]):
    """The records of one kind and architecture, by task or name; third parties come last."""

    def __init__(self, discovery: "Discovery", kind: type[E], word: str, architecture: str) -> None:
        self._discovery, self._word, self._architecture = discovery, word, architecture
        self._kind: type[E] = kind

    def __getitem__(self, name: str) -> E:
        asked = f"The {self._word} {name!r} of {self._architecture!r}"
        found: E | None = self._discovery.find((self._word, self._architecture, name), asked)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        seen = set()
        for record in self._discovery.in_order(self._kind):
            architecture, name = record.key
            if architecture == self._architecture and name not in seen:
                seen.add(name)
                yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<{self._word}s of {self._architecture!r}: {', '.join(self) or 'none'}>"
