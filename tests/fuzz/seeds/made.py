"""What the seeds of several parsers are made from."""

import io
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from tests.fuzz.inputs import Files

from registry.zoo import (
    BertConfig,
    BertModel,
)

FIXTURES = Path(__file__).parents[2] / "fixtures"
SIZES = {
    "vocab_size": 20, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4,
    "max_position_embeddings": 8,
}  # fmt: skip
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcde", "##a", "##b", "the", "cat", ",", "."]


def files_in(directory: Path, *names: str) -> Files:
    """The files of a directory: all, or those of some names; those of subdirectories under their paths."""
    found = {path.relative_to(directory).as_posix(): path for path in sorted(directory.rglob("*")) if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if not names or name in names}


def written(write: Callable[[Path], object]) -> Files:
    """What a function writes into a directory."""
    with tempfile.TemporaryDirectory() as directory:
        write(Path(directory))
        return files_in(Path(directory))


def as_json(value: object) -> bytes:
    """The bytes of JSON."""
    return json.dumps(value, ensure_ascii=False).encode()


@cache
def bert() -> BertModel:
    """A tiny BERT."""
    torch.manual_seed(0)
    model = BertModel(BertConfig(**SIZES))  # type: ignore[arg-type]
    model.init_weights()
    return model


def saved(value: object, *, archive: bool = True) -> bytes:
    """What ``torch.save`` makes of a value."""
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=archive)
    return file.getvalue()
