"""Checks of the fields of records, and what all records have in common."""

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from attrs import Attribute, fields

from registry.files.urls import shown


class Declared:
    """A record: shown, compared, copied and pickled by its fields.

    One method for all classes: to make one for each, as attrs does, takes half of the time in which a class is made.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        texts = []
        for attribute in _fields(self):
            show = attribute.repr if callable(attribute.repr) else repr
            texts.append(f"{attribute.name}={show(getattr(self, attribute.name))}")
        return f"{type(self).__name__}({', '.join(texts)})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and _values(self) == _values(other)

    def __hash__(self) -> int:
        hashed = (getattr(self, field.name) for field in _fields(self) if field.hash is not False)
        return hash((type(self), *hashed))

    def __reduce__(self) -> tuple[Any, ...]:
        """A read-only mapping, which cannot be pickled, becomes a dict meanwhile."""
        plain = {name: dict(value) if isinstance(value, Mapping) else value for name, value in _values(self).items()}
        return _remade, (type(self), plain)


def _fields(record: Any) -> "tuple[Attribute[Any], ...]":
    found: tuple[Attribute[Any], ...] = fields(type(record))
    return found


def _values(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in _fields(record)}


def _remade(cls: type, values: Mapping[str, Any]) -> Any:
    return cls(**values)


# --- Checks -----------------------------------------------------------------------------------------------------------

Check: TypeAlias = Callable[[Any, "Attribute[Any]", Any], None]


def matching(pattern: str, meaning: str) -> Check:
    """A check that a complete string matches ``pattern``; ``meaning`` describes in messages what is allowed."""

    def check(record: object, attribute: "Attribute[Any]", value: object) -> None:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            found = shown(value) if isinstance(value, str) else repr(value)
            raise ValueError(f"{type(record).__name__}.{attribute.name} must be {meaning}, not {found}.")

    return check


def optional(check: Check) -> Check:
    """The same check, with None allowed."""

    def check_unless_none(record: object, attribute: "Attribute[Any]", value: object) -> None:
        if value is not None:
            check(record, attribute, value)

    return check_unless_none


def each(check: Check) -> Check:
    """The same check for every item of a tuple."""

    def check_items(record: object, attribute: "Attribute[Any]", value: Iterable[object]) -> None:
        for item in value:
            check(record, attribute, item)

    return check_items


def whole_number(record: object, attribute: "Attribute[Any]", value: object) -> None:
    """A check that a value is a number of something: whole, and not below 0."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{type(record).__name__}.{attribute.name} must be a whole number, not {value!r}.")


def strings(value: Iterable[str]) -> tuple[str, ...]:
    """A tuple of strings; a single string, which would be taken for a sequence of letters, is refused."""
    if isinstance(value, str):
        raise TypeError(f"A sequence of strings is needed, not the single string {shown(value)}.")
    return tuple(value)


def mapping(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """A mapping that cannot be changed."""
    return MappingProxyType(dict(value))


WORD = matching(r"[a-z0-9]+([_-][a-z0-9]+)*", "lower-case letters, digits, '-' and '_'")
"""A name of an architecture, a task, a format or a role."""

FILE_NAME = matching(r"(?!\.\.?$)[^/\\\x00-\x1f]{1,200}", "a plain file name without directories")
"""A name of a file."""
