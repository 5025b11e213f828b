"""Llama's tokenizers, on a model that is trained here: ids beside sentencepiece, ``tokenizers`` and transformers."""

import io
import json
import pickle
import random
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken as TheirToken
from tokenizers import Regex as Pattern
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import registry
from registry.errors import ConfigError, MissingTokenizerError, UnknownOptionError, VocabError
from registry.tokenization.added_tokens.token import AddedToken
from registry_llama.byte_level import LLAMA_3, QWEN
from registry_llama.config import LlamaConfig
from registry_llama.modeling import LlamaForCausalLM
from registry_llama.tokenization import LlamaTokenizer
from training import SENTENCES, trained

SPECIAL = ["<|begin|>", "<|end|>"]
PREPEND = {
    "type": "Sequence",
    "normalizers": [
        {"type": "Prepend", "prepend": "\u2581"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
    ],
}
PIPELINES = ("first", "always", "never", "prepended", "release", "digits apart", "llama 3", "qwen")
EXACT = ("prepended", "never", "release", "digits apart", "llama 3")
"""Pipelines that give every text back; the others take a space at the start of a text for the one they put there."""

each_pipeline = pytest.mark.parametrize("pipeline", PIPELINES)


# --- References -------------------------------------------------------------------------------------------------------


@cache
def converted() -> dict[str, Any]:
    """The ``tokenizer.json`` that transformers makes of the model of pieces."""
    folder = io.BytesIO(trained())
    processor = sentencepiece.SentencePieceProcessor(model_proto=folder.getvalue())
    vocab = {processor.id_to_piece(number): number for number in range(len(processor))}
    scores = {piece: processor.get_score(number) for piece, number in vocab.items()}
    merges = transformers.tokenization_utils_base.generate_merges(vocab, scores)
    theirs = transformers.LlamaTokenizer(vocab=vocab, merges=merges, add_bos_token=True)
    keys: dict[str, Any] = json.loads(theirs._tokenizer.to_str())
    return keys


@cache
def trained_on_bytes(pipeline: str) -> dict[str, Any]:
    """A ``tokenizer.json`` of byte-level rules, as Llama 3 and SmolLM2 have it."""
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pipeline not in ("llama 3", "qwen"))
    before = {
        "release": [],
        "digits apart": [pre_tokenizers.Digits(individual_digits=True)],
        "llama 3": [pre_tokenizers.Split(Pattern(LLAMA_3), "isolated")],
        "qwen": [pre_tokenizers.Split(Pattern(QWEN), "isolated")],
    }[pipeline]
    tokenizer = Tokenizer(models.BPE(ignore_merges=pipeline == "llama 3"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*before, level]) if before else level
    tokenizer.normalizer = normalizers.NFC() if pipeline == "qwen" else None
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES * 4, trainer)
    if pipeline == "llama 3":
        tokenizer.post_processor = processors.Sequence(
            [
                processors.ByteLevel(trim_offsets=False),
                processors.TemplateProcessing(
                    single="<|begin|> $A", pair="<|begin|> $A <|begin|>:1 $B:1", special_tokens=[("<|begin|>", 0)]
                ),
            ]
        )
    keys: dict[str, Any] = json.loads(tokenizer.to_str())
    return keys


def described(pipeline: str) -> dict[str, Any]:
    if pipeline in ("release", "digits apart", "llama 3", "qwen"):
        return trained_on_bytes(pipeline)
    keys = converted()
    if pipeline == "prepended":
        return {**keys, "normalizer": PREPEND, "pre_tokenizer": None}
    return {**keys, "pre_tokenizer": {**keys["pre_tokenizer"], "prepend_scheme": pipeline}}


@cache
def theirs(pipeline: str) -> Any:
    return Tokenizer.from_str(json.dumps(described(pipeline)))


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each pipeline, with nothing but its ``tokenizer.json``, and one with the ``tokenizer.model``."""
    found = {}
    for pipeline in PIPELINES:
        found[pipeline] = tmp_path_factory.mktemp("tokenizer")
        (found[pipeline] / "tokenizer.json").write_text(json.dumps(described(pipeline)), encoding="utf-8")
    found["model"] = tmp_path_factory.mktemp("tokenizer")
    (found["model"] / "tokenizer.model").write_bytes(trained())
    return found


@pytest.fixture(scope="session")
def ours(folders: dict[str, Path]) -> dict[str, LlamaTokenizer]:
    return {name: LlamaTokenizer.from_pretrained(folder) for name, folder in folders.items()}


# --- Ids and places of a tokenizer.json -------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cn")), max_size=30)
"""Of characters that were assigned before either library was built: each knows another edition of Unicode."""
LIKELY = st.lists(
    st.sampled_from(
        [" ", "  ", "\n", "\r\n", "\t", " the", "cat", "'s", "'S", "'\u017ft", "1999", "\u00bd", "\u2581", "中文", "é",
         "e\u0301", "\u1100\u1161",
         "🤗", ".", "...", "!?", "<s>", "<|end|>", "\x1c", "\x85", "\xa0", "\0"]
    ),
    max_size=12,
).map("".join)  # fmt: skip


@each_pipeline
@given(text=TEXTS | LIKELY)
def test_ids_and_offsets_are_those_of_the_library_tokenizers(
    ours: dict[str, LlamaTokenizer], pipeline: str, text: str
) -> None:
    expected = theirs(pipeline).encode(text)
    found = ours[pipeline](text, return_offsets_mapping=True)
    assert found["input_ids"] == expected.ids == ours[pipeline].encode(text)
    if pipeline not in ("release", "digits apart", "llama 3"):  # where theirs may leave out the space before a word
        assert found["offset_mapping"] == expected.offsets


@each_pipeline
@given(text=TEXTS | LIKELY)
def test_text_is_given_back(ours: dict[str, LlamaTokenizer], pipeline: str, text: str) -> None:
    again = ours[pipeline].decode(ours[pipeline].encode(text, add_special_tokens=False))
    text = unicodedata.normalize("NFC", text) if pipeline == "qwen" else text
    spaces = text.replace("\u2581", " ") if pipeline in ("first", "always", "never", "prepended") else text
    assert again == spaces if pipeline in EXACT else again.replace(" ", "") == spaces.replace(" ", "")


@each_pipeline
def test_what_we_save_is_the_same_tokenizer_here_and_in_transformers(
    ours: dict[str, LlamaTokenizer], pipeline: str, tmp_path: Path
) -> None:
    ours[pipeline].save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    again = LlamaTokenizer.from_pretrained(tmp_path)
    loaded = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
    copied = pickle.loads(pickle.dumps(ours[pipeline]))
    for text in (*SENTENCES, " é1999 <s>the</s> 中", "<|end|>the"):
        expected = theirs(pipeline).encode(text).ids
        assert again.encode(text) == copied.encode(text) == loaded(text)["input_ids"] == expected
    assert again.get_vocab() == ours[pipeline].get_vocab()


@pytest.mark.parametrize("pipeline", ["first", "prepended"])
def test_a_tokenizer_json_next_to_the_model_is_saved_with_it(pipeline: str, tmp_path: Path) -> None:
    published, saved = tmp_path / "published", tmp_path / "saved"
    published.mkdir()
    (published / "tokenizer.model").write_bytes(trained())
    (published / "tokenizer.json").write_text(json.dumps(described(pipeline)), encoding="utf-8")
    keys = {"tokenizer_class": "LlamaTokenizer", "legacy": pipeline == "prepended", "add_bos_token": True}
    for name, content in {"config.json": {"model_type": "llama"}, "tokenizer_config.json": keys}.items():
        (published / name).write_text(json.dumps(content))
    tokenizer = pickle.loads(pickle.dumps(LlamaTokenizer.from_pretrained(published)))
    tokenizer.save_pretrained(saved)
    (saved / "config.json").write_text(json.dumps({"model_type": "llama"}))
    assert (saved / "tokenizer.json").read_bytes() == (published / "tokenizer.json").read_bytes()
    texts = (*SENTENCES[:20], " é1999 <s>the</s> 中", "the cat<s> the")
    before, after = (transformers.AutoTokenizer.from_pretrained(folder) for folder in (published, saved))
    assert [after(text)["input_ids"] for text in texts] == [before(text)["input_ids"] for text in texts]
    assert before.is_fast

    tokenizer.add_tokens(["<|end|>"], special_tokens=True)
    before.add_tokens(["<|end|>"], special_tokens=True)
    tokenizer.save_pretrained(saved)
    after = transformers.AutoTokenizer.from_pretrained(saved)
    assert after("the cat<|end|> the")["input_ids"] == before("the cat<|end|> the")["input_ids"]

    tokenizer.add_bos_token = False
    tokenizer.save_pretrained(saved)
    assert not (saved / "tokenizer.json").exists(), "it would still begin texts with that token"


@pytest.mark.parametrize("pipeline", [*PIPELINES, "model"])
def test_added_tokens_of_every_flag_are_found_as_tokenizers_finds_them(
    folders: dict[str, Path], pipeline: str, tmp_path: Path
) -> None:
    rng = random.Random(pipeline)
    for number in range(6):
        tokenizer, reference = LlamaTokenizer.from_pretrained(folders[pipeline]), of_transformers(folders, pipeline)
        for content in rng.sample(ADDED, rng.randint(1, 5)):
            flags = {name: rng.random() < 0.4 for name in ("normalized", "lstrip", "rstrip", "single_word")}
            special = rng.random() < 0.3
            (reference.add_special_tokens if special else reference.add_tokens)([TheirToken(content, **flags)])
            tokenizer.add_tokens(AddedToken(content, **flags), special_tokens=special)
        tokenizer.save_pretrained(tmp_path / str(number))
        again = LlamaTokenizer.from_pretrained(tmp_path / str(number))
        assert again.added_tokens == tokenizer.added_tokens
        for _ in range(10):
            text = "a" + "".join(rng.choices([*ADDED, " ", "  ", "\t", "a", "cat", "1", ".", "é", "<s>", "THE"], k=9))
            reference.encode_special_tokens = split = rng.random() < 0.3
            expected = reference.encode(text)
            for one in (tokenizer, again):
                found = one(text, return_offsets_mapping=True, split_special_tokens=split)
                assert found["input_ids"] == expected.ids, (tokenizer.added_tokens, text)
                if pipeline not in ("release", "digits apart", "llama 3"):
                    assert found["offset_mapping"] == expected.offsets, (tokenizer.added_tokens, text)


ADDED = ["<x>", "the", "cat ", " a", "new york", "\u2581the", "<s>", "é", " ", "A1"]


def of_transformers(folders: dict[str, Path], pipeline: str) -> Any:
    """The reference for a pipeline, or for the ``tokenizer.model``, to which tokens may be added."""
    if pipeline != "model":
        return Tokenizer.from_str(json.dumps(described(pipeline)))
    return transformers.LlamaTokenizer.from_pretrained(folders["model"], legacy=False, add_bos_token=True)._tokenizer


def test_added_tokens_of_a_tokenizer_json_count_beside_a_model(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(trained())
    tokens = [{"id": len(LlamaTokenizer(trained())), "content": "<x>", "rstrip": True, "special": True}]
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": tokens}))
    tokenizer = LlamaTokenizer.from_pretrained(tmp_path)
    first, second, *others = tokenizer.tokenize("the<x>  the")
    assert (first, second, "".join(others)) == ("\u2581the", "<x>", "the")


# --- The tokenizer.model ----------------------------------------------------------------------------------------------


@given(TEXTS | LIKELY)
def test_ids_are_those_of_sentencepiece(text: str) -> None:
    expected = sentencepiece.SentencePieceProcessor(model_proto=trained()).encode(text)
    tokenizer = LlamaTokenizer(trained(), split_special_tokens=True)
    assert tokenizer.encode(text) == [1, *expected]
    assert tokenizer.encode(text, add_special_tokens=False) == expected


def test_the_model_is_preferred_and_its_folder_complete(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(trained())
    (tmp_path / "tokenizer.json").write_text("{}")
    tokenizer = LlamaTokenizer.from_pretrained(tmp_path)
    assert tokenizer.encode("  the cat") == LlamaTokenizer.from_pretrained(folders["model"]).encode("  the cat")
    tokens = tokenizer.tokenize("<s>the</s>")
    assert (tokens[0], tokens[-1]) == ("<s>", "</s>")


def test_a_folder_of_weights_and_tokenizer_is_whole(tmp_path: Path) -> None:
    sizes = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 1, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=420, **sizes)).eval()
    registry.save(model, tmp_path / "m", tokenizer=LlamaTokenizer(trained(), max_len=64))
    loaded = registry.load(tmp_path / "m")
    assert isinstance(loaded.tokenizer, LlamaTokenizer)
    batch = loaded.tokenizer("the cat", return_tensors="pt")
    written = loaded.model.generate(**batch, max_new_tokens=4, eos_token_id=[])
    assert loaded.tokenizer.decode(written[0], skip_special_tokens=True).startswith("the cat")
    small = LlamaForCausalLM(LlamaConfig(vocab_size=100, **sizes))
    with pytest.raises(VocabError, match="does not belong to the model"):
        registry.save(small, tmp_path / "n", tokenizer=loaded.tokenizer)
    registry.save(small, tmp_path / "n")
    loaded.tokenizer.save_pretrained(tmp_path / "n")
    with pytest.raises(VocabError, match="does not belong to the model"):
        registry.load(tmp_path / "n")


@pytest.mark.parametrize("legacy", [False, True])
def test_options_of_published_files_are_taken(folders: dict[str, Path], tmp_path: Path, legacy: bool) -> None:
    (tmp_path / "tokenizer.model").write_bytes(trained())
    marks = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False, "special": True}
    keys = {
        "add_bos_token": True,
        "add_eos_token": True,
        "added_tokens_decoder": {str(n): {"content": t, **marks} for n, t in enumerate(("<unk>", "<s>", "</s>"))},
        "bos_token": {"__type": "AddedToken", "content": "<s>", **marks},
        "eos_token": "</s>",
        "legacy": legacy,
        "model_max_length": 2048,
        "pad_token": "</s>",
        "padding_side": "right",
        "sp_model_kwargs": {},
        "tokenizer_class": "LlamaTokenizer",
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(keys))
    tokenizer = LlamaTokenizer.from_pretrained(tmp_path)
    assert (tokenizer.max_len, tokenizer.pad_token_id, tokenizer.legacy) == (2048, 2, legacy)
    plain = LlamaTokenizer(trained(), add_bos_token=False)
    assert tokenizer.encode("the") == [1, *plain.encode("the"), 2]
    after = plain.encode("the") if legacy else plain.encode("<s>the")[1:]
    assert tokenizer.encode("<s>the", add_special_tokens=False) == [1, *after]


# --- Natural text -----------------------------------------------------------------------------------------------------


EVERY = 8
"""Of so many lines of a text one is compared: all of them take a quarter of a minute."""


@pytest.mark.parity
def test_natural_text_has_the_ids_of_sentencepiece_and_of_transformers(texts: dict[str, str], tmp_path: Path) -> None:
    texts = {name: "\n".join(text.split("\n")[::EVERY]) for name, text in texts.items()}
    lines = tuple(line for text in texts.values() for line in text.split("\n") if line)
    model = trained(lines, 8000)
    (tmp_path / "tokenizer.model").write_bytes(model)
    keys = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "legacy": False}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(keys))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    tokenizer = LlamaTokenizer.from_pretrained(tmp_path)
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    reference = transformers.LlamaTokenizer.from_pretrained(tmp_path)
    for text in texts.values():
        found = tokenizer(text, return_offsets_mapping=True)
        expected = reference(text, return_offsets_mapping=True)
        assert found["input_ids"] == tokenizer.encode(text) == [1, *pieces.encode(text)] == expected["input_ids"]
        assert found["offset_mapping"] == expected["offset_mapping"]
        assert tokenizer.decode(found["input_ids"], skip_special_tokens=True) == text.replace("\u2581", " ")
    found, expected = tokenizer(lines)["input_ids"], reference(list(lines))["input_ids"]
    assert found == [[1, *ids] for ids in pieces.encode(list(lines))]
    for ids, other, line in zip(found, expected, lines, strict=True):
        assert ids == other or line.startswith((" ", "\u2581"))  # of which theirs keeps one less
    reference.save_pretrained(tmp_path / "saved")
    assert LlamaTokenizer.from_pretrained(tmp_path / "saved")(lines)["input_ids"] == expected


@pytest.mark.parametrize(
    "keys",
    [
        {"tokenizer_class": "LlamaTokenizer"},
        {"tokenizer_class": "PreTrainedTokenizerFast"},
        {},
        {"tokenizer_class": "LlamaTokenizer", "padding_side": "right", "truncation_side": "left"},
    ],
    ids=str,
)
def test_batches_are_padded_and_cut_as_by_the_published_class(keys: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(described("first")))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"pad_token": "<unk>", **keys}))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    ours, reference = LlamaTokenizer.from_pretrained(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = ["the cat sat on the mat", "the"]
    call = {"padding": True, "truncation": True, "max_length": 8, "return_special_tokens_mask": True}
    assert dict(ours(texts, **call)) == dict(reference(texts, **call))
    words = {"is_split_into_words": True, "return_offsets_mapping": True}
    found, expected = ours(["the", "cats"], **words), reference(["the", "cats"], **words)
    assert dict(found) == dict(expected)
    assert found.word_ids() == expected.word_ids()
    assert ours(texts[0]).word_ids() == reference(texts[0]).word_ids()


# --- Damaged files ----------------------------------------------------------------------------------------------------


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    for data, fault in (
        (b"", "holds no pieces"),
        (trained()[:-100], "not a model of sentencepiece|refused"),
        (b"<html>", "not a model"),
    ):
        (tmp_path / "tokenizer.model").write_bytes(data)
        with pytest.raises(VocabError, match=fault):
            LlamaTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("pipeline", "changes", "fault"),
    [
        ("first", {"normalizer": {"type": "NFC"}}, "normalizer .* is not supported"),
        (
            "first",
            {"pre_tokenizer": {"type": "Metaspace", "replacement": "_", "split": False}},
            "is not supported",
        ),
        ("first", {"pre_tokenizer": None}, "is not supported"),
        ("first", {"post_processor": {"type": "BertProcessing"}}, "post_processor puts texts between tokens"),
        ("first", {"model": {"type": "Unigram", "vocab": {}}}, r"model\.type is 'Unigram'"),
        ("llama 3", {"normalizer": {"type": "NFKC"}}, "is not supported"),
        ("llama 3", {"pre_tokenizer": {"type": "Whitespace"}}, "is not supported"),
        ("llama 3", {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}}, "is not supported"),
        (
            "llama 3",
            {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"}},
            "is not supported",
        ),
    ],
)
def test_a_tokenizer_json_of_another_kind_is_refused(
    pipeline: str, changes: dict[str, Any], fault: str, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({**described(pipeline), **changes}))
    with pytest.raises(VocabError, match=fault) as caught:
        LlamaTokenizer.from_pretrained(tmp_path)
    assert "tokenizer.json" in str(caught.value)


def test_a_vocabulary_without_a_byte_is_refused(tmp_path: Path) -> None:
    keys = described("first")
    vocab = {("x" if piece == "<0x41>" else piece): number for piece, number in keys["model"]["vocab"].items()}
    (tmp_path / "tokenizer.json").write_text(json.dumps({**keys, "model": {**keys["model"], "vocab": vocab}}))
    with pytest.raises(VocabError, match="lacks <0x41>"):
        LlamaTokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("pipeline", ["first", "llama 3"])
@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"vocab": {"a": [1]}}, "The vocabulary must map"),
        ({"vocab": {"a": 1}}, "no token has the id 0"),
        ({"vocab": []}, r"model\.vocab must map tokens"),
        ({"merges": {"a": "b"}}, r"model\.merges must be a list"),
        ({"merges": ["a b c"]}, "is not a rule of two symbols"),
        ({"merges": [["zz", "q"]]}, "which is not in the vocabulary"),
        ({"unk_token": ["a"]}, r"model\.unk_token must be a token"),
    ],
)
def test_damaged_rules_and_vocabularies_are_refused(
    pipeline: str, changes: dict[str, Any], fault: str, tmp_path: Path
) -> None:
    keys = described(pipeline)
    (tmp_path / "tokenizer.json").write_text(json.dumps({**keys, "model": {**keys["model"], **changes}}))
    with pytest.raises(VocabError, match=fault) as caught:
        LlamaTokenizer.from_pretrained(tmp_path)
    assert "tokenizer.json" in str(caught.value)


def test_what_is_missing_or_unknown_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingTokenizerError, match=r"needs tokenizer\.model or tokenizer\.json"):
        LlamaTokenizer.from_pretrained(tmp_path)
    with pytest.raises(UnknownOptionError, match="add_bos"):
        LlamaTokenizer(trained(), add_bos=True)
    with pytest.raises(ConfigError, match="add_bos_token must be true or false"):
        LlamaTokenizer(trained(), add_bos_token=1)


@each_pipeline
@pytest.mark.parametrize("text", ["\ud800", "a\udfff the", "\ude00\ud83d"])
def test_lone_surrogates_become_replacement_characters(
    ours: dict[str, LlamaTokenizer], pipeline: str, text: str
) -> None:
    batch = ours[pipeline](text, return_offsets_mapping=True)
    assert batch["input_ids"] == ours[pipeline].encode(text)
    expected = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    assert ours[pipeline].decode(batch["input_ids"], skip_special_tokens=True) == expected
