"""The recipes of docs/bulk.md for Ray Data and Dask give the vectors of a loop."""

import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch

import registry
from registry.bulk import Embedder
from registry.zoo import BertConfig, BertModel, BertTokenizer

pytestmark = pytest.mark.integrations

PAGE = Path(__file__).parent.parent.parent / "docs/bulk.md"
TEXTS = [" ".join("abcdefgh"[number % (3 + k)] for k in range(1 + number % 5)) for number in range(40)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a tiny BERT and its tokenizer."""
    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    tiny = BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=16, **sizes)).eval()
    tokenizer = BertTokenizer({word: number for number, word in enumerate(words)})
    return registry.save(tiny, tmp_path_factory.mktemp("model") / "bert", tokenizer=tokenizer)


def recipe(library: str, model: Path) -> dict[str, Any]:
    """The names after the block of the page that imports a library, for another model."""
    blocks = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    (block,) = [block for block in blocks if f"import {library}" in block]
    found: dict[str, Any] = {}
    exec(compile(block.replace("all-minilm-l6-v2", str(model)), f"{PAGE.name}, {library}", "exec"), found)
    return found


def wanted(model: Path) -> np.ndarray[Any, Any]:
    vectors: np.ndarray[Any, Any] = Embedder(str(model))({"text": TEXTS})["vector"]
    return vectors


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray warns of its own code
def test_ray_data(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # only the loopback address is listened on
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.chdir(tmp_path)
    ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    parquet.write_table(pa.table({"id": [*range(len(TEXTS))], "text": TEXTS}), "texts.parquet")
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    try:
        recipe("ray", model)
    finally:
        ray.shutdown()
    found = parquet.read_table("vectors").to_pydict()
    order = np.argsort(found["id"])
    assert sorted(found["id"]) == [*range(len(TEXTS))]
    np.testing.assert_allclose(np.array(found["vector"])[order], wanted(model), atol=1e-6)


def test_dask(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dask.bag", reason="the extra 'integrations' is not installed")
    monkeypatch.chdir(tmp_path)
    Path("texts").mkdir()
    for number in range(4):
        Path(f"texts/{number}.txt").write_text("".join(f"{text}\n" for text in TEXTS[number::4]), "utf-8")
    found = recipe("dask", model)["vectors"].compute(scheduler="synchronous")
    order = [row for number in range(4) for row in range(number, len(TEXTS), 4)]
    np.testing.assert_allclose(np.array(found), wanted(model)[order], atol=1e-6)
