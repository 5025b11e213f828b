"""Files that ``torch.save`` wrote before torch 1.6: pickles in a row, then the storages of the tensors.

The pickles are a magic number, the version of the protocol, facts about the system, the object that was saved, and the
keys of the storages in their order.  The storages follow, each behind the number of its elements.
"""

import os
from functools import partial
from typing import IO

from registry.errors import CorruptWeightsError
from registry.files.pickles import PickledValue, PicklePolicy, read_pickle
from registry.files.signatures import LEGACY_TORCH
from registry.weights.torch.pickle_scan import LARGEST_PICKLE, RESAVE, Outline, read_outline

PREAMBLE = (100, 100, 1000)
"""Most instructions of the pickles before the saved object: magic number, protocol, system."""
PROTOCOL = 1001
"""The version of the protocol, the only one that torch reads."""
MOST_KEYS = 100_000
"""Most instructions of the keys of storages."""
COUNT = 8
"""Bytes of the number of elements before each storage."""


def check_legacy(file: IO[bytes], origin: str) -> Outline:
    """The outline of the state dict in a file, which must have just the storages of its tensors.

    Raises UnsafeWeightsError, CorruptWeightsError and WeightsLimitError, as ``read_outline`` does.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    data = file.read(LARGEST_PICKLE)
    if not data.startswith(LEGACY_TORCH):
        raise CorruptWeightsError(f"{origin} is not what torch.save writes, or was cut off.", hint=RESAVE)
    read, start = partial(read_outline, data, origin, goes_on=len(data) < size, is_legacy=True), 0
    preamble = []
    for most in PREAMBLE:
        outline = read(start=start, most=most)
        start = outline.end
        preamble.append(outline.root)
    if preamble[1] != PROTOCOL:
        raise CorruptWeightsError(f"{origin} is damaged: its protocol is not {PROTOCOL}.")
    state = read(start=start)
    keys = read(start=state.end, most=MOST_KEYS)
    needed = keys.end + sum(COUNT + storage.nbytes for storage in state.storages.values())
    if sorted(keys.root) != sorted(state.storages) or needed != size:
        raise CorruptWeightsError(f"{origin} is damaged: it does not hold just the memory that its tensors need.")
    file.seek(keys.end)
    for storage in (state.storages[key] for key in keys.root):
        count = int.from_bytes(file.read(COUNT), "little")
        if count != storage.elements:
            raise CorruptWeightsError(
                f"{origin} is damaged: {count:,} elements are announced in place of {storage.elements:,}."
            )
        file.seek(storage.nbytes, os.SEEK_CUR)
    return state


def saved_object(data: bytes, policy: PicklePolicy, origin: str) -> PickledValue:
    """The object in the bytes of a file that holds no tensors; ``policy`` goes for it and the pickles before it."""
    start = 0
    for most in PREAMBLE:
        start = read_pickle(data, policy, origin=origin, start=start, most=most).end
    return read_pickle(data, policy, origin=origin, start=start)
