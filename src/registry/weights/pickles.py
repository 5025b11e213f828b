"""What a pickle would do if it were loaded, found out without loading it.

A pickle is a program.  Allowed are the few instructions and names with which ``torch.save`` writes a state dict; a list
of what is dangerous would never be complete.
"""

import pickle
import pickletools
from collections.abc import Iterator, Mapping
from typing import IO, Any

from attrs import frozen

from registry.errors import CorruptWeightsError, UnsafeWeightsError, WeightsLimitError

LARGEST_PICKLE = 64 * 2**20
"""Bytes; the pickle of a state dict takes about 200 for each tensor."""
MOST_INSTRUCTIONS = 5_000_000

STORAGES = {
    **dict.fromkeys(["torch.DoubleStorage", "torch.LongStorage"], 8),
    **dict.fromkeys(["torch.FloatStorage", "torch.IntStorage"], 4),
    **dict.fromkeys(["torch.HalfStorage", "torch.BFloat16Storage", "torch.ShortStorage"], 2),
    **dict.fromkeys(["torch.CharStorage", "torch.ByteStorage", "torch.BoolStorage"], 1),
}
"""Classes of memory, and the bytes of one element."""

NAMES = {"collections.OrderedDict", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter", *STORAGES}
"""What a state dict may import."""

INSTRUCTIONS = frozenset(
    (
        *("PROTO", "STOP", "MARK", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
        *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"),
        *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS"),
        *("EMPTY_DICT", "SETITEM", "SETITEMS", "GLOBAL", "REDUCE", "BUILD", "BINPERSID"),
    )
)
"""Names of the instructions, in ``pickletools``; all are of protocol 2."""

RESAVE = (
    "If you trust the file, load it with the program that wrote it, and `torch.save(model.state_dict(), path)` there."
)


@frozen
class Outline:
    """What a pickle holds, with nothing in the place of tensors."""

    root: Any
    storages: Mapping[str, int]
    """Bytes of each piece of memory that its tensors refer to, by key."""


def read_outline(file: IO[bytes], origin: str) -> Outline:
    """Read one pickle, from where ``file`` stands to the pickle's end, and refuse what a state dict has no need of.

    Raises UnsafeWeightsError, which names what it refuses, CorruptWeightsError when the pickle breaks off, and
    WeightsLimitError.
    """
    start = file.tell()
    _check(file, origin)
    file.seek(start)
    outliner = _Outliner(file)
    try:
        return Outline(outliner.load(), outliner.storages)
    except Exception as problem:  # only containers, numbers and texts are made now, but not always with sense
        raise CorruptWeightsError(f"{origin} is damaged: its pickle makes no sense ({problem}).") from problem


def _check(file: IO[bytes], origin: str) -> None:
    start = file.tell()
    for number, (instruction, argument, place) in enumerate(_instructions(file, origin)):
        if number >= MOST_INSTRUCTIONS or place - start > LARGEST_PICKLE:
            raise WeightsLimitError(f"{origin} holds a pickle larger than any state dict needs.")
        if instruction not in INSTRUCTIONS:
            raise UnsafeWeightsError(
                f"{origin} holds a pickle with the instruction {instruction}, which no state dict needs; nothing was "
                f"loaded.",
                hint=RESAVE,
            )
        if instruction == "GLOBAL" and (name := argument.replace(" ", ".")) not in NAMES:
            raise UnsafeWeightsError(f"{origin} would import {name!r}; nothing was loaded.", hint=RESAVE)
        if instruction == "LONG_BINPUT" and argument > number:  # readers make room for all smaller numbers
            raise WeightsLimitError(f"{origin} holds a pickle that asks for {argument:,} places in memory.")


def _instructions(file: IO[bytes], origin: str) -> Iterator[tuple[str, Any, int]]:
    try:
        for instruction, argument, place in pickletools.genops(file):
            yield instruction.name, argument, place or 0
    except ValueError as problem:
        raise CorruptWeightsError(f"{origin} is damaged: its pickle breaks off, or is none ({problem}).") from problem


class _Outliner(pickle.Unpickler):
    """Unpickles what was checked, with stand-ins for all that a pickle imports."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.storages: dict[str, int] = {}

    def find_class(self, module: str, name: str) -> Any:
        return (
            _StandInDict if name == "OrderedDict" else _no_tensor if name.startswith("_rebuild") else f"{module}.{name}"
        )

    def persistent_load(self, identity: Any) -> None:
        kind, storage, key, _, length, *_ = identity
        size = STORAGES[storage] * length
        if kind != "storage" or size < 0 or self.storages.setdefault(key, size) != size:
            raise ValueError(f"memory {key!r} of {size} bytes")


class _StandInDict(dict[Any, Any]):
    """An OrderedDict; a class of ours, so that a pickle can give it attributes."""


def _no_tensor(*_: object) -> None:
    """Make nothing of what a tensor is made of."""
