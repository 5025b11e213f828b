"""GPT's tokenizer against those of pytorch-pretrained-bert and transformers, with small vocabularies."""

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from pytorch_pretrained_bert.tokenization_openai import OpenAIGPTTokenizer as PretrainedBertTokenizer
from pytorch_pretrained_bert.tokenization_openai import text_standardize as expected_standard
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, OpenAIGPTTokenizerFast

from plugins.gpt.tokenization import OpenAIGPTTokenizer, text_standardize

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings(
        "ignore::pytest.PytestUnraisableExceptionWarning"
    ),  # pytorch-pretrained-bert leaves files open
]

PIECES = [
    "don't", "U.S.A.", "e.g.", "Hello", "WORLD", "10km", "a.m.", ":)", "\n", "\n\n", "  ", "\t", "—", "…", "´", "$5",
    "5%", "...", "!!!", "http://x.y/z?q=1", "a@b.co", "(", ")", "[x]", "'s", "n't", "gonna", "é", "ÀÉ", "中文", "&amp;",
    "<b>", "Ã©", "\xa0", "C++", "c'mon", "10:30", "e\u0301", "<unk>", "_x_", "\u200b", "Ⅷ", "ß",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(vocabularies: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocabulary: the shipped one, or one of 3,000 tokens, trained on the text at hand."""
    if (vocabularies / "gpt").is_dir():
        return vocabularies / "gpt"
    trained = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    trained.normalizer = normalizers.BertNormalizer(lowercase=True)
    trained.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=3000, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False
    )
    text = (vocabularies / "text" / "english.txt").read_text(encoding="utf-8")
    trained.train_from_iterator([text[:200_000]], trainer)
    model = json.loads(trained.to_str())["model"]
    folder = tmp_path_factory.mktemp("gpt")
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    rules = "".join(f"{first} {second}\n" for first, second in model["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{rules}", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def ours(folder: Path) -> OpenAIGPTTokenizer:
    return OpenAIGPTTokenizer(folder / "vocab.json", use_spacy=False)


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Any:
    return OpenAIGPTTokenizerFast(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))


@pytest.fixture(scope="module")
def pretrained_bert(folder: Path) -> Any:
    """That of pytorch-pretrained-bert where spaCy is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "spacy", None)
        return PretrainedBertTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))


def generated(count: int) -> list[str]:
    rng = random.Random(count)
    return [
        "".join(rng.choice(PIECES) + rng.choice(["", " "]) for _ in range(rng.randrange(1, 20))) for _ in range(count)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["english", "multilingual"])
def test_ids_of_natural_text(
    vocabularies: Path, documents: Any, ours: OpenAIGPTTokenizer, theirs: Any, pretrained_bert: Any, name: str
) -> None:
    texts = documents(vocabularies / "text" / f"{name}.txt")
    expected = theirs(texts, return_offsets_mapping=True)
    assert dict(ours(texts, return_offsets_mapping=True)) == dict(expected)
    assert ours(texts)["input_ids"] == expected["input_ids"]
    assert [pretrained_bert.encode(text) for text in texts[::5]] == expected["input_ids"][::5]
    assert [ours.decode(row) for row in expected["input_ids"]] == [theirs.decode(row) for row in expected["input_ids"]]


def test_ids_and_offsets_of_odd_text(odd: list[str], ours: OpenAIGPTTokenizer, theirs: Any) -> None:
    assert dict(ours(odd, return_offsets_mapping=True)) == dict(theirs(odd, return_offsets_mapping=True))


def test_ids_of_generated_text(ours: OpenAIGPTTokenizer, theirs: Any, pretrained_bert: Any, examples: int) -> None:
    for text in generated(2 * examples):
        assert dict(ours(text, return_offsets_mapping=True)) == dict(theirs(text, return_offsets_mapping=True)), text
        if "<unk>" not in text:  # which pytorch-pretrained-bert cuts into characters
            assert ours.encode(text) == pretrained_bert.encode(text), ascii(text)


def test_text_is_standardized_as_in_pytorch_pretrained_bert(vocabularies: Path, documents: Any, examples: int) -> None:
    for text in [*generated(2 * examples), *documents(vocabularies / "text" / "multilingual.txt")[::10]]:
        assert text_standardize(text) == expected_standard(text)


@pytest.mark.slow
def test_ids_with_spacy_are_those_of_pytorch_pretrained_bert(
    vocabularies: Path, documents: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, examples: int
) -> None:
    pytest.importorskip("ftfy", reason="the extra gpt is not installed")
    spacy = pytest.importorskip("spacy", reason="the extra gpt is not installed")
    monkeypatch.setattr(spacy, "load", lambda *_, **__: spacy.blank("en"))  # the model that it names is not needed
    pretrained_bert = PretrainedBertTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    ours = OpenAIGPTTokenizer(folder / "vocab.json", use_spacy=True)
    for text in [*generated(2 * examples), *documents(vocabularies / "text" / "english.txt")[::5]]:
        assert ours.encode(text, split_special_tokens=True) == pretrained_bert.encode(text), ascii(text)


# --- Folders ----------------------------------------------------------------------------------------------------------

TEXT = "Ünïcode _x_ 中国<unk> Never-ending_x_ Hello"


def test_transformers_reads_what_we_save(folder: Path, tmp_path: Path) -> None:
    ours = OpenAIGPTTokenizer(folder / "vocab.json", special_tokens=["_x_"], max_len=99, use_spacy=False)
    ours.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "openai-gpt"}))
    for theirs in (OpenAIGPTTokenizerFast.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)):
        assert theirs(TEXT)["input_ids"] == ours.encode(TEXT)
        assert (theirs.model_max_length, len(theirs)) == (99, len(ours))


def test_we_read_what_transformers_saves(theirs: Any, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path)
    assert not (tmp_path / "vocab.json").exists()
    ours = OpenAIGPTTokenizer.from_pretrained(tmp_path)
    assert dict(ours(TEXT, return_offsets_mapping=True)) == dict(theirs(TEXT, return_offsets_mapping=True))


def test_pytorch_pretrained_bert_reads_what_we_save(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    ours = OpenAIGPTTokenizer(folder / "vocab.json", special_tokens=["_x_", "_y_"], use_spacy=False)
    ours.save_vocabulary(tmp_path)
    pretrained_bert = PretrainedBertTokenizer.from_pretrained(str(tmp_path))
    assert pretrained_bert.special_tokens == {token: ours.vocab[token] for token in ("_x_", "_y_")}
    assert pretrained_bert.encode("Hello, world") == ours.encode("Hello, world")
