"""How an architecture is divided over processes: tables of names, as a plugin declares them in its ``parallel.py``.

A plan is a value and needs no torch.  Names are full names, those of ``Layout``; in a pattern, ``*``
stands for any characters but dots.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import Attribute, field, frozen

from registry.errors import ParallelError, did_you_mean

if TYPE_CHECKING:
    from registry.weights.names import Layout

WORDS: Mapping[str, str] = MappingProxyType(
    {
        "colwise": "each process makes some of the output features; `colwise:3` of each of three sets side by side",
        "rowwise": "each process takes some of the input features, and the products are added up",
        "vocabulary": "each process has some rows of an embedding",
        "scores": "as colwise, and all processes get all output features: scores of tokens",
        "heads": "each process has some rows of the module's own parameters, one row for each head",
    }
)
"""What a rule may say of a module."""


class PlanRule(NamedTuple):
    """What a plan says of modules."""

    pattern: str
    word: str
    parts: int = 1
    """Sets of output features that a layer makes side by side, each of which is divided for itself."""

    def fits(self, name: str) -> bool:
        """Whether a module of this full name is meant."""
        return fits(self.pattern, name)

    def __str__(self) -> str:
        return f"{self.pattern!r}: {self.word}{f':{self.parts}' if self.parts > 1 else ''}"


def fits(pattern: str, name: str) -> bool:
    """Whether a pattern fits a name; ``*`` stands for any characters but dots."""
    return _expression(pattern).fullmatch(name) is not None


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", "[^.]*"))


def _rule(pattern: str, word: object) -> PlanRule:
    """Read one row of a plan.  Raises ValueError."""
    name, _, parts = word.partition(":") if isinstance(word, str) else ("", "", "")
    if name not in WORDS:
        raise ValueError(
            f"ParallelPlan: {pattern!r} is to be {word!r}, which is not one of {', '.join(WORDS)}."
            + (did_you_mean(word, WORDS) if isinstance(word, str) else "")
        )
    if parts and (name != "colwise" or not re.fullmatch("[2-9]", parts)):
        raise ValueError(f"ParallelPlan: {pattern!r} is to be {word!r}; a number of sets, 2 to 9, has only colwise.")
    return PlanRule(pattern, name, int(parts or 1))


def _names(value: Iterable[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        raise ValueError(f"ParallelPlan needs a tuple of names, not {value!r}: write ({value!r},), with the comma.")
    return tuple(value)


def _rules(table: Mapping[str, str]) -> tuple[PlanRule, ...]:
    return tuple(_rule(pattern, word) for pattern, word in table.items())


def _are_names(_plan: object, attribute: "Attribute[Any]", names: tuple[str, ...]) -> None:
    if not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"ParallelPlan.{attribute.name} must be names, none of them empty, not {names!r}.")


@frozen(kw_only=True, eq=False, repr=False)
class ParallelPlan:
    """How the models of an architecture are divided over processes.

    One plan serves all tasks.  Modules without a rule are replicated in a tensor parallel group::

        PLAN = ParallelPlan(
            blocks=("transformer.h.*",),
            tensor={
                "transformer.wte": "vocabulary",
                "transformer.h.*.attn.c_attn": "colwise:3",
                "transformer.h.*.attn.c_proj": "rowwise",
                "lm_head": "scores",
            },
            divisible=("n_head",),
        )

    Raises:
        ValueError: A word is none of ``WORDS``, or a text stands where a tuple of names is meant.
    """

    blocks: tuple[str, ...] = field(converter=_names, validator=_are_names)
    """Modules whose parameters are gathered together, and released together, where parameters are sharded (FSDP)."""
    rules: tuple[PlanRule, ...] = field(alias="tensor", converter=_rules, default=MappingProxyType({}))
    """What tensor parallelism does with modules."""
    divisible: tuple[str, ...] = field(default=(), converter=_names, validator=_are_names)
    """Fields or properties of the configuration that the number of processes must divide: heads."""

    def rules_for(self, names: Collection[str], layout: "Layout") -> dict[str, PlanRule]:
        """The rule of each module that one names.

        Args:
            names: Full names of all modules of a model.
            layout: How the architecture's weights are named: its parts may be absent.

        Raises:
            ParallelError: A rule names no module, or two rules one module.
        """
        found: dict[str, PlanRule] = {}
        for rule in self.rules:
            fitting = [name for name in names if rule.fits(name)]
            if not fitting and not _may_be_absent(rule.pattern, layout):
                raise ParallelError(
                    f"The parallel plan has a rule for {rule.pattern!r}, and the model has no such module.",
                    hint="Names are full names, with the prefix of the backbone; `*` stands for characters but dots.",
                )
            for name in fitting:
                if name in found:
                    raise ParallelError(
                        f"The parallel plan has two rules for the module {name!r}: {found[name]} and {rule}."
                    )
                found[name] = rule
        return found

    def blocks_in(self, names: Collection[str], layout: "Layout") -> list[str]:
        """Full names of the modules that are blocks.

        Args:
            names: Full names of all modules of a model.
            layout: How the architecture's weights are named: its parts may be absent.

        Raises:
            ParallelError: A pattern names no module.
        """
        found = {pattern: [name for name in names if fits(pattern, name)] for pattern in self.blocks}
        for pattern, blocks in found.items():
            if not blocks and not _may_be_absent(pattern, layout):
                raise ParallelError(f"The parallel plan has the blocks {pattern!r}, and the model has no such module.")
        return [name for blocks in found.values() for name in blocks]

    def check_divisible(self, config: Any, processes: int) -> None:
        """Raise ParallelError where so many processes cannot share heads evenly."""
        for name in self.divisible:
            number = getattr(config, name)
            if number % processes:
                raise ParallelError(
                    f"{name} is {number}, which {processes} processes cannot share evenly.",
                    hint=f"Choose a number of tensor parallel processes that divides {number}.",
                )


def _may_be_absent(pattern: str, layout: "Layout") -> bool:
    """Whether a pattern names modules of a part that a class may lack."""
    return any(f"{pattern}.".startswith(part) for part in layout.parts)


def plan_of_fused_blocks(*, embedding: str) -> ParallelPlan:
    """The plan of causal models whose attention makes queries, keys and values in one product, ``c_attn``.

    Blocks are ``transformer.h.*``, with the layers ``attn.c_attn``, ``attn.c_proj``, ``mlp.c_fc`` and ``mlp.c_proj``;
    ``lm_head`` scores tokens, and the configuration has ``n_head``.

    Args:
        embedding: The full name of the embedding of tokens.
    """
    return ParallelPlan(
        blocks=("transformer.h.*",),
        tensor={
            embedding: "vocabulary",
            "transformer.h.*.attn.c_attn": "colwise:3",
            "transformer.h.*.attn.c_proj": "rowwise",
            "transformer.h.*.mlp.c_fc": "colwise",
            "transformer.h.*.mlp.c_proj": "rowwise",
            "lm_head": "scores",
        },
        divisible=("n_head",),
    )
