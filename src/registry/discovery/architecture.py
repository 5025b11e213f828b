"""What plugins declare of one architecture, as one value."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeVar

from attrs import frozen

from registry.records import ConfigSpec, LayerSpec, ModelSpec, TokenizerSpec, WeightLoaderSpec

E = TypeVar("E", ModelSpec, LayerSpec)


class Records(Protocol):
    """Finds records, in the order of lookup; third parties are imported when first-party plugins have none."""

    def find(self, key: tuple[str, ...], asked: str) -> Any:
        """The record of this key, or None; raises PluginConflictError."""

    def in_order(self, kind: type[E]) -> Iterator[E]:
        """The records of a kind, those of third parties last and only when they are reached."""

    def weight_loaders(self, architecture: str | None) -> tuple[WeightLoaderSpec, ...]:
        """The formats of an architecture, or of any."""


@frozen
class Architecture:
    """What the installed plugins declare of one architecture; nothing at all where its name is unknown.

    An entry is looked up when it is used.  So third parties are imported only for what no first-party plugin declares,
    and two of them that declare the same entry are an error (PluginConflictError) of those who use that entry.
    """

    name: str
    """The architecture's name: ``gpt2``."""
    _records: Records

    @property
    def config(self) -> ConfigSpec | None:
        """The configuration class, and how a checkpoint of this architecture is recognized."""
        found: ConfigSpec | None = self._records.find(
            (ConfigSpec.__name__, self.name), f"The architecture {self.name!r}"
        )
        return found

    @property
    def tokenizer(self) -> TokenizerSpec | None:
        """The tokenizer class, and the files which it reads."""
        found: TokenizerSpec | None = self._records.find(
            (TokenizerSpec.__name__, self.name), f"The tokenizer of {self.name!r}"
        )
        return found

    @property
    def models(self) -> Mapping[str, ModelSpec]:
        """The model classes, by task."""
        return _Entries(self._records, ModelSpec, self.name, "The task {!r} of {!r}")

    def model_named(self, cls: str) -> ModelSpec | None:
        """The record of the model class of this name, such as ``architectures`` in a ``config.json`` gives."""
        found: ModelSpec | None = self._records.find(
            ("class of", self.name, cls), f"The class {cls!r} of {self.name!r}"
        )
        return found

    @property
    def layers(self) -> Mapping[str, LayerSpec]:
        """The layers for others to build with, by name."""
        return _Entries(self._records, LayerSpec, self.name, "The layer {!r} of {!r}")

    @property
    def weight_loaders(self) -> tuple[WeightLoaderSpec, ...]:
        """The formats that plugins read: of this architecture, and of any."""
        return self._records.weight_loaders(self.name)

    def weight_loader(self, format: str) -> WeightLoaderSpec | None:
        """The architecture's own record of a format, with its table of names."""
        found: WeightLoaderSpec | None = self._records.find(
            (WeightLoaderSpec.__name__, self.name, format), f"The format {format!r} of {self.name!r}"
        )
        return found


class _Entries(Mapping[str, E]):
    """The records of one kind and architecture, by the last part of their key."""

    def __init__(self, records: Records, kind: type[E], architecture: str, asked: str) -> None:
        self._records, self._architecture, self._asked = records, architecture, asked
        self._kind: type[E] = kind

    def __getitem__(self, name: str) -> E:
        asked = self._asked.format(name, self._architecture)
        found: E | None = self._records.find((self._kind.__name__, self._architecture, name), asked)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        seen = set()
        for record in self._records.in_order(self._kind):
            architecture, name = record.key
            if architecture == self._architecture and name not in seen:
                seen.add(name)
                yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"{self._kind.__name__}s of {self._architecture}: {', '.join(self)}"
