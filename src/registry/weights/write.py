"""Writes weights, as safetensors or as torch does, in one file or in shards with an index."""

import ctypes
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from attrs import frozen
from torch import Tensor

from registry.errors import SaveError
from registry.files.atomic import Writer, content_writer
from registry.files.filenames import (
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    WEIGHTS_INDEX_NAME,
    WEIGHTS_NAME,
)
from registry.files.paths import utf8_path
from registry.weights import safetensors
from registry.weights.headers import Header, Headers
from registry.weights.writable import check_writable

Format: TypeAlias = Literal["safetensors", "torch"]
"""The formats in which weights are written."""

UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
"""Unit, in upper case -> bytes."""


def _save_safetensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write contiguous tensors on the CPU.

    The library's own ``safetensors.torch.save_file`` would need numpy, to find the memory of a tensor.
    """
    from safetensors import TensorSpec, serialize_file  # loading need not pay for this import

    specs = {
        name: TensorSpec(
            dtype=str(tensor.dtype).removeprefix("torch."),
            shape=tensor.shape,
            data_ptr=tensor.data_ptr(),
            data_len=tensor.nbytes,
        )
        for name, tensor in tensors.items()
    }
    with utf8_path(path) as name:
        serialize_file(specs, name, {"format": "pt"})  # older versions of transformers refuse files without this


def _check_dtypes(tensors: Mapping[str, Tensor], known: Collection[str] | None) -> None:
    for name, tensor in tensors.items():
        if known is not None and str(tensor.dtype).removeprefix("torch.") not in known:
            raise SaveError(
                f"Nothing was saved: {name!r} is of type {tensor.dtype}, which safetensors do not have.",
                hint='Save it with format="torch", or convert it first.',
            )


def _save_torch(tensors: Mapping[str, Tensor], path: Path) -> None:
    with path.open("wb") as file:  # given a path, torch would turn a full disk into an error without a number
        torch.save(OrderedDict(tensors), file)


@frozen
class _WriteFormat:
    """The files of one format, and what writes them."""

    filename: str
    index: str
    keeps_ties: bool
    """Whether tensors that share memory stay shared in the file; else a tied name is omitted, and tied on loading."""
    save: Callable[[Mapping[str, Tensor], Path], None]
    dtypes: Collection[str] | None = None
    """Names of the types of tensors that the format has; None for all."""


_SAFE_DTYPES = frozenset(
    ["bool", "complex64", "float16", "float32", "float64", "bfloat16"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
    + ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2"]
)

WIDTHS = (
    *("bool", "float4_e2m1fn_x2", "uint8", "int8", "float8_e5m2", "float8_e4m3fn", "float8_e8m0fnu"),
    *("float8_e4m3fnuz", "float8_e5m2fnuz", "int16", "uint16", "float16", "bfloat16", "int32", "uint32", "float32"),
    *("complex64", "float64", "int64", "uint64"),
)
"""Types from the narrowest to the widest, as safetensors orders them."""

WRITE_FORMATS: Mapping[str, _WriteFormat] = {
    "safetensors": _WriteFormat(SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME, False, _save_safetensors, _SAFE_DTYPES),
    "torch": _WriteFormat(WEIGHTS_NAME, WEIGHTS_INDEX_NAME, True, _save_torch),
}


def weight_writers(
    tensors: Mapping[str, Tensor],
    ties: Sequence[Sequence[str]] = (),
    *,
    format: str = "safetensors",
    max_shard_size: int | str | None = None,
) -> dict[str, Writer]:
    """Writers of the weight files of a saved directory, by file name.

    Args:
        tensors: Tensors by name, on any device.
        ties: Groups of names that are one tensor.
        format: ``"safetensors"`` or ``"torch"``.
        max_shard_size: Bytes, also as text (``"2GB"``), of the largest file; larger weights are split over several
            files, a tensor never.

    Raises:
        SaveError: The format or the size is unknown, or a tensor has no memory of its own: divided over processes,
            quantized, sparse, masked, fake or on the meta device.
    """
    if format not in WRITE_FORMATS:
        formats = ", ".join(WRITE_FORMATS)
        raise SaveError(f"Weights cannot be saved in the format {format!r}.", hint=f"Formats are: {formats}.")
    check_writable(tensors)
    kind = WRITE_FORMATS[format]
    _check_dtypes(tensors, kind.dtypes)
    kept = _plain(tensors if kind.keeps_ties else _without_tied(tensors, ties), exact=kind.keeps_ties)
    shards = _shards(kept, _bytes(max_shard_size))
    return _writers(kind, shards, lambda shard: _shard_writer(kind, shard))


def _writers(
    kind: _WriteFormat, shards: Sequence[Mapping[str, Any]], writer: Callable[[Any], Writer]
) -> dict[str, Writer]:
    """Writers of one file, or of several with their index, by file name."""
    if len(shards) == 1:
        return {kind.filename: writer(shards[0])}
    stem, _, ending = kind.filename.rpartition(".")
    names = [f"{stem}-{number:05d}-of-{len(shards):05d}.{ending}" for number in range(1, len(shards) + 1)]
    writers = {name: writer(shard) for name, shard in zip(names, shards, strict=True)}
    total = sum(tensor.nbytes for shard in shards for tensor in shard.values())
    where = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
    return {**writers, kind.index: content_writer(json.dumps(index, indent=2) + "\n")}


def streamed_shards(headers: Headers, max_shard_size: int | str | None = None) -> list[dict[str, Header]]:
    """The tensors of each file of safetensors, in the order in which the file keeps them.

    That is the widest types first, and then by name.

    Args:
        headers: Shape and type of each tensor.
        max_shard_size: As for ``weight_writers``.

    Raises:
        SaveError: The size is unknown.
    """
    order = list(WIDTHS)
    return [
        dict(sorted(shard.items(), key=lambda item: (-order.index(item[1].dtype), item[0])))
        for shard in _shards(headers, _bytes(max_shard_size))
    ]


def streamed_writers(shards: Sequence[Headers], tensors: Iterator[tuple[str, Tensor | None]]) -> dict[str, Writer]:
    """Writers of safetensors that take one tensor after the other, and so need memory for one alone.

    The bytes are those that ``weight_writers`` writes.

    Args:
        shards: What ``streamed_shards`` gives.
        tensors: The tensors of all shards in that order, on the CPU; each file can be written once.
    """
    return _writers(WRITE_FORMATS["safetensors"], shards, lambda shard: _stream_writer(shard, tensors))


def _stream_writer(shard: Headers, tensors: Iterator[tuple[str, Tensor | None]]) -> Writer:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.write(safetensors.header_bytes(shard, {"format": "pt"}))
            for expected in shard:
                name, tensor = next(tensors)
                if name != expected or tensor is None:
                    raise SaveError(f"{path} cannot be written a second time: its tensors were gathered once.")
                file.write(bytes_of(tensor))

    return write


def bytes_of(tensor: Tensor) -> memoryview:
    """The bytes of a tensor on the CPU, not copied where they lie next to each other."""
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    return memoryview((ctypes.c_char * flat.numel()).from_address(flat.data_ptr())) if flat.numel() else memoryview(b"")


def _shard_writer(kind: _WriteFormat, shard: Mapping[str, Tensor]) -> Writer:
    return lambda path: kind.save(shard, path)


def _without_tied(tensors: Mapping[str, Tensor], ties: Sequence[Sequence[str]]) -> dict[str, Tensor]:
    """The tensors without those that a declared tie restores: of each group, the first name stays."""
    omitted: set[str] = set()
    for group in ties:
        present = [name for name in group if name in tensors]
        omitted.update(name for name in present[1:] if _same_memory(tensors[name], tensors[present[0]]))
    return {name: tensor for name, tensor in tensors.items() if name not in omitted}


def _same_memory(a: Tensor, b: Tensor) -> bool:
    return a.data_ptr() == b.data_ptr() and a.shape == b.shape and a.stride() == b.stride()


def _plain(tensors: Mapping[str, Tensor], *, exact: bool) -> dict[str, Tensor]:
    """The tensors on the CPU and contiguous; tensors that are one stay one.

    With ``exact`` each has memory of just its size, since torch writes all memory that a tensor has a part of.
    """
    made: dict[tuple[object, ...], Tensor] = {}
    kept = {}
    for name, tensor in tensors.items():
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.is_conj(), tensor.is_neg())
        if key not in made:
            plain = tensor.detach().to("cpu").resolve_conj().resolve_neg().contiguous()
            made[key] = plain.clone() if exact and plain.untyped_storage().nbytes() != plain.nbytes else plain
        kept[name] = made[key]
    return kept


def _shards(tensors: Mapping[str, Any], limit: int | None) -> list[dict[str, Any]]:
    """Fill shards in the order of the tensors, each up to ``limit`` bytes; a larger tensor gets one of its own."""
    shards: list[dict[str, Any]] = [{}]
    used = 0
    for name, tensor in tensors.items():
        if limit is not None and shards[-1] and used + tensor.nbytes > limit:
            shards.append({})
            used = 0
        shards[-1][name] = tensor
        used += tensor.nbytes
    return shards


def _bytes(size: int | str | None) -> int | None:
    """Bytes of a size given as a number or as text: ``"2GB"``, ``"500 MiB"``."""
    if size is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]I?B)?", str(size).strip().upper())
    number = 0 if found is None else int(float(found[1]) * UNITS[found[2] or ""])
    if number < 1:
        raise SaveError(
            f"max_shard_size={size!r} is not a size.", hint='Give bytes, or text such as "2GB" or "500MiB".'
        )
    return number
