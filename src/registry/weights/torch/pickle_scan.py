"""The outline of a state dict: the types and shapes of its tensors, from its pickle, which is read and never run.

``POLICY`` lists the few instructions and names with which ``torch.save`` writes a state dict.  What else is
refused, and why, stands in ``registry.files.pickles``.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

from attrs import frozen

from registry.errors import CorruptWeightsError, UnsafeWeightsError, WeightsLimitError
from registry.files.pickles import Global, PicklePolicy, read_pickle
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
"""Classes of storages: the dtype of the elements, and the bytes of one."""

RESAVE = (
    "If you trust the file, load it with the program that wrote it, and `torch.save(model.state_dict(), path)` there."
)


@frozen
class Outline:
    """What a pickle holds, with a ``Header`` in the place of each tensor."""

    root: Any
    storages: Mapping[str, int]
    """Bytes of each storage that its tensors refer to, by key."""
    end: int
    """The offset of the first byte after the pickle."""


def read_outline(
    data: bytes, origin: str, *, start: int = 0, most: int = MOST_INSTRUCTIONS, goes_on: bool = False
) -> Outline:
    """Read the pickle at offset ``start`` of ``data``, and refuse what a state dict has no need of.

    Args:
        data: The bytes of a file, or as many as a pickle may have.
        origin: The name of the file, for errors.
        start: Where the pickle begins.
        most: Instructions that it may have.
        goes_on: Whether ``data`` is only the beginning of the file.

    Raises:
        UnsafeWeightsError: For an instruction or a global that no state dict needs, which it names.
        CorruptWeightsError: For a pickle that breaks off or makes no sense.
        WeightsLimitError: For one with more instructions than ``most``, or larger than any that is needed.
    """
    found = read_pickle(data, POLICY, origin=origin, start=start, most=most, goes_on=goes_on)
    storages: dict[str, int] = {}
    for storage in found.references:
        if storages.setdefault(storage.key, storage.nbytes) != storage.nbytes:
            raise CorruptWeightsError(f"{origin} is damaged: the storage {storage.key!r:.80} has two sizes.")
    return Outline(found.value, storages, found.end)


# --- What a state dict may do -----------------------------------------------------------------------------------------


@frozen
class _Storage:
    """What a persistent id says of a storage."""

    key: str
    dtype: str
    nbytes: int
    itemsize: int


class _OrderedDict(dict[Any, Any]):
    """Stands for an OrderedDict: a class of its own, since only such a dict may be given attributes."""


def _storage(identity: Any) -> _Storage:
    """The storage of a persistent id: ``("storage", class, key, location, elements)`` and, before torch 1.6, a view."""
    kind, storage, key, _, length, *_ = identity
    if kind != "storage" or type(storage) is not Global or type(key) is not str or type(length) is not int:
        raise ValueError("a persistent id that is no storage's")
    dtype, itemsize = STORAGES[storage.name]
    if length < 0:
        raise ValueError(f"a storage of {length} elements")
    return _Storage(key, dtype, itemsize * length, itemsize)


def _tensor(storage: Any, _offset: Any, shape: Any, *_: object) -> Header:
    """The header of a tensor that ``torch._utils._rebuild_tensor_v2`` would build."""
    if type(storage) is not _Storage or type(shape) is not tuple or any(type(size) is not int for size in shape):
        raise ValueError("a tensor without a storage or a shape")
    if len(shape) > MOST_AXES:
        raise ValueError(f"a tensor of {len(shape):,} axes")
    return Header(shape, storage.dtype, prod(shape) * storage.itemsize)


def _parameter(tensor: Any, *_: object) -> Header:
    if type(tensor) is not Header:
        raise ValueError("a parameter that is no tensor")
    return tensor


def _ordered_dict() -> _OrderedDict:
    """An empty one, as Python 3 writes it: its items follow."""
    return _OrderedDict()


POLICY = PicklePolicy(
    noun="state dict",
    instructions=frozenset(  # all of protocol 2
        (
            *("PROTO", "STOP", "MARK", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
            *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"),
            *("EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "TUPLE", "EMPTY_LIST", "APPEND", "APPENDS"),
            *("EMPTY_DICT", "SETITEM", "SETITEMS", "GLOBAL", "REDUCE", "BUILD", "BINPERSID"),
        )
    ),
    globals={
        "collections.OrderedDict": _ordered_dict,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_parameter": _parameter,
        **dict.fromkeys(STORAGES),
    },
    reference=_storage,
    takes_attributes=_OrderedDict,  # ``_metadata``
    largest=LARGEST_PICKLE,
    most_instructions=MOST_INSTRUCTIONS,
    unsafe=UnsafeWeightsError,
    corrupt=CorruptWeightsError,
    limit=WeightsLimitError,
    hint=RESAVE,
)
"""What ``torch.save`` writes for a state dict, alone or in a training checkpoint."""
