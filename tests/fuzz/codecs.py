"""Formats as trees, so that a field can be changed and everything around it stays right: lengths, checksums, headers.

A tree is a list of trees, or a leaf: a number, a text, bytes, a truth value, None, or ``Raw`` text of JSON.  An object
of JSON is an ``Object``, a list of ``[key, value]``.  Bytes of a leaf may be in a format of their own.
"""

import ast
import gzip
import io
import json
import pickletools
import struct
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import google_crc32c

from registry.files.protobuf import fields
from registry.files.signatures import TABLE_END
from registry.weights.tensorflow.table import masked, read_table


class Object(list[Any]):
    """An object of JSON: pairs of key and value, in which a key may occur twice."""


class Raw(str):
    """Text that is written into JSON as it is."""


class Codec(NamedTuple):
    """A format."""

    matches: Callable[[bytes], bool]
    """Whether bytes are of this format."""
    read: Callable[[bytes], Any]
    """The tree; raises anything for bytes of another format."""
    write: Callable[[Any], bytes]
    """The bytes of a tree; raises anything for what the format cannot hold."""


# --- JSON and text ----------------------------------------------------------------------------------------------------


def _read_json(data: bytes) -> Any:
    return json.loads(data, object_pairs_hook=lambda pairs: Object([key, value] for key, value in pairs))


def _is_json(data: bytes) -> bool:
    try:
        return data.lstrip()[:1] in (b"{", b"[") and _read_json(data) is not None
    except (ValueError, RecursionError):
        return False


def to_json(tree: Any) -> str:
    """The text of a tree."""
    if isinstance(tree, Object):
        pairs = [pair if isinstance(pair, list) and len(pair) == 2 else ["", pair] for pair in tree]
        return "{" + ", ".join(f"{_key(key)}: {to_json(value)}" for key, value in pairs) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(to_json, tree)) + "]"
    if isinstance(tree, Raw):
        return str(tree)
    if isinstance(tree, bytes):
        return json.dumps(tree.decode("latin-1"))
    return json.dumps(tree)


def _key(key: Any) -> str:
    return json.dumps(key) if type(key) is str else json.dumps(to_json(key))


def _write_json(tree: Any) -> bytes:
    return to_json(tree).encode("utf-8", "surrogatepass")


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


def _as_bytes(leaf: Any) -> bytes:
    return leaf if isinstance(leaf, bytes) else str(leaf).encode("utf-8", "surrogatepass")


def _write_lines(tree: Any) -> bytes:
    return b"\n".join(map(_as_bytes, tree))


# --- Weights ----------------------------------------------------------------------------------------------------------


def _is_safetensors(data: bytes) -> bool:
    return data[8:9] == b"{" and 0 < int.from_bytes(data[:8], "little") <= len(data) - 8


def _read_safetensors(data: bytes) -> Any:
    length = int.from_bytes(data[:8], "little")
    return [_read_json(data[8 : 8 + length]), data[8 + length :]]


def _write_safetensors(tree: Any) -> bytes:
    header, data = tree
    text = _write_json(header)
    return len(text).to_bytes(8, "little") + text + _as_bytes(data)


def _read_npy(data: bytes) -> Any:
    length = int.from_bytes(data[8:10], "little")
    header = ast.literal_eval(data[10 : 10 + length].decode())
    return [[data[6], data[7]], [[key, repr(value)] for key, value in header.items()], data[10 + length :]]


def _write_npy(tree: Any) -> bytes:
    version, header, data = tree
    text = "{" + ", ".join(f"{key!r}: {value}" for key, value in header) + ", }"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H", len(text)) + text.encode() + _as_bytes(data)


def _read_message(data: bytes) -> Any:
    found = [[number, value] for number, value in fields(data)]
    if not found:
        raise ValueError("no message")
    return found


def varint(number: int) -> bytes:
    """A number of variable length."""
    number &= 2**64 - 1
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])


def _write_message(tree: Any) -> bytes:
    parts = []
    for number, value in tree:
        if isinstance(value, int):
            parts.append(varint(number << 3) + varint(value))
        elif isinstance(value, float):
            parts.append(varint(number << 3 | 5) + struct.pack("<f", value))
        else:
            data = _as_bytes(value)
            parts.append(varint(number << 3 | 2) + varint(len(data)) + data)
    return b"".join(parts)


def _is_message(data: bytes) -> bool:
    try:
        return 0 < len(data) < 2**16 and all(0 < number < 64 for number, _ in _read_message(data))
    except ValueError:
        return False


def _read_table(data: bytes) -> Any:
    return [[key, _read_entry(value)] for key, value in read_table(data, "a seed").items()]


ENTRY_NUMBERS = (6,)
"""Fields of an entry whose value takes four bytes on the wire."""


def _read_entry(value: bytes) -> Any:
    return [
        [number, int.from_bytes(found, "little") if number in ENTRY_NUMBERS and isinstance(found, bytes) else found]
        for number, found in fields(value)
    ]


def _write_entry(entry: Any) -> bytes:
    parts = []
    for number, value in entry:
        if number in ENTRY_NUMBERS and isinstance(value, int):
            parts.append(varint(number << 3 | 5) + (value & 0xFFFFFFFF).to_bytes(4, "little"))
        else:
            parts.append(_write_message([[number, value]]))
    return b"".join(parts)


def _block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """A block without shared prefixes, and its trailer."""
    parts = [varint(0) + varint(len(key)) + varint(len(value)) + key + value for key, value in entries]
    content = b"".join(parts) + bytes(4) + (1).to_bytes(4, "little") + b"\0"
    return content + masked(google_crc32c.value(content)).to_bytes(4, "little")


def _write_table(tree: Any) -> bytes:
    entries = [(_as_bytes(key), _write_entry(entry)) for key, entry in tree]
    blocks, handles = b"", []
    for start in range(0, len(entries), 8):
        part = entries[start : start + 8]
        block = _block(part)
        handles.append((part[-1][0], varint(len(blocks)) + varint(len(block) - 5)))
        blocks += block
    meta, index = _block([]), _block(handles)
    ends = varint(len(blocks)) + varint(len(meta) - 5) + varint(len(blocks) + len(meta)) + varint(len(index) - 5)
    return blocks + meta + index + ends.ljust(40, b"\0") + TABLE_END


# --- Pickles ----------------------------------------------------------------------------------------------------------


def _read_pickles(data: bytes) -> Any:
    """The instructions of all pickles in a row, and what follows them."""
    tree: list[Any] = []
    start = 0
    while data[start : start + 1] in (b"\x80", b"(", b"}", b"c"):
        try:
            offsets = [offset for _, _, offset in pickletools.genops(data[start:])]
        except Exception:
            break
        end = start + offsets[-1] + 1
        bounds = [*(start + offset for offset in offsets), end]
        tree.append([data[a:b] for a, b in zip(bounds, bounds[1:], strict=False)])
        start = end
    if not tree:
        raise ValueError("no pickle")
    return [*tree, data[start:]]


def _write_pickles(tree: Any) -> bytes:
    return b"".join(b"".join(map(_as_bytes, part)) if isinstance(part, list) else _as_bytes(part) for part in tree)


def _is_pickle(data: bytes) -> bool:
    return data[:1] == b"\x80" or (data[:2] in (b"(d", b"}q", b"cc", b"(l") and data.endswith(b"."))


# --- Archives ---------------------------------------------------------------------------------------------------------


def _read_zip(data: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [
            [each.filename, each.compress_type, each.external_attr, archive.read(each)] for each in archive.infolist()
        ]


def _write_zip(tree: Any) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, method, attributes, data in tree:
            member = zipfile.ZipInfo(name)
            member.compress_type, member.external_attr = method, attributes & 0xFFFFFFFF
            archive.writestr(member, _as_bytes(data))
    return written.getvalue()


def _is_tar(data: bytes) -> bool:
    return data[257:262] == b"ustar"


def _read_tar(data: bytes) -> Any:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [
            [each.name, each.type, each.mode, each.linkname, archive.extractfile(each).read() if each.isfile() else b""]  # type: ignore[union-attr]
            for each in archive
        ]


def _write_tar(tree: Any) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, kind, mode, link, data in tree:
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.linkname, member.size = kind[:1], mode & 0o7777, link, len(data)
            archive.addfile(member, io.BytesIO(_as_bytes(data)))
    return written.getvalue()


CODECS = (
    Codec(lambda data: data[:2] == b"PK", _read_zip, _write_zip),
    Codec(
        lambda data: data[:2] == b"\x1f\x8b",
        lambda data: [gzip.decompress(data)],
        lambda tree: gzip.compress(_as_bytes(tree[0]), 1, mtime=0),
    ),
    Codec(_is_tar, _read_tar, _write_tar),
    Codec(_is_safetensors, _read_safetensors, _write_safetensors),
    Codec(lambda data: data[:6] == b"\x93NUMPY", _read_npy, _write_npy),
    Codec(lambda data: data.endswith(TABLE_END), _read_table, _write_table),
    Codec(_is_pickle, _read_pickles, _write_pickles),
    Codec(_is_json, _read_json, _write_json),
    Codec(_is_text, lambda data: data.decode().split("\n"), _write_lines),
    Codec(_is_message, _read_message, _write_message),
)
"""The formats, in the order in which bytes are recognized."""
