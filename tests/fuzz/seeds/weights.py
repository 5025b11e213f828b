"""Well-formed weights in every format, archives, and pickled vocabularies."""

import gzip
import io
import json
import pickle
import tarfile
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Mapping

import numpy as np
import torch
from tests.fuzz.inputs import Files
from tests.fuzz.seeds.made import FIXTURES, as_json, bert, files_in, saved, written

import registry


def state() -> dict[str, torch.Tensor]:
    """A few tensors of several types, two of them of one memory."""
    w = torch.arange(6, dtype=torch.float32).view(2, 3)
    return {
        "w": w,
        "w.t": w.t(),
        "n": torch.tensor([1, 2]),
        "h": torch.ones(2, dtype=torch.bfloat16),
        "e": torch.empty(0),
    }


def shards(format: str) -> Files:
    """A model in shards, without its configuration."""
    found = written(lambda directory: registry.save(bert(), directory, format=format, max_shard_size=600))  # type: ignore[arg-type]
    index = next(name for name in found if name.endswith(".index.json"))
    where = json.loads(found[index])["weight_map"]
    return {index: found[index], **{name: found[name] for name in sorted(set(where.values()))}}


def safetensors() -> list[Files]:
    """One file, and shards."""
    one = written(lambda directory: registry.save(bert(), directory))["model.safetensors"]
    return [{"model.safetensors": one}, shards("safetensors")]


def torch_files() -> list[Files]:
    """Files of torch of both kinds, checkpoints of training programs, and shards."""
    values: tuple[object, ...] = (
        state(),
        OrderedDict(bert().state_dict()),
        {"state_dict": state(), "epoch": 3, "args": {"lr": 0.1, "names": ["a"], "none": None}},
        torch.nn.Linear(2, 2).state_dict(),
    )
    single = [{"pytorch_model.bin": saved(value, archive=archive)} for value in values for archive in (True, False)]
    return [*single, shards("torch")]


def tensorflow() -> list[Files]:
    """Every checkpoint of the fixtures that is of the present format."""
    names = ("bert_squad", "gpt2", "object_graph", "partitioned", "sharded", "transfo_xl", "types")
    found = [files_in(FIXTURES / "tensorflow" / name) for name in names]
    return [{name: data for name, data in files.items() if not name.endswith(".json")} for files in found]


def numpy_shards() -> list[Files]:
    """Arrays over several files, with names and without."""
    found = []
    for dtype in ("<f4", "<f2"):
        row = np.arange(24, dtype=dtype)
        files = {}
        for number, part in enumerate(np.array_split(row, 3)):
            file = io.BytesIO()
            np.save(file, part)
            files[f"params_{number}.npy"] = file.getvalue()
        files["params_shapes.json"] = as_json([[2, 3], [4], [], [1, 13], [0, 5]])
        found.append(files)
    found[0]["parameters_names.json"] = as_json(["a", "b", "c", "d", "e"])
    return found


# --- Archives ---------------------------------------------------------------------------------------------------------


def _tar(files: Mapping[str, bytes], format: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return gzip.compress(file.getvalue(), mtime=0)


def _zip(files: Mapping[str, bytes], method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return file.getvalue()


def archives() -> list[Files]:
    """Archives of both kinds, with files at the top and in a directory, and long names."""
    flat = {"config.json": b"{}", "model.safetensors": bytes(100)}
    inside = {f"bert/{name}": data for name, data in flat.items()} | {"bert/" + "n" * 120: b"x"}
    return [
        *(
            {"model.tar.gz": _tar(files, format)}
            for files in (flat, inside)
            for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
        ),
        *(
            {"model.zip": _zip(files, method)}
            for files in (flat, inside)
            for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        ),
    ]


def pickled_vocabularies() -> list[Files]:
    """Vocabularies of Transformer-XL, pickled in every way."""
    words = ["<eos>", "<unk>", "the", "cat", ","]
    attributes = {
        "counter": Counter({"the": 3, "cat": 1}), "special": ["<eos>", "<unk>"], "min_freq": 0, "max_size": None,
        "lower_case": False, "delimiter": None, "vocab_file": None, "idx2sym": words, "unk_idx": 1,
        "sym2idx": OrderedDict((word, number) for number, word in enumerate(words)),
    }  # fmt: skip
    plain = [pickle.dumps(attributes, protocol) for protocol in range(6)]
    return [{"vocab": data} for data in (*plain, saved(attributes), saved(attributes, archive=False))]
