"""Tokenizers: ids of the file, those of sentencepiece and of the library ``tokenizers``."""

import io
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import registry
from registry.errors import MissingTokenizerError, UnsupportedError, VocabError
from registry_gguf import tokenizer
from registry_llama.tokenization import LlamaTokenizer
from writing import SENTENCE, byte_level, pieces, tiny_gpt2, tiny_llama, write

TEXTS = (
    "the cat sat on the mat, and the dog sat",
    "Every  byte\tcounts:\n\n  naïve 你好 \U0001f468\u200d\U0001f469.",
    " x 1234567 it's We'LL",
    "",
)


@pytest.fixture(scope="module")
def model() -> bytes:
    """A ``tokenizer.model``, trained with the settings of Llama's."""
    found = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([SENTENCE] * 4),
        model_writer=found,
        vocab_size=320,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return found.getvalue()


def test_pieces_are_those_of_sentencepiece(model: bytes, tmp_path: Path) -> None:
    reference = sentencepiece.SentencePieceProcessor(model_proto=model)
    own = LlamaTokenizer(model)
    write(tiny_llama(vocab_size=len(reference)), tmp_path / "any.gguf", tokens=lambda file: pieces(file, reference))
    for place in (tmp_path / "any.gguf", tmp_path):
        loaded = registry.load(place)
        for text in TEXTS:
            assert loaded.tokenizer.encode(text) == own.encode(text) == [1, *reference.encode(text)]
        assert loaded.tokenizer.chat_template == "{{ messages[0].content }}"
        assert loaded.tokenizer.max_len == 64
    saved = registry.save(loaded, tmp_path / "saved")
    theirs = transformers.AutoTokenizer.from_pretrained(saved)
    again = registry.load_tokenizer(saved)
    for text in TEXTS:
        assert again.encode(text) == own.encode(text)
        if not text.startswith(" "):  # before which transformers puts no second space, as sentencepiece does
            assert theirs.encode(text) == own.encode(text)


def test_a_space_before_a_text_is_the_files_choice(model: bytes, tmp_path: Path) -> None:
    reference = sentencepiece.SentencePieceProcessor(model_proto=model)
    write(tiny_llama(), tmp_path / "x.gguf", tokens=lambda file: pieces(file, reference, space=False))
    found = registry.load_tokenizer(tmp_path)
    assert found.encode("the cat") != LlamaTokenizer(model).encode("the cat")
    assert found.encode(" the cat") == LlamaTokenizer(model).encode("the cat")


def reference_of(path: Path, words: str) -> Any:
    """The same vocabulary and rules in the library ``tokenizers``, with its own ways to find words."""
    keys = tokenizer.read({path.name: path}).keys
    tokens = {token: number for number, token in enumerate(keys["tokenizer.ggml.tokens"])}
    merges = [tuple(rule.split(" ")) for rule in keys["tokenizer.ggml.merges"]]
    found = Tokenizer(models.BPE(vocab=tokens, merges=merges, ignore_merges=words == "llama-bpe"))
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.pre_tokenizer = {
        "gpt-2": plain,
        "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), plain]),
        "llama-bpe": pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(__import__("tokenizers").Regex(tokenizer.LLAMA_3), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        ),
    }[words]
    found.decoder = decoders.ByteLevel()
    found.add_special_tokens(["<|endoftext|>"])
    return found


@pytest.mark.parametrize("words", ["gpt-2", "smollm", "llama-bpe"])
@pytest.mark.parametrize("make", [tiny_gpt2, tiny_llama])
def test_bytes_that_merge_are_those_of_tokenizers(make: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write(make(vocab_size=300), path, tokens=lambda file: byte_level(file, words))
    if make is tiny_gpt2 and words != "gpt-2":
        with pytest.raises(VocabError, match=r"model\.gguf.: tokenizer\.json: (model|pre_tokenizer)"):
            registry.load_tokenizer(path)
        return
    found, reference = registry.load_tokenizer(path), reference_of(path, words)
    for text in (*TEXTS, "a<|endoftext|>b"):
        assert found.encode(text, add_special_tokens=False) == reference.encode(text).ids
        assert found.decode(found.encode(text)) == text
    assert (found.bos_token, found.eos_token) == ("<|endoftext|>",) * 2
    again = registry.load_tokenizer(registry.save(registry.load(path), tmp_path / "saved"))
    assert again.encode(TEXTS[1]) == found.encode(TEXTS[1])


def test_a_file_without_tokens_has_no_tokenizer(tmp_path: Path) -> None:
    write(tiny_gpt2(), tmp_path / "model.gguf")
    for place in (tmp_path, tmp_path / "model.gguf"):
        with pytest.raises(MissingTokenizerError):
            registry.load(place).tokenizer  # noqa: B018  # raises


def test_files_of_a_tokenizer_go_before_that_of_the_format(model: bytes, tmp_path: Path) -> None:
    write(tiny_llama(), tmp_path / "model.gguf", tokens=byte_level)
    (tmp_path / "tokenizer.model").write_bytes(model)
    assert registry.load_tokenizer(tmp_path).encode("the") == LlamaTokenizer(model).encode("the")


def test_other_kinds_are_refused_by_name(tmp_path: Path) -> None:
    for kind, words, error, message in (
        ("bert", "gpt-2", UnsupportedError, "a tokenizer of the kind 'bert'"),
        ("gpt2", "tekken", UnsupportedError, "finds words as 'tekken' does"),
        ("llama", "gpt-2", VocabError, r"lacks tokenizer\.ggml\.scores"),
    ):

        def tokens(file: Any, kind: str = kind, words: str = words) -> None:
            byte_level(file, words)
            file.kv_data[0]["tokenizer.ggml.model"].value = kind

        write(tiny_llama(), tmp_path / "model.gguf", tokens=tokens)
        with pytest.raises(error, match=message):
            registry.load_tokenizer(tmp_path)
