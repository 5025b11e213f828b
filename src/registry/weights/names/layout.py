"""The layout of an architecture's weights: prefix, parts, ties, and the table of older and published names."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import Attribute, evolve, field, frozen

from registry.weights.names.table import NameTable, refuse_text

if TYPE_CHECKING:
    from torch import Tensor

    from registry.weights.names.gathering import PublishedTensor

WRAPPERS = (
    "module.", "_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_forward_module.", "_module.",
)  # fmt: skip
"""Parts of names that are added when a module is wrapped: by DataParallel, ``torch.compile``, FSDP and checkpointing of
torch, by Lightning and by opacus."""


def _ends_with_a_dot(_layout: object, attribute: "Attribute[str]", prefix: str) -> None:
    if prefix and not prefix.endswith("."):
        raise ValueError(f"Layout.{attribute.name} must end with a dot, unlike {prefix!r}.")


def _are_names(_layout: object, attribute: "Attribute[tuple[str, ...]]", names: tuple[str, ...]) -> None:
    refuse_text(f"Layout.{attribute.name}", names)
    if not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"Layout.{attribute.name} must be names, none of them empty, not {names!r}.")


def _are_parts(layout: "Layout", attribute: "Attribute[tuple[str, ...]]", parts: tuple[str, ...]) -> None:
    _are_names(layout, attribute, parts)
    for part in parts:
        if layout.prefix.startswith(part):
            raise ValueError(f"Layout.parts: {part!r} is the backbone, {layout.prefix!r}, which no file may lack.")


def _are_wrappers(layout: "Layout", attribute: "Attribute[tuple[str, ...]]", wrappers: tuple[str, ...]) -> None:
    _are_names(layout, attribute, wrappers)
    for wrapper in wrappers:
        _ends_with_a_dot(layout, attribute, wrapper)  # type: ignore[arg-type]


def _groups_are_apart(_layout: object, _attribute: object, groups: tuple[tuple[str, ...], ...]) -> None:
    refuse_text("Layout.ties", groups)
    for group in groups:
        if isinstance(group, str):
            raise ValueError(f"Layout.ties: {group!r} is a name, where a group of them is needed: (({group!r}, ...),).")
    names = [name for group in groups for name in group]
    if len(set(names)) < len(names) or any(len(group) < 2 for group in groups):
        raise ValueError(f"Layout.ties must be groups of two names or more, each name in one group, not {groups!r}.")


_NO_NAMES = NameTable()


@frozen(kw_only=True, repr=False)
class Layout:
    """The names of an architecture's weights.

    All names are full names, those of the model with all its heads: they begin with ``prefix``, unless a head owns
    them.
    """

    prefix: str = field(default="", validator=_ends_with_a_dot)
    """What precedes the names of the backbone in a model with a head: ``bert.``."""
    parts: tuple[str, ...] = field(default=(), validator=_are_parts)
    """Prefixes of the parts that a file may lack, each as a whole: ``bert.pooler.``, ``classifier.``."""
    ties: tuple[tuple[str, ...], ...] = field(default=(), validator=_groups_are_apart)
    """Tie groups: names that share one tensor.  A file may have any of them, and the model need not have all."""
    vocabulary: tuple[str, ...] = field(default=(), validator=_are_names)
    """Names of the tensors that have a row for each token: the embedding's first, then those of the heads.

    A buffer may be among them, and a tensor whose last axis has the tokens, such as the bias ``(1, tokens)`` of BART.
    """
    names: NameTable = _NO_NAMES
    """Older spellings, and the buffers of other libraries that are dropped."""
    wrappers: tuple[str, ...] = field(default=WRAPPERS, validator=_are_wrappers)
    """Parts of names that libraries add when they wrap a module; they are removed wherever they are."""

    def part_of(self, name: str) -> str | None:
        """The part to which a name belongs, the longest where one lies in another; None for the backbone."""
        if not name.startswith(self.parts):  # as nearly always, and one call for all parts
            return None
        return max((part for part in self.parts if name.startswith(part)), key=len)

    def in_full(self, names: Collection[str]) -> dict[str, str]:
        """Map the names of a model, with or without its heads, to full names."""
        if any(name.startswith(self.prefix) for name in names):
            return {name: name for name in names}
        heads = tuple(part for part in self.parts if not part.startswith(self.prefix))
        return {name: name if name.startswith(heads) else self.prefix + name for name in names}

    def unwrapped(self, names: Collection[str]) -> dict[str, str]:
        """Map names to the same names without wrappers, wherever they are."""
        if not self.wrappers:
            return {name: name for name in names}
        wrappers = re.compile(rf"(?<![^.])(?:{'|'.join(map(re.escape, self.wrappers))})")
        return {name: wrappers.sub("", name) for name in names}

    def without_wrappers_in(self, names: Iterable[str]) -> "Layout":
        """The same layout for a model with these names: where one has the name of a wrapper, it is none."""
        dotted = [f".{name}" for name in names]
        own = {wrapper for wrapper in self.wrappers if any(f".{wrapper}" in name for name in dotted)}
        return evolve(self, wrappers=tuple(w for w in self.wrappers if w not in own)) if own else self

    def configured(self, config: Any) -> "Layout":
        """The layout with the sizes that a configuration gives; the same where none depend on it."""
        names = self.names.configured(config)
        return self if names is self.names else evolve(self, names=names)

    def published(self, tensors: "Mapping[str, Tensor]") -> "dict[str, PublishedTensor]":
        """The tensors of a model, with or without its heads, as files have them: their names, shapes and number.

        Raises:
            WeightsMismatchError: The model has only some of the tensors that a row makes, or of other sizes.
        """
        from registry.weights.names.gathering import PublishedTensor  # loading has no use for it

        if not self.names.rules:
            return {name: PublishedTensor(tensor, (name,)) for name, tensor in tensors.items()}
        full = self.in_full(tensors)
        ours = {spelled: name for name, spelled in full.items()}
        found = self.names.published({full[name]: tensor for name, tensor in tensors.items()})
        return {
            self.as_in(tensors, name): PublishedTensor(made.tensor, tuple(ours[spelled] for spelled in made.ours))
            for name, made in found.items()
        }

    def as_in(self, model: Collection[str], prefix: str) -> str:
        """A prefix of full names, as a model with these names spells it: ``pooler.`` for ``bert.pooler.``."""
        bare = not any(name.startswith(self.prefix) for name in model)
        return prefix.removeprefix(self.prefix) if bare else prefix
