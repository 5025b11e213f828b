"""The outline of a state dict: the types and shapes of its tensors, from its pickle, which is read and never run.

``POLICY`` lists the few instructions and names with which ``torch.save`` writes a state dict.  What else is
refused, and why, stands in ``registry.files.pickles``.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

from attrs import evolve, frozen

from registry.errors import CorruptWeightsError, UnsafeWeightsError, WeightsLimitError, WeightsMismatchError
from registry.files.pickles import Global, PicklePolicy, read_pickle
from registry.weights.containers import state_dict
from registry.weights.headers import Header

LARGEST_PICKLE = 16 * 2**20
"""Bytes; the pickle of a state dict takes about 200 for each tensor."""
MOST_INSTRUCTIONS = 600_000
"""That of a state dict takes about 30 for each tensor."""
MOST_AXES = 64
LARGEST_NUMBER = 2**63
"""Numbers of elements stay below this: torch counts them in signed 64-bit integers."""

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
class OutlinedStorage:
    """What stands for a storage in an outline."""

    key: str
    dtype: str
    elements: int
    itemsize: int

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.elements * self.itemsize


@frozen
class OutlinedTensor:
    """What stands for a tensor in an outline."""

    header: Header
    stored: int
    """Bytes of its storage, which other tensors may share."""


@frozen
class Outline:
    """What a pickle holds, with an ``OutlinedTensor`` in the place of each tensor."""

    root: Any
    storages: Mapping[str, OutlinedStorage]
    """Each storage that its tensors refer to, by key."""
    end: int
    """The offset of the first byte after the pickle."""


def read_outline(
    data: bytes,
    origin: str,
    *,
    start: int = 0,
    most: int = MOST_INSTRUCTIONS,
    goes_on: bool = False,
    is_legacy: bool = False,
) -> Outline:
    """Read the pickle at offset ``start`` of ``data``, and refuse what a state dict has no need of.

    Args:
        data: The bytes of a file, or as many as a pickle may have.
        origin: The name of the file, for errors.
        start: Where the pickle begins.
        most: Instructions that it may have.
        goes_on: Whether ``data`` is only the beginning of the file.
        is_legacy: Whether the file is one that was written before torch 1.6.

    Raises:
        UnsafeWeightsError: For an instruction or a global that no state dict needs, which it names.
        CorruptWeightsError: For a pickle that ends too early, or is invalid.
        WeightsLimitError: For one with more instructions than ``most``, or larger than any that is needed.
    """
    policy = LEGACY_POLICY if is_legacy else POLICY
    found = read_pickle(data, policy, origin=origin, start=start, most=most, goes_on=goes_on)
    storages: dict[str, OutlinedStorage] = {}
    for storage in found.references:
        if storages.setdefault(storage.key, storage) != storage:
            raise CorruptWeightsError(f"{origin} is damaged: the storage {storage.key!r:.80} has two sizes or types.")
    return Outline(found.value, storages, found.end)


def state_dict_headers(outline: Outline, origin: str) -> dict[str, Header]:
    """The headers of the state dict in an outline.

    A tensor may repeat the numbers of its storage (``torch.zeros(1).expand(768)``), and then needs more memory than the
    file gives it.  All of them together may need as much as the file holds, so that a model is at most twice its file.

    Raises:
        WeightsMismatchError: It holds something else, or tensors that repeat more.
    """
    tensors = state_dict(outline.root, OutlinedTensor, origin)
    room = held = sum(storage.nbytes for storage in outline.storages.values())
    for name, tensor in tensors.items():
        room -= max(tensor.header.nbytes - tensor.stored, 0)
        if room < 0:
            raise WeightsMismatchError(
                f"{origin}: {name!r} claims the shape {tensor.header.shape}, with {tensor.stored:,} bytes in the file, "
                f"which has {held:,} for all tensors.",
                hint=f"A tensor that repeats its numbers has memory of its own after tensor.contiguous(). {RESAVE}",
            )
    return {name: tensor.header for name, tensor in tensors.items()}


# --- What a state dict may do -----------------------------------------------------------------------------------------


class _OrderedDict(dict[Any, Any]):
    """Stands for an OrderedDict: a class of its own, since only such a dict may be given attributes."""


def _legacy_storage(identity: Any) -> OutlinedStorage:
    """The storage of a persistent id before torch 1.6: a view of another storage, or None, is at its end."""
    *of_storage, view = identity
    if view is not None:
        raise ValueError("a storage that is a view of another")
    return _storage(of_storage)


def _storage(identity: Any) -> OutlinedStorage:
    """The storage of a persistent id: ``("storage", class, key, location, elements)``."""
    kind, storage, key, _, length = identity
    if kind != "storage" or type(storage) is not Global or type(key) is not str or type(length) is not int:
        raise ValueError("a persistent id that is not a storage's")
    dtype, itemsize = STORAGES[storage.name]
    if not 0 <= length < LARGEST_NUMBER:
        raise ValueError(f"a storage of {length} elements")
    return OutlinedStorage(key, dtype, length, itemsize)


def _tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, requires_grad: Any, _hooks: Any, metadata: Any = None
) -> OutlinedTensor:
    """The tensor that ``torch._utils._rebuild_tensor_v2`` would build."""
    if (
        type(storage) is not OutlinedStorage
        or type(offset) is not int
        or not (_are_sizes(shape) and _are_sizes(strides))
    ):
        raise ValueError("a tensor without a storage, an offset, a shape or strides")
    if len(shape) > MOST_AXES:
        raise ValueError(f"a tensor of {len(shape):,} axes")
    if len(shape) != len(strides) or not 0 <= offset < LARGEST_NUMBER or metadata:
        raise ValueError(f"a tensor of shape {shape} with the strides {strides} at the offset {offset}")
    count = prod(shape)
    end = offset + 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) if count else 0
    if end > storage.elements:
        raise ValueError(f"a tensor that ends at the element {end:,} of {storage.elements:,}")
    header = Header(shape, storage.dtype, count * storage.itemsize, memory=(storage.key, offset))
    return _requiring(OutlinedTensor(header, storage.nbytes), requires_grad)


def _parameter(tensor: Any, requires_grad: Any, _hooks: Any) -> OutlinedTensor:
    if type(tensor) is not OutlinedTensor:
        raise ValueError("a parameter that is not a tensor")
    return _requiring(tensor, requires_grad)


def _requiring(tensor: OutlinedTensor, requires_grad: Any) -> OutlinedTensor:
    if type(requires_grad) is not bool or (requires_grad and "float" not in tensor.header.dtype):
        raise ValueError(f"a gradient of numbers of the type {tensor.header.dtype}")
    return tensor


def _are_sizes(value: Any) -> bool:
    return type(value) is tuple and all(type(size) is int and 0 <= size < LARGEST_NUMBER for size in value)


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
    protocols=(2,),
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
LEGACY_POLICY = evolve(POLICY, reference=_legacy_storage)
