"""Shares of tensors as DCP stores and reads them, under the names and in the shapes of published files.

A checkpoint of training then does not depend on how processes share the model: what two processes wrote is read by
three, by one, or by others that share it in another way.  DCP asks a tensor itself for its blocks, as it asks DTensors.
"""

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, Metadata, MetadataIndex, TensorProperties
from torch.distributed.checkpoint.planner import TensorWriteData, WriteItem, WriteItemType

from registry.errors import UnsafeWeightsError
from registry.sharding.gathering import HeldTensor
from registry.sharding.shares import Piece, Share, is_divided, local_of, share_of


class StoredShare(Tensor):
    """What one process has of a tensor; it has the shape of the complete one, and computes nothing."""

    share: Share
    local: Tensor
    """The elements, with the axes of the complete tensor; a view of those of the model."""
    writes: bool
    """Whether this process stores them: of processes that have the same, one does."""

    @classmethod
    def of(cls, part: HeldTensor, local: Tensor | None = None) -> Tensor:
        """A tensor of a model, or of its optimizer, for DCP.

        Args:
            part: The tensor.
            local: Its elements in this process, where they were copied; None for those of the tensor itself.
        """
        local = local_of(part.tensor) if local is None else local
        if not is_divided(part.tensor):
            return local
        share = share_of(part.tensor, part.fused)
        cpu = torch.device("cpu")
        stored: StoredShare = torch.Tensor._make_wrapper_subclass(cls, share.shape, dtype=local.dtype, device=cpu)
        stored.share, stored.local = share, local.view(share.sizes)
        copies = [number for number, place in enumerate(part.tensor.placements) if place.is_replicate()]
        at = part.tensor.device_mesh.get_coordinate()
        stored.writes = not any(at[number] for number in copies)
        return stored

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        """Refuse to compute."""
        raise NotImplementedError(f"{func} on what is only stored")

    def __create_write_items__(self, name: str, _stored: Any) -> list[WriteItem]:
        """What DCP writes of it."""
        properties = TensorProperties.create_from_tensor(self.local)
        return [
            WriteItem(
                index=MetadataIndex(name, piece.offsets),
                type=WriteItemType.SHARD,
                tensor_data=TensorWriteData(chunk=_chunk(piece), properties=properties, size=self.size()),
            )
            for piece in self._pieces()
        ]

    def __create_chunk_list__(self) -> list[ChunkStorageMetadata]:
        """The blocks that DCP reads into it."""
        return [_chunk(piece) for piece in self.share.pieces()]

    def __get_tensor_shard__(self, index: MetadataIndex) -> Tensor:
        """The elements of one block, as a view."""
        piece = next(piece for piece in self.share.pieces() if piece.offsets == tuple(index.offset or ()))
        block = self.local
        for axis, (start, size) in enumerate(zip(piece.local, piece.sizes, strict=True)):
            block = block.narrow(axis, start, size)
        return block

    def _pieces(self) -> Iterator[Piece]:
        return self.share.pieces() if self.writes else iter(())


def _chunk(piece: Piece) -> ChunkStorageMetadata:
    return ChunkStorageMetadata(offsets=torch.Size(piece.offsets), sizes=torch.Size(piece.sizes))


def stored(parts: Mapping[str, HeldTensor], *, copied: bool = False) -> dict[str, Tensor]:
    """Tensors for DCP, by name.

    Args:
        parts: The tensors, as far as this process has them.
        copied: Whether to copy the elements, so that training may continue while they are written.
    """
    found = {}
    for name, part in parts.items():
        local = local_of(part.tensor)
        found[name] = StoredShare.of(part, local.cpu().clone() if copied else local)
    return found


# --- Reading ----------------------------------------------------------------------------------------------------------

PICKLED = {
    "torch": (
        "Size",
        "device",
        "strided",
        "float16",
        "bfloat16",
        "float32",
        "float64",
        "uint8",
        "int32",
        "int64",
        "bool",
    ),
    "torch.serialization": ("_get_layout",),
    "torch.distributed.checkpoint.metadata": (
        *("Metadata", "MetadataIndex", "ChunkStorageMetadata", "TensorStorageMetadata", "TensorProperties"),
        *("BytesStorageMetadata", "StorageMeta", "_MEM_FORMAT_ENCODING"),
    ),
    "torch.distributed.checkpoint.filesystem": ("_StorageInfo",),
    "collections": ("OrderedDict",),
    "builtins": ("dict", "list", "tuple", "set", "getattr"),
    "pathlib": ("Path", "PosixPath", "WindowsPath"),
}
"""What the description that DCP pickles consists of; nothing else is unpickled."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name not in PICKLED.get(module, ()) or (module, name) == ("builtins", "getattr"):
            raise UnsafeWeightsError(f"The checkpoint's description asks for {module}.{name}, which none needs.")
        return super().find_class(module, name)


class SafeReader(FileSystemReader):
    """DCP's reader of a directory; of its pickled description, only what every checkpoint has is unpickled."""

    def read_metadata(self, *_arguments: Any, **_keywords: Any) -> Metadata:
        """Read the description.

        Raises:
            UnsafeWeightsError: It asks for anything else.
        """
        with (Path(self.path) / ".metadata").open("rb") as file:
            found: Metadata = _Unpickler(file).load()
        return found
