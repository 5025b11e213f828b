"""datasets: its cache recognizes a tokenizer, in this process and in others, and maps with several processes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from registry.zoo import BertConfig, BertForSequenceClassification, BertTokenizer, GPT2Tokenizer

pytest.importorskip("datasets", reason="the extra `integrations` is not installed")
pytestmark = [
    pytest.mark.integrations,
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]

VOCABULARIES = Path(__file__).parents[1] / "fixtures" / "vocabularies"
TEXTS = [line for line in (VOCABULARIES / "text/english.txt").read_text().splitlines() if line.strip()][:12]

CLASSES = (BertTokenizer, GPT2Tokenizer)
HASHED = """
import sys
from datasets.fingerprint import Hasher
from registry.zoo import BertTokenizer, GPT2Tokenizer
for cls, path in ((BertTokenizer, "bert/vocab.txt"), (GPT2Tokenizer, "gpt2")):
    tokenizer = cls.from_pretrained(sys.argv[1] + "/" + path)
    tokenizer("Some words in its caches.")
    print(Hasher.hash(tokenizer))
"""


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")


def test_a_tokenizer_has_the_same_fingerprint_in_every_process() -> None:
    from datasets.fingerprint import Hasher

    run = subprocess.run(
        [sys.executable, "-c", HASHED, str(VOCABULARIES)],
        env={**os.environ, "PYTHONHASHSEED": "1"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for cls, path, elsewhere in zip(CLASSES, ("bert/vocab.txt", "gpt2"), run.stdout.splitlines(), strict=True):
        tokenizer = cls.from_pretrained(VOCABULARIES / path)
        tokenizer("Other words in its caches.")
        assert Hasher.hash(tokenizer) == elsewhere
        tokenizer.truncation_side = "left"
        assert Hasher.hash(tokenizer) != elsewhere


def test_a_mapped_dataset_goes_through_a_collator_into_a_model() -> None:
    import datasets

    tokenizer = BertTokenizer(VOCABULARIES / "bert" / "vocab.txt")
    rows = datasets.Dataset.from_dict({"text": TEXTS, "label": [number % 2 for number in range(len(TEXTS))]})

    def tokenized(batch: dict[str, list[str]]) -> Any:
        return tokenizer(batch["text"], truncation=True, max_length=24)

    mapped = rows.map(tokenized, batched=True, remove_columns=["text"])
    several = rows.map(tokenized, batched=True, num_proc=2, remove_columns=["text"])
    assert mapped[:] == several[:]
    assert mapped[:]["input_ids"] == tokenizer(TEXTS, truncation=True, max_length=24)["input_ids"]

    mapped.set_format("torch")
    loader = torch.utils.data.DataLoader(
        mapped, batch_size=4, collate_fn=transformers.DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)
    )
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24
    )
    model = BertForSequenceClassification(config)
    for batch in loader:
        assert batch["input_ids"].shape[1] % 8 == 0
        assert model(**batch).loss.isfinite()
