"""Read JSON files that a third party wrote.

Python's parser accepts what no configuration should hold (RFC 8259, sections 4, 6 and 8.1): duplicate keys, of which
the last wins; NaN and infinities; nesting and numbers without bound.  Here each of them is an error that names it.
"""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn

from registry.errors import ConfigError, RegistryError
from registry.files.signatures import JSON, START, recognize

MEBIBYTE = 2**20
LARGEST_INDEX = 16 * MEBIBYTE
"""Bytes of an index of weights."""
INDEX_VALUES = 400_000
"""Values in it; it has one for each tensor."""
WHITE_SPACE = re.compile(r"[ \t\n\r]*+")


def read_json_object(
    path: Path, *, limit: int = 4 * MEBIBYTE, values: int | None = None, error: type[RegistryError] = ConfigError
) -> dict[str, Any]:
    """The JSON object in a file; a byte order mark is tolerated.

    Args:
        path: The file, in UTF-8.
        limit: Bytes that the file may hold.
        values: Values that it may hold, as ``most_values`` counts them; None for any number.
        error: The class of errors.

    Raises:
        error: The file cannot be read, is larger than allowed, or does not hold an object that all readers agree on.
    """
    return parse_json_object(_read(path, limit, values, error), origin=str(path), error=error)


def read_json_array(
    path: Path, *, limit: int = 4 * MEBIBYTE, values: int | None = None, error: type[RegistryError] = ConfigError
) -> list[Any]:
    """The JSON array in a file; arguments and errors are those of ``read_json_object``."""
    found = _parse(_read(path, limit, values, error), str(path), error, error)
    if not isinstance(found, list):
        raise error(f"{path} holds a JSON {_kind(found)} where an array [...] is needed.")
    return found


def read_json_member(
    path: Path, name: str, *, limit: int, values: int | None = None, error: type[RegistryError] = ConfigError
) -> Any:
    """A member of the JSON object in a file, which is parsed as far as that; None for an object without it.

    Args:
        path: The file, in UTF-8.
        name: The key of the member.
        limit: Bytes that the file may hold.
        values: Values that it may hold; None for any number.
        error: The class of errors.

    Raises:
        error: The file cannot be read, is larger than allowed, or is not a JSON object up to the member.
    """
    data = _read(path, limit, values, error)
    with _errors(data, str(path), error, error):
        text = data.decode("utf-8-sig")
        decoder = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_refuse, parse_float=_finite)
        end = _after(text, "{", 0)
        while not text.startswith("}", end):
            key, end = decoder.raw_decode(text, end)
            value, end = decoder.raw_decode(text, _after(text, ":", _next(text, end)))
            if key == name:
                return value
            end = _next(text, end)
            end = end if text.startswith("}", end) else _after(text, ",", end)
    return None


def _next(text: str, start: int) -> int:
    """The offset of what follows white space."""
    return WHITE_SPACE.match(text, start).end()  # type: ignore[union-attr]  # matches everywhere


def _after(text: str, sign: str, start: int) -> int:
    """The offset of what follows a sign and the white space around it.  Raises JSONDecodeError if it is not there."""
    start = _next(text, start)
    if not text.startswith(sign, start):
        raise json.JSONDecodeError(f"Expecting '{sign}'", text, start)
    return _next(text, start + 1)


def parse_json_object(
    data: bytes,
    *,
    origin: str,
    error: type[RegistryError] = ConfigError,
    duplicate_error: type[RegistryError] | None = None,
) -> dict[str, Any]:
    """The JSON object in UTF-8 text.

    Args:
        data: The text.
        origin: Its name in errors, such as the path of the file.
        error: The class of errors.
        duplicate_error: The class of the error for a key that occurs twice; ``error`` if None.

    Raises:
        error: The text is not JSON, or its outermost value is not an object.
        duplicate_error: A key occurs twice in one object.
    """
    found = _parse(data, origin, error, duplicate_error or error)
    if not isinstance(found, dict):
        raise error(f"{origin} holds a JSON {_kind(found)} where an object {{...}} is needed.")
    return found


def most_values(data: bytes) -> int:
    """An upper bound of the number of values in a JSON text, without parsing it; a parsed value may take 200 bytes."""
    return 1 + sum(map(data.count, (b",", b"[", b"{")))


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


def _parse(data: bytes, origin: str, error: type[RegistryError], duplicate_error: type[RegistryError]) -> Any:
    with _errors(data, origin, error, duplicate_error):
        return json.loads(
            data.decode("utf-8-sig"), object_pairs_hook=_distinct, parse_constant=_refuse, parse_float=_finite
        )


@contextmanager
def _errors(
    data: bytes, origin: str, error: type[RegistryError], duplicate_error: type[RegistryError]
) -> Iterator[None]:
    """Errors of the parser are errors that name the file."""
    try:
        yield
    except json.JSONDecodeError as problem:
        where = f"line {problem.lineno}, column {problem.colno}"
        raise error(f"{origin} is not JSON: {problem.msg} at {where}{_looks_like(data)}.") from problem
    except UnicodeDecodeError as problem:
        found = f"byte {problem.start} is 0x{data[problem.start]:02x}"
        raise error(f"{origin} is not UTF-8 text: {found}{_looks_like(data)}.") from problem
    except RecursionError as problem:
        raise error(f"{origin} is nested too deeply to be a configuration.") from problem
    except _DuplicateKey as problem:
        raise duplicate_error(f"{origin} is not acceptable: the key {problem} occurs twice.") from problem
    except ValueError as problem:  # raised by _refuse and _finite, and by int() for numbers of 4,300 digits
        raise error(f"{origin} is not acceptable: {problem}") from problem


class _DuplicateKey(ValueError):  # noqa: N818  # leaves this module under another name
    """A key occurs twice in one object."""


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _DuplicateKey(repr(_first_repeated(key for key, _ in pairs)))
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
    """What else the file may be, as the end of a sentence."""
    kind = None if data.lstrip().startswith(JSON) else recognize(data[:START])
    return "" if kind is None else f"; it looks like {kind}"
