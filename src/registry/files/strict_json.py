"""Read a JSON file that a stranger wrote.

Python's parser accepts what no configuration should hold (RFC 8259 §§4, 6, 8.1): duplicate keys, of which the last
wins; NaN and infinities; nesting and numbers without bound.  Here each of them is an error that names the place.
"""

import json
from collections.abc import Iterable
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn

from registry.errors import ConfigError, RegistryError

MEBIBYTE = 2**20


def read_json_object(
    path: Path, *, limit: int = 4 * MEBIBYTE, values: int | None = None, error: type[RegistryError] = ConfigError
) -> dict[str, Any]:
    """Read the JSON object in ``path``, of at most ``limit`` bytes and ``values``; anything else raises ``error``.

    A byte order mark is tolerated.
    """
    return parse_json_object(_read(path, limit, values, error), origin=str(path), error=error)


def most_values(data: bytes) -> int:
    """How many values a JSON text can hold at most, told by its signs; each may take 200 bytes when it is parsed."""
    return 1 + sum(map(data.count, (b",", b"[", b"{")))


def read_json_array(
    path: Path, *, limit: int = 4 * MEBIBYTE, values: int | None = None, error: type[RegistryError] = ConfigError
) -> list[Any]:
    """Read the JSON array in ``path``, as ``read_json_object`` does an object."""
    found = _parse(_read(path, limit, values, error), str(path), error)
    if not isinstance(found, list):
        raise error(f"{path} holds a JSON {_kind(found)} where an array [...] is needed.")
    return found


def _read(path: Path, limit: int, values: int | None, error: type[RegistryError]) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as problem:
        raise error(f"{path} could not be read: {problem.strerror}.") from problem
    if len(data) > limit:
        raise error(f"{path} holds more than {limit:,} bytes, which is more than any file of its kind needs.")
    if values is not None and most_values(data) > values:
        raise error(f"{path} holds more than {values:,} values, which is more than any file of its kind needs.")
    return data


def parse_json_object(data: bytes, *, origin: str, error: type[RegistryError] = ConfigError) -> dict[str, Any]:
    """Parse UTF-8 JSON text whose outermost value must be an object; ``origin`` names it in errors."""
    found = _parse(data, origin, error)
    if not isinstance(found, dict):
        raise error(f"{origin} holds a JSON {_kind(found)} where an object {{...}} is needed.")
    return found


def _parse(data: bytes, origin: str, error: type[RegistryError]) -> Any:
    try:
        return json.loads(
            data.decode("utf-8-sig"), object_pairs_hook=_distinct, parse_constant=_refuse, parse_float=_finite
        )
    except json.JSONDecodeError as problem:
        raise error(
            f"{origin} is not JSON: {problem.msg} at line {problem.lineno}, column {problem.colno}{_looks_like(data)}."
        ) from problem
    except UnicodeDecodeError as problem:
        raise error(f"{origin} is not UTF-8 text: byte {problem.start} is 0x{data[problem.start]:02x}.") from problem
    except RecursionError as problem:
        raise error(f"{origin} is nested too deeply to be a configuration.") from problem
    except ValueError as problem:  # raised by the three functions below, and by int() for numbers of 4,300 digits
        raise error(f"{origin} is not acceptable: {problem}") from problem


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {_first_repeated(keys)!r} occurs twice.")
    return found


def _first_repeated(items: Iterable[str]) -> str:
    seen: set[str] = set()
    return next(item for item in items if item in seen or seen.add(item))  # type: ignore[func-returns-value]


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number in JSON.")


def _finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise ValueError(f"{digits} is larger than any floating-point number.")
    return number


def _kind(value: object) -> str:
    return {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}.get(
        type(value), "number"
    )


def _looks_like(data: bytes) -> str:
    """Name the usual impostors: an error page, and the pointer of git-lfs."""
    start = data.lstrip()[:64].lower()
    if start.startswith((b"<!doctype", b"<html")):
        return " (it looks like an HTML page)"
    if start.startswith(b"version https://git-lfs"):
        return " (it is a git-lfs pointer: run `git lfs pull`)"
    return ""
