"""Rotary positions in a configuration: the base of their angles, and how these are scaled for longer texts."""

from collections.abc import Mapping
from math import isfinite
from types import MappingProxyType
from typing import Any

import attrs
from attrs import field

from registry.errors import ConfigError

SCALINGS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "default": ((), ()),
    "linear": (("factor",), ()),
    "dynamic": (("factor",), ()),
    "llama3": (("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"), ()),
    "yarn": (("factor",), ("attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate")),
}
"""Kinds of scaling: the numbers that each needs, and those that it may have."""

SHARED_KEYS = ("type", "rope_type", "rope_theta", "partial_rotary_factor", "original_max_position_embeddings")
"""Keys that a scaling of every kind may have."""


def rope_scaling() -> Any:
    """The field ``rope_scaling``: an object with a ``rope_type`` of ``SCALINGS`` and its numbers, or null for none.

    ``registry.nn.rotary.rotary_angles`` computes with it.  A kind or a number that changes angles and is not understood
    is refused.
    """
    return field(default=None, converter=_frozen, validator=_check, hash=False)


def scaling_kind(scaling: Mapping[str, Any] | None) -> str:
    """The kind of a scaling, of ``SCALINGS``."""
    found = scaling or {}
    return str(found.get("rope_type", found.get("type", "default")))


def with_older_keys(keys: Mapping[str, Any], *, partial: bool = False) -> dict[str, Any]:
    """The keys of a file, with ``rope_theta`` and ``rope_scaling`` in place of the ``rope_parameters`` of newer ones.

    Args:
        keys: Those of the file.
        partial: Whether the configuration has a field ``partial_rotary_factor``, which becomes a key of its own, too.
    """
    together = keys.get("rope_parameters")
    if not isinstance(together, Mapping):
        return dict(keys)
    apart = ("rope_theta", "partial_rotary_factor") if partial else ("rope_theta",)
    scaling = {key: value for key, value in together.items() if key not in apart}
    return {
        **{key: value for key, value in keys.items() if key != "rope_parameters"},
        **{key: together[key] for key in apart if key in together},
        "rope_scaling": None if scaling in ({}, {"rope_type": "default"}) else scaling,
    }


def _frozen(value: Any) -> Any:
    return MappingProxyType(dict(value)) if isinstance(value, Mapping) else value


def _check(config: Any, attribute: "attrs.Attribute[Any]", scaling: Any) -> None:
    if scaling is None:
        return
    name = attribute.name
    if not isinstance(scaling, Mapping):
        raise ConfigError(f"{name} must be an object with a rope_type, or null, not {scaling!r}.")
    kind = scaling_kind(scaling)
    if kind not in SCALINGS:
        raise ConfigError(f"{name} is of the kind {kind!r}; understood are {', '.join(SCALINGS)}.")
    needed, optional = SCALINGS[kind]
    for key in (*needed, *(key for key in optional if key != "truncate" and scaling.get(key) is not None)):
        number: Any = scaling.get(key)
        if type(number) not in (int, float) or not isfinite(number) or number <= 0:
            raise ConfigError(f"{name} of the kind {kind!r} needs a number above 0 as {key}, not {number!r}.")
    if type(scaling.get("truncate", True)) is not bool:
        raise ConfigError(f"{name}.truncate must be true or false, not {scaling['truncate']!r}.")
    if kind == "llama3" and scaling["high_freq_factor"] <= scaling["low_freq_factor"]:
        raise ConfigError(f"{name}.high_freq_factor must be above low_freq_factor.")
    unknown = sorted(scaling.keys() - {*needed, *optional, *SHARED_KEYS})
    if scaling.get("partial_rotary_factor", 1.0) != getattr(config, "partial_rotary_factor", 1.0):
        unknown.append("partial_rotary_factor")
    if unknown:
        raise ConfigError(f"{name} of the kind {kind!r} has {', '.join(unknown)}, which is not understood.")
