"""Changes of inputs: fields of their formats, bytes, and files as such."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from random import Random
from typing import Any

from tests.fuzz.codecs import CODECS, Codec, Object, Raw
from tests.fuzz.inputs import Files

LARGEST = 2**20
"""Bytes of a file; a change that makes it larger is dropped."""
STRUCTURED = 0.7
"""Share of the changes that are of fields."""

MOST_NODES = 20_000
"""Of a tree that are added at a time."""

NUMBERS = (
    *(0, 1, -1, 2, 3, 7, 8, 16, 255, 256, 4095, 65535, 65536, 10**6, 10**9, 2**31 - 1, 2**31, 2**32 - 1, 2**32),
    *(2**53 + 1, 2**61 - 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30, -(2**31), -(2**63), 0.0, -0.5, 1.5, 1e308),
)
TEXTS = (
    *(
        "",
        " ",
        "\n",
        "\0",
        "a",
        "..",
        "../x",
        "/etc/passwd",
        "C:\\x",
        "\\",
        "a/b",
        ".",
        "~",
        "%2e%2e%2f",
        "\ud800",
        "é",
    ),
    *("\u0130", "ﬁ", "İ", "\U0001f600", "\u200b", "\x1b]0;x\x07", "{}", "[]", "null", "true", "-1", "1e999", "NaN"),
    *("__class__", "__reduce__", "os.system", "builtins.eval", "[UNK]", "[MASK]", "<unk>", "</s>", "<|endoftext|>"),
    *("float32", "F32", "BOOL", "Sequence", "BPE", "WordPiece", "Unigram", "WordLevel", "model.safetensors"),
    *("bert", "gpt2", "http://127.0.0.1:1/", "hub:a/b", "file:///etc/passwd", "https://[::1", "a" * 300, "a" * 70_000),
    *("gzip", "bytes 0-1/2", "chunked", "{{ 7 }}", "{% for x in range(99999) %}{% endfor %}", "sha256=" + "0" * 64),
)
RAWS = ("NaN", "Infinity", "1e999", "-0", "9" * 5000, "[" * 50_000, '{"a":' * 20_000, '"\\ud800"', "1E400", "01", "")
BYTES = (
    *(
        b"",
        b"\0",
        b"\xff",
        b"\x80",
        b"\xff" * 8,
        b"\x80" * 10,
        b"\xef\xbb\xbf",
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"\x1f\x8b",
    ),
    *(
        b"cos\nsystem\n(S'true'\ntR.",
        b"cbuiltins\neval\n",
        b"ccollections\nOrderedDict\n)R",
        b"R",
        b"b",
        b"0",
        b"2",
        b"Q",
    ),
    *(b"(", b")", b"t", b"\x85", b"\x86", b"\x87", b"]", b"}", b"s", b"u", b"a", b"e", b".", b"N", b"\x88", b"\x93"),
    *(
        b"r\xff\xff\xff\x7f",
        b"j\xff\xff\xff\x7f",
        b"q\0",
        b"h\0",
        b"K\x01",
        b"J\xff\xff\xff\xff",
        b"G\x7f\xf8" + bytes(6),
    ),
    *(
        b"\x8a\x09" + b"\xff" * 9,
        b"\x8b\xff\xff\xff\x7f",
        b"X\xff\xff\xff\x7f",
        b"U\x01a",
        b"c__builtin__\nset\n",
        b"\x81",
    ),
    *(b"\r\n\r\n", b"\r\n", b": ", b"<html>", b"\xed\xa0\x80", b"\xc0\x80"),
)
REPEATS = (2, 3, 10, 100, 1000, 30_000)


def mutate(files: Files, random: Random, others: Sequence[Files] = ()) -> Files:
    """Files with one to four changes."""
    found = dict(files)
    for _ in range(random.choice((1, 1, 2, 4))):
        if not found:
            break
        name = random.choice(list(found))
        if random.random() < 0.04:
            random.choice((_without, _exchanged, _from_another))(found, name, random, others)
            continue
        changed = mutate_bytes(found[name], random)
        if len(changed) <= LARGEST:
            found[name] = changed
    return found


def _without(files: Files, name: str, _random: Random, _others: Sequence[Files]) -> None:
    del files[name]


def _exchanged(files: Files, name: str, random: Random, _others: Sequence[Files]) -> None:
    other = random.choice(list(files))
    files[name], files[other] = files[other], files[name]


def _from_another(files: Files, name: str, random: Random, others: Sequence[Files]) -> None:
    other = random.choice(others) if others else files
    if other:
        files[random.choice([name, *other])] = random.choice(list(other.values()))


# --- Fields -----------------------------------------------------------------------------------------------------------


def mutate_bytes(data: bytes, random: Random, depth: int = 0) -> bytes:
    """Bytes with one change: of a field of their format, where they have one, or of some bytes."""
    codec = next((codec for codec in CODECS if codec.matches(data)), None)
    if codec is not None and depth < 6 and random.random() < STRUCTURED:
        try:
            return _in_tree(codec, data, random, depth)
        except Exception:  # of a codec: what another change left is not of the format any more, or cannot be written
            pass
    return random.choice(_OF_BYTES)(data, random)


def _in_tree(codec: Codec, data: bytes, random: Random, depth: int) -> bytes:
    tree = [codec.read(data)]
    parent, index = random.choice(list(_places(tree)))
    node = parent[index]
    if isinstance(node, bytes) and random.random() < 0.8:
        parent[index] = mutate_bytes(node, random, depth + 1)
    elif isinstance(node, list) or random.random() < 0.35:
        _OF_LISTS[random.randrange(len(_OF_LISTS))](parent, index, random, tree)
    else:
        parent[index] = _leaf(node, random)
    return codec.write(tree[0])


def _places(tree: list[Any]) -> Iterator[tuple[list[Any], int]]:
    stack = [tree]
    while stack:
        node = stack.pop()
        for index, child in enumerate(node):
            yield node, index
            if isinstance(child, list):
                stack.append(child)


def _leaf(node: Any, random: Random) -> Any:
    if isinstance(node, bool) or node is None or random.random() < 0.15:
        return deepcopy(random.choice((*NUMBERS, *TEXTS, True, False, None, [], Object(), *map(Raw, RAWS))))
    if isinstance(node, (int, float)):
        near = (node + 1, node - 1, -node, node * 2, node // 2 if type(node) is int else node / 2)
        return random.choice((*near, *NUMBERS))
    if isinstance(node, bytes):
        return random.choice(BYTES)
    if random.random() < 0.5:
        return random.choice(TEXTS)
    return random.choice(_OF_BYTES)(node.encode("utf-8", "surrogatepass"), random).decode("utf-8", "replace")


def _dropped(parent: list[Any], index: int, _random: Random, _tree: list[Any]) -> None:
    if len(parent) > 1:
        del parent[index]


def _doubled(parent: list[Any], index: int, random: Random, _tree: list[Any]) -> None:
    times = min(random.choice(REPEATS[:5]), MOST_NODES // (1 + sum(1 for _ in _places([parent[index]]))))
    parent[index:index] = [deepcopy(parent[index]) for _ in range(times)]


def _moved(parent: list[Any], index: int, random: Random, _tree: list[Any]) -> None:
    parent.insert(random.randrange(len(parent)), parent.pop(index))


def _copied(parent: list[Any], index: int, random: Random, tree: list[Any]) -> None:
    there, at = random.choice(list(_places(tree)))
    parent[index] = deepcopy(there[at])


def _nested(parent: list[Any], index: int, random: Random, _tree: list[Any]) -> None:
    for _ in range(random.choice((1, 1, 2, 50))):
        parent[index] = random.choice(([parent[index]], Object([["a", parent[index]]])))


def _inserted(parent: list[Any], index: int, random: Random, _tree: list[Any]) -> None:
    like = parent[index]
    new = deepcopy(like) if isinstance(like, list) else random.choice(BYTES if isinstance(like, bytes) else TEXTS)
    if isinstance(new, list) and new:
        at = random.randrange(len(new))
        if not isinstance(new[at], list):
            new[at] = _leaf(new[at], random)
    parent.insert(index, new)


def _emptied(parent: list[Any], index: int, _random: Random, _tree: list[Any]) -> None:
    parent[index] = type(parent[index])()


_OF_LISTS: tuple[Callable[[list[Any], int, Random, list[Any]], None], ...] = (
    _dropped, _doubled, _moved, _copied, _nested, _inserted, _emptied,
)  # fmt: skip


# --- Bytes ------------------------------------------------------------------------------------------------------------


def _flipped(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8))):
        if changed:
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _overwritten(data: bytes, random: Random) -> bytes:
    new = random.choice((random.choice(BYTES), random.randbytes(random.randint(1, 8))))
    at = random.randint(0, len(data))
    return data[:at] + new + data[at + len(new) :]


def _spliced(data: bytes, random: Random) -> bytes:
    at = random.randint(0, len(data))
    start = random.randint(0, len(data))
    return data[:at] + data[start : start + random.choice((1, 4, 16, 256))] + data[at:]


def _cut(data: bytes, random: Random) -> bytes:
    start = random.randint(0, len(data))
    return random.choice((data[:start], data[:start] + data[start + random.choice((1, 2, 8, 64)) :]))


def _repeated(data: bytes, random: Random) -> bytes:
    start = random.randint(0, len(data))
    part = data[start : start + random.choice((1, 2, 8, 100))]
    return data[:start] + part * random.choice(REPEATS) + data[start:]


_OF_BYTES = (_flipped, _flipped, _overwritten, _overwritten, _spliced, _cut, _repeated)
