"""Kinds of fields that a configuration has, each with a default and a check that says what is allowed."""

from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any, TypeAlias

import attrs
from attrs import field

from registry.errors import ConfigError, did_you_mean

ACTIVATIONS = (
    *("gelu", "gelu_10", "gelu_accurate", "gelu_fast", "gelu_new", "gelu_python", "gelu_python_tanh"),
    *("gelu_pytorch_tanh", "laplace", "leaky_relu", "linear", "mish", "quick_gelu", "relu", "relu2", "relu6"),
    *("sigmoid", "silu", "swish", "tanh"),
)
"""Activation functions that a configuration may name; several names are of one function."""

PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")
"""Kinds of problems of a head for texts, which decide its loss."""

_Validator: TypeAlias = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def _number_check(low: float, high: float, kind: type[int] | type[float], allowed: str) -> _Validator:
    def check(_config: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
        ok = isinstance(value, (int, kind)) and not isinstance(value, bool) and low <= value <= high
        if not ok or (isinstance(value, float) and not isfinite(value)):
            raise ConfigError(f"{attribute.name} must be {allowed}, not {value!r}.")

    return check


def size(default: int, *, most: int = 10_000_000) -> Any:
    """A count of features, tokens, heads or layers: a whole number from 1 to ``most``."""
    return field(default=default, validator=_number_check(1, most, int, f"a whole number from 1 to {most:,}"))


def optional_size(default: int | None = None, *, most: int = 10_000_000) -> Any:
    """A size that may be absent (null)."""
    check = _number_check(1, most, int, f"a whole number from 1 to {most:,}, or null")
    return field(default=default, validator=attrs.validators.optional(check))


def divisor(default: int, *, of: str, most: int = 10_000_000) -> Any:
    """A size that divides the field ``of``, as the heads of attention divide the width; that field comes before it."""
    check_size = _number_check(1, most, int, f"a whole number from 1 to {most:,}")

    def check(config: object, attribute: "attrs.Attribute[Any]", value: int) -> None:
        check_size(config, attribute, value)
        if getattr(config, of) % value:
            raise ConfigError(f"{attribute.name} ({value}) must divide {of} ({getattr(config, of)}).")

    return field(default=default, validator=check)


def count(default: int, *, most: int = 10_000_000) -> Any:
    """A count that may be zero: a whole number from 0 to ``most``."""
    return field(default=default, validator=_number_check(0, most, int, f"a whole number from 0 to {most:,}"))


def rate(default: float) -> Any:
    """A probability: a number from 0 to 1."""
    return field(default=default, validator=_number_check(0, 1, float, "a number from 0 to 1"))


def optional_rate(default: float | None = None) -> Any:
    """A probability that may be absent (null)."""
    check = _number_check(0, 1, float, "a number from 0 to 1, or null")
    return field(default=default, validator=attrs.validators.optional(check))


def scale(default: float, *, most: float = 1e3) -> Any:
    """A magnitude such as a standard deviation or an epsilon: a number from 0 to ``most``."""
    return field(default=default, validator=_number_check(0, most, float, f"a number from 0 to {most:g}"))


def optional_token(default: int | None) -> Any:
    """The id of a token, below the field ``vocab_size``, which comes before it; null, or -1 in files, for none."""

    def check(config: Any, attribute: "attrs.Attribute[Any]", value: Any) -> None:
        _check_token(config, attribute, value)
        if value is not None and value >= config.vocab_size:
            raise ConfigError(f"{attribute.name} ({value}) must be below vocab_size ({config.vocab_size}).")

    return field(default=default, validator=check, converter=_token)


def any_token(default: int | None) -> Any:
    """The id of a token that nothing is looked up by, and that may lie beyond the vocabulary; null, or -1, for none."""
    return field(default=default, validator=_check_token, converter=_token)


def _check_token(_config: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value is not None and (type(value) is not int or not 0 <= value < 2**63):  # which a tensor of ids holds
        raise ConfigError(f"{attribute.name} must be a whole number from 0, below 2**63, or null, not {value!r}.")


def _token(value: object) -> object:
    """-1 as null."""
    return None if value == -1 else value


def choice(default: Any, options: Iterable[Any], *, optional: bool = False) -> Any:
    """One of ``options``; with a single option, a published key of which only that value is understood.

    Null is False where that is the default: a flag which nobody set; with ``optional``, it is any default, None too.
    """
    allowed = tuple(options)

    def check(_config: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
        if value is None and optional:
            return  # the default is None
        if not any(value == option and type(value) is type(option) for option in allowed):
            words = ", ".join(map(repr, allowed)) + ", or null" * (optional and default is None)
            raise ConfigError(
                f"{attribute.name} must be {'one of ' * (len(allowed) > 1)}{words}, not {value!r}."
                f"{did_you_mean(value, filter(_is_text, allowed)) if isinstance(value, str) else ''}"
            )

    def known(value: object) -> object:
        return default if value is None else value

    return field(default=default, validator=check, converter=known if optional or default is False else None)


def problem_type() -> Any:
    """The kind of problem that a head for texts solves; null for that which the labels show."""
    return choice(None, PROBLEM_TYPES, optional=True)


def _is_text(value: object) -> bool:
    return isinstance(value, str)
