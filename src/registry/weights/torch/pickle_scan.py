"""What a pickle would do if it were loaded, found out without loading it.

A pickle is a program.  Allowed are the few instructions and names with which ``torch.save`` writes a state dict; a list
of what is dangerous would never be complete.
"""

import pickle
import pickletools
from collections.abc import Iterator, Mapping
from math import prod
from typing import IO, Any

from attrs import frozen

from registry.errors import CorruptWeightsError, UnsafeWeightsError, WeightsLimitError
from registry.weights.headers import Header

LARGEST_PICKLE = 16 * 2**20
"""Bytes; the pickle of a state dict takes about 200 for each tensor."""
MOST_INSTRUCTIONS = 600_000
"""That of a state dict takes about 30 for each tensor."""
MOST_AXES = 64

STORAGES = {
    "torch.DoubleStorage": ("float64", 8), "torch.LongStorage": ("int64", 8), "torch.FloatStorage": ("float32", 4),
    "torch.IntStorage": ("int32", 4), "torch.HalfStorage": ("float16", 2), "torch.BFloat16Storage": ("bfloat16", 2),
    "torch.ShortStorage": ("int16", 2), "torch.CharStorage": ("int8", 1), "torch.ByteStorage": ("uint8", 1),
    "torch.BoolStorage": ("bool", 1),
}  # fmt: skip
"""Classes of memory: the type of its elements, and the bytes of one."""

NAMES = {"collections.OrderedDict", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter", *STORAGES}
"""What a state dict may import."""

TO_MARK = -1
"""All items of the stack down to the last mark."""
TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "TUPLE": TO_MARK}
LEAVING = {
    **dict.fromkeys(["NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"], 0),
    **dict.fromkeys(["BINUNICODE", "EMPTY_LIST", "EMPTY_DICT", "GLOBAL"], 0),
    "BINPERSID": 1,
    "REDUCE": 2,
    **TUPLES,
}
"""Instructions that leave an item on the stack, and how many they take from it."""
TAKING = {"APPEND": 1, "SETITEM": 2, "BUILD": 1, "APPENDS": TO_MARK, "SETITEMS": TO_MARK, "STOP": 1}
"""Instructions that leave none."""
PUTTING, GETTING = ("BINPUT", "LONG_BINPUT"), ("BINGET", "LONG_BINGET")
INSTRUCTIONS = frozenset((*LEAVING, *TAKING, *PUTTING, *GETTING, "PROTO", "MARK"))
"""Names of what is allowed, in ``pickletools``; all instructions are of protocol 2."""

LARGEST_TUPLE = 10_000
"""Items of a tuple and of the tuples in it; readers hash tuples, one in another and each as often as it occurs."""

RESAVE = (
    "If you trust the file, load it with the program that wrote it, and `torch.save(model.state_dict(), path)` there."
)


@frozen
class Outline:
    """What a pickle holds, with a ``Header`` in the place of each tensor."""

    root: Any
    storages: Mapping[str, int]
    """Bytes of each piece of memory that its tensors refer to, by key."""


def read_outline(file: IO[bytes], origin: str, most: int = MOST_INSTRUCTIONS) -> Outline:
    """Read one pickle, from where ``file`` stands to the pickle's end, and refuse what a state dict has no need of.

    Raises UnsafeWeightsError, which names what it refuses, CorruptWeightsError when the pickle breaks off, and
    WeightsLimitError when it has more instructions than ``most``, or is larger than any that is needed.
    """
    start = file.tell()
    _check(file, origin, most)
    file.seek(start)
    outliner = _Outliner(file)
    try:
        return Outline(outliner.load(), outliner.storages)
    except Exception as problem:  # only containers, numbers and texts are made now, but not always with sense
        raise CorruptWeightsError(f"{origin} is damaged: its pickle makes no sense ({problem}).") from problem


def _check(file: IO[bytes], origin: str, most: int) -> None:
    start, follow = file.tell(), _Stack().follow
    for number, (instruction, argument, place) in enumerate(_instructions(file, origin)):
        if number >= most or place - start > LARGEST_PICKLE:
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
        try:
            size = follow(instruction, argument)
        except (IndexError, KeyError) as problem:
            raise CorruptWeightsError(f"{origin} is damaged: its pickle takes what it never made.") from problem
        if size > LARGEST_TUPLE:
            raise WeightsLimitError(f"{origin} holds a pickle with tuples in tuples, of {size:,} items.")


class _Stack:
    """How many items there are in what a pickle makes: tuples count with all that is in them, anything else is one."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.marks: list[int] = []
        self.memory: dict[Any, int] = {}

    def follow(self, instruction: str, argument: Any) -> int:
        """Do what an instruction does; returns the size of what it leaves, 0 where that is nothing."""
        sizes = self.sizes
        if instruction in GETTING:
            sizes.append(self.memory[argument])
        elif instruction in PUTTING:
            self.memory[argument] = sizes[-1]
        elif instruction == "MARK":
            self.marks.append(len(sizes))
        elif instruction != "PROTO":
            left = instruction in LEAVING
            taken = LEAVING[instruction] if left else TAKING[instruction]
            first = self.marks.pop() if taken == TO_MARK else len(sizes) - taken
            if first < 0:
                raise IndexError(first)
            size = 1 + sum(sizes[first:]) if instruction in TUPLES else int(left)
            del sizes[first:]
            if left:
                sizes.append(size)
            return size
        return 0


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
        return _STAND_INS.get(name, f"{module}.{name}")

    def persistent_load(self, identity: Any) -> tuple[str, int]:
        kind, storage, key, _, length, *_ = identity
        dtype, itemsize = STORAGES[storage]
        size = itemsize * length
        if kind != "storage" or size < 0 or self.storages.setdefault(key, size) != size:
            raise ValueError(f"memory {key!r} of {size} bytes")
        return dtype, itemsize


class _StandInDict(dict[Any, Any]):
    """An OrderedDict; a class of ours, so that a pickle can give it attributes."""


def _tensor(memory: tuple[str, int], _offset: int, shape: tuple[int, ...], *_: object) -> Header:
    dtype, itemsize = memory
    if len(shape) > MOST_AXES:
        raise ValueError(f"a tensor of {len(shape):,} axes")
    return Header(tuple(map(int, shape)), dtype, prod(shape) * itemsize)


def _parameter(tensor: Header, *_: object) -> Header:
    return tensor


_STAND_INS: Mapping[str, Any] = {
    "OrderedDict": _StandInDict, "_rebuild_tensor_v2": _tensor, "_rebuild_parameter": _parameter,
}  # fmt: skip
