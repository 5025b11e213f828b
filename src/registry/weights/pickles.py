"""What a pickle would do if it were loaded, found out without loading it.

A pickle is a program.  Allowed are the few instructions and names with which ``torch.save`` writes a state dict; a list
of what is dangerous would never be complete.
"""

import pickletools
from collections.abc import Iterator
from typing import IO, Any

from registry.errors import CorruptWeightsError, UnsafeWeightsError, WeightsLimitError

LARGEST_PICKLE = 64 * 2**20
"""Bytes; the pickle of a state dict takes about 200 for each tensor."""
MOST_INSTRUCTIONS = 5_000_000

STORAGES = ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")

NAMES = frozenset(
    (
        "collections OrderedDict",
        "torch._utils _rebuild_tensor_v2",
        "torch._utils _rebuild_parameter",
        *(f"torch {kind}Storage" for kind in STORAGES),
    )
)
"""What a state dict may import, as ``module name``."""

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


def check_pickle(file: IO[bytes], origin: str) -> None:
    """Read one pickle, from where ``file`` stands to the pickle's end, and refuse what a state dict has no need of.

    Raises UnsafeWeightsError, which names what it refuses, CorruptWeightsError when the pickle breaks off, and
    WeightsLimitError.
    """
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
        if instruction == "GLOBAL" and argument not in NAMES:
            name = str(argument).replace(" ", ".")
            raise UnsafeWeightsError(f"{origin} would import and call {name!r}; nothing was loaded.", hint=RESAVE)


def _instructions(file: IO[bytes], origin: str) -> Iterator[tuple[str, Any, int]]:
    try:
        for instruction, argument, place in pickletools.genops(file):
            yield instruction.name, argument, place or 0
    except ValueError as problem:
        raise CorruptWeightsError(f"{origin} is damaged: its pickle breaks off, or is none ({problem}).") from problem
