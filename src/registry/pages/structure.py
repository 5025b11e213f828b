"""The structure of a model: its modules with their numbers of parameters, computed without weights."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from attrs import evolve, field, frozen
from torch import nn

from registry import discovery
from registry.config import Config
from registry.config.load import load_config
from registry.discovery.plugin import describe_exception
from registry.errors import RegistryError, warn
from registry.loading.meta import build
from registry.records import Card


@frozen(kw_only=True)
class ModuleNode:
    """A module with parameters, or several equal ones in a row, in the tree of a model's modules."""

    name: str
    """The path from the parent: ``encoder.layer``."""
    class_name: str
    """The name of the module's class."""
    shapes: tuple[str, ...] = ()
    """Names and shapes of its own parameters: ``weight 30,522 × 768``."""
    own: int = 0
    """Size of its own parameters, without those tied to a parameter of an earlier module."""
    tied: bool = False
    """Whether one of its own parameters is a parameter of an earlier module."""
    times: int = 1
    """The number of equal modules that this node stands for."""
    children: "tuple[ModuleNode, ...]" = ()
    """Its modules with parameters."""

    @property
    def kind(self) -> str:
        """What the module is, by its class and name: ``embeddings``, ``blocks``, ``norm`` or ``head``."""
        words = f"{self.name} {self.class_name}".lower()
        if "embed" in words or self._is_all("Embedding"):
            return "embeddings"
        if self.times > 1 or any(child.times > 1 and child.children for child in self.children):
            return "blocks"
        return "norm" if "norm" in words else "head"

    def _is_all(self, class_name: str) -> bool:
        leaves = self.children or ()
        return self.class_name == class_name or (bool(leaves) and all(leaf._is_all(class_name) for leaf in leaves))

    @property
    def each(self) -> int:
        """Parameters of one of the equal modules."""
        return self.own + sum(child.parameters for child in self.children)

    @property
    def parameters(self) -> int:
        """Parameters of all the equal modules; a shared parameter counts once."""
        return self.times * self.each


@frozen(kw_only=True)
class Structure:
    """The modules of a model as a tree, and as a sequence of sections."""

    root: ModuleNode
    """The model."""
    config: Config
    """Its configuration."""
    exact: bool
    """Whether the number of parameters is the card's; if not, the sizes are the architecture's defaults."""
    sections: tuple[ModuleNode, ...] = field(init=False)
    """The largest modules side by side: the children of the model, or of its base model."""

    @sections.default
    def _sections(self) -> tuple[ModuleNode, ...]:
        return tuple(
            evolve(inner, name=f"{outer.name}.{inner.name}", times=outer.times * inner.times)
            if inner is not outer
            else outer
            for outer in self.root.children
            for inner in (outer.children if outer.children and not outer.own and outer.times == 1 else (outer,))
        )

    @property
    def known(self) -> list[ModuleNode]:
        """Sections with parameters, in their order."""
        return [section for section in self.sections if section.parameters]


def structure(card: Card) -> Structure | None:
    """The structure of a card's model.

    Sizes come from the card, else from its configuration if that is on this disk, else from the architecture's
    defaults.

    Returns:
        None where no class is declared, or where the model cannot be built, with a ``RegistryWarning``.
    """
    spec = discovery.architecture(card.architecture).models.get(card.task)
    if spec is None:
        return None
    try:
        cls = discovery.load_class(spec)
        config = _config(card)
        root = module_tree(build(lambda: cls(config)))
    except Exception as problem:  # noqa: BLE001  # a broken plugin costs its own drawing, not the complete site
        warn(f"{card.name} is not drawn: {describe_exception(problem)}.")
        return None
    return Structure(root=root, config=config, exact=root.parameters == card.num_parameters)


def module_tree(model: nn.Module) -> ModuleNode:
    """The modules of a model that have parameters; equal ones in a row are one node."""
    return _node("", model, set())


def _config(card: Card) -> Config:
    if not card.config:
        try:
            found: Config = load_config(card.name, offline=True)
            return found
        except RegistryError:  # not on this disk
            pass
    spec = discovery.architecture(card.architecture).config
    cls: Any = None if spec is None else discovery.load_class(spec)
    config: Config = cls(**card.config)
    return config


def _node(name: str, module: nn.Module, seen: set[int]) -> ModuleNode:
    """One module; ``seen`` has the ids of the parameters that were counted."""
    own, shapes, tied = 0, [], False
    for key, parameter in module.named_parameters(recurse=False):
        shapes.append(f"{key} {' × '.join(f'{size:,}' for size in parameter.shape)}")
        tied = tied or id(parameter) in seen
        own += 0 if id(parameter) in seen else parameter.numel()
        seen.add(id(parameter))
    children = [
        _node(child, inner, seen) for child, inner in module.named_children() if any(True for _ in inner.parameters())
    ]
    node = ModuleNode(
        name=name,
        class_name=type(module).__name__,
        shapes=tuple(shapes),
        own=own,
        tied=tied,
        children=tuple(_folded(children)),
    )
    return _without_wrapper(node, isinstance(module, nn.ModuleList))


def _folded(nodes: Sequence[ModuleNode]) -> Iterator[ModuleNode]:
    """The nodes, equal ones in a row as one."""
    for _, equal in groupby(nodes, key=lambda node: evolve(node, name="") if node.name.isdigit() else node):
        first, *others = equal
        yield evolve(first, times=1 + len(others)) if others else first


def _without_wrapper(node: ModuleNode, is_list: bool) -> ModuleNode:
    """A module that only holds one other becomes that one, named by both; a list becomes its item."""
    if node.own or node.shapes or len(node.children) != 1 or not node.name:
        return node
    (inner,) = node.children
    return evolve(inner, name=node.name if is_list else f"{node.name}.{inner.name}")
