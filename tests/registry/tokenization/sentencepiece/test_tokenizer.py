"""Models of sentencepiece, trained here: ids and offsets beside those of that library, and damaged files."""

import io
import pickle
import random
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import ConfigError, MissingTokenizerError, UnknownOptionError, VocabError
from registry.testing.tokenizers import lines_run
from registry.tokenization.batches.encoding import Span
from registry.tokenization.chunk_cache import as_list
from registry.tokenization.sentencepiece import model_file
from registry.tokenization.sentencepiece.processor import MODEL_NAME, SentencePieceModel
from registry.tokenization.sentencepiece.tokenizer import SentencePieceTokenizer

SENTENCES = [
    "the cat sat on the mat , and the dog sat on the log .",
    "a name becomes a working model : that is what it does",
    "ein Name wird ein Modell , größer als gedacht",
    "   four spaces   stand here  and two there",
    "the end of the line\tand a tab",
]
SIZES = {"bpe": 420, "unigram": 330, "word": 40, "char": 330}
SETTINGS: dict[str, dict[str, Any]] = {
    "llama": {},  # rules, all bytes, nothing normalised
    "spaces behind": {"treat_whitespace_as_suffix": True},
    "over spaces": {"split_by_whitespace": False},
    "no prefix": {"add_dummy_prefix": False},
    "normalised": {"normalization_rule_name": "nmt_nfkc", "remove_extra_whitespaces": True},
    "no bytes": {"byte_fallback": False, "vocab_size": 120},
    "own symbols": {"user_defined_symbols": ["<sep>", "\u2581\u2581x"]},
    "own symbols over spaces": {"user_defined_symbols": ["<sep>", "\u2581of\u2581the"]},
    "unigram": {"model_type": "unigram"},
    "unigram, normalised": {
        "model_type": "unigram",
        "normalization_rule_name": "nfkc_cf",
        "remove_extra_whitespaces": True,
    },
    "words": {"model_type": "word", "byte_fallback": False},
    "characters": {"model_type": "char"},
}
CUT = ("llama", "no prefix", "no bytes", "own symbols")
"""Settings under which chunks are cached."""

each_setting = pytest.mark.parametrize("setting", SETTINGS)


class Tokenizer(SentencePieceTokenizer):
    published_classes: ClassVar[tuple[str, ...]] = ("AnyTokenizer",)


@cache
def trained(setting: str) -> bytes:
    options = {
        "model_type": "bpe",
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "hard_vocab_limit": False,
        "num_threads": 1,
        "minloglevel": 2,
        **SETTINGS[setting],
    }
    options.setdefault("vocab_size", SIZES[options["model_type"]])
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(SENTENCES * 4), model_writer=model, **options)
    return model.getvalue()


@cache
def ours(setting: str = "llama") -> Tokenizer:
    return Tokenizer(trained(setting))


@cache
def theirs(setting: str = "llama") -> Any:
    return sentencepiece.SentencePieceProcessor(model_proto=trained(setting))


# --- The ids of sentencepiece -----------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
LIKELY = st.text("the catson mdlgößü x \u2581<sp>.,\n\t中🤗ﬁ", max_size=60) | st.lists(
    st.sampled_from(["<sep>", " of the", "  x", " ", "the", "中", "\u2581"]), max_size=12
).map("".join)


@each_setting
@given(text=TEXTS | LIKELY)
def test_ids_are_those_of_sentencepiece(setting: str, text: str) -> None:
    expected = theirs(setting).encode(text)
    assert as_list(ours(setting).span_ids(Span(text))) == expected
    found = ours(setting)(text, return_offsets_mapping=True, split_special_tokens=True)
    assert found["input_ids"] == expected


def test_chunks_are_cached_where_that_is_exact() -> None:
    for setting in SETTINGS:
        assert SentencePieceModel(trained(setting)).is_cut == (setting in CUT), setting


@each_setting
@given(text=TEXTS | LIKELY)
def test_text_is_that_of_sentencepiece(setting: str, text: str) -> None:
    encoded = theirs(setting).encode(text)
    unknown = theirs(setting).unk_id()
    if unknown not in encoded:  # which we leave standing, as other special tokens
        assert ours(setting).decode(encoded) == theirs(setting).decode(encoded)


@given(TEXTS | LIKELY)
def test_every_text_is_given_back_but_for_the_sign_of_a_space(text: str) -> None:
    assert ours().decode(ours().encode(text)) == text.replace("\u2581", " ")


@pytest.mark.parametrize("legacy", [False, True])
@given(st.lists(st.sampled_from(["<s>", "</s>", " ", "the", " cat", "中", "  "]), max_size=8))
def test_texts_with_special_tokens_are_given_back(legacy: bool, parts: list[str]) -> None:
    tokenizer = Tokenizer(trained("llama"), legacy=legacy)
    text = "".join(parts)
    assert tokenizer.decode(tokenizer.encode(text)) == text


# --- Spaces that are put before texts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "tokens"),
    [
        ({}, ["\u2581the", "<s>", "t", "he"]),
        ({"legacy": True}, ["\u2581the", "<s>", "\u2581the"]),
        ({"add_prefix_space": False}, ["t", "he", "<s>", "t", "he"]),
        ({"add_prefix_space": False, "legacy": True}, ["t", "he", "<s>", "t", "he"]),
        ({"add_prefix_space": True}, ["\u2581the", "<s>", "t", "he"]),
    ],
)
def test_a_text_that_goes_on_gets_a_space_only_where_told(options: dict[str, Any], tokens: list[str]) -> None:
    tokenizer = Tokenizer(trained("llama"), **options)
    assert tokenizer.tokenize("the<s>the") == tokens
    assert tokenizer.convert_ids_to_tokens(tokenizer("the<s>the", return_offsets_mapping=True)["input_ids"]) == tokens
    assert tokenizer.decode(tokenizer.encode("the<s>the")) == "the<s>the"


def test_a_model_without_prefix_gets_none() -> None:
    assert ours("no prefix").tokenize("the") == theirs("no prefix").encode("the", out_type=str) == ["the"]


def test_special_tokens_are_those_of_the_model() -> None:
    tokenizer = ours()
    assert (tokenizer.unk_token, tokenizer.bos_token, tokenizer.eos_token) == ("<unk>", "<s>", "</s>")
    assert (tokenizer.unk_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    assert tokenizer.pad_token is None
    assert tokenizer.all_special_tokens == ["<unk>", "<s>", "</s>"]
    assert tokenizer.tokenize("<s>", split_special_tokens=True) == theirs().encode("<s>", out_type=str)
    both = Tokenizer(trained("llama"), add_bos_token=True, add_eos_token=True)
    assert both.encode("the") == [1, *theirs().encode("the"), 2]
    assert both.encode("the", "cat") == [1, *theirs().encode("the"), 2, 1, *theirs().encode("cat"), 2]
    assert both.decode(both.encode("the"), skip_special_tokens=True) == "the"


def test_further_tokens_follow_the_model() -> None:
    size = len(theirs())
    tokenizer = Tokenizer(trained("llama"), added_tokens={"<pad>": size}, pad_token="<pad>")
    assert tokenizer.tokenize("the<pad> cat") == ["\u2581the", "<pad>", *theirs().encode("cat", out_type=str)]
    batch = tokenizer(["the cat sat", "the"], padding=True)
    assert batch["input_ids"][1][-1] == size
    assert (len(tokenizer), tokenizer.vocab_size) == (size + 1, size)


# --- Offsets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("the", [(0, 3)]),
        (" the", [(0, 1), (0, 4)]),
        ("the the", [(0, 3), (3, 7)]),
        ("ö", [(0, 1), (0, 1)]),
        ("🤗the", [(0, 1)] * 5 + [(1, 2), (2, 4)]),
        ("the\n", [(0, 3), (3, 4)]),
        ("the<s>the", [(0, 3), (3, 6), (6, 7), (7, 9)]),
        ("", []),
    ],
)
def test_offsets_are_those_of_characters_which_a_piece_touches(text: str, places: list[tuple[int, int]]) -> None:
    assert ours()(text, return_offsets_mapping=True)["offset_mapping"] == places


@each_setting
@given(text=TEXTS | LIKELY)
def test_offsets_lie_in_the_text_one_behind_the_other(setting: str, text: str) -> None:
    places = ours(setting)(text, return_offsets_mapping=True)["offset_mapping"]
    assert all(0 <= start <= stop <= len(text) for start, stop in places)
    assert places == sorted(places)
    if setting == "llama":
        assert {place for span in places for place in range(*span)} == set(range(len(text)))


# --- Files ------------------------------------------------------------------------------------------------------------


def test_a_folder_is_saved_and_loaded(tmp_path: Path) -> None:
    tokenizer = Tokenizer(trained("llama"), max_len=99, legacy=True, add_bos_token=True)
    tokenizer.save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.model").read_bytes() == trained("llama")
    again = Tokenizer.from_pretrained(tmp_path)
    assert (again.max_len, again.legacy, again.add_bos_token) == (99, True, True)
    assert again.encode("the<s> cat") == tokenizer.encode("the<s> cat")
    assert Tokenizer.from_pretrained(tmp_path / "tokenizer.model").encode("the") == tokenizer.encode("the")[1:]
    assert tokenizer.save_vocabulary(tmp_path / "other.model") == str(tmp_path / "other.model")
    assert Tokenizer(tmp_path / "other.model").get_vocab() == tokenizer.get_vocab()


def test_it_is_pickled_with_its_model() -> None:
    tokenizer = Tokenizer(trained("llama"), legacy=True, max_len=7)
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.encode("the<s>the") == tokenizer.encode("the<s>the")
    assert (again.legacy, again.max_len) == (True, 7)


def test_bad_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="legacy must be true or false"):
        Tokenizer(trained("llama"), legacy="yes")
    with pytest.raises(UnknownOptionError, match="legcy"):
        Tokenizer(trained("llama"), legcy=True)


# --- Damaged files ----------------------------------------------------------------------------------------------------


def piece(text: bytes, score: float = 0.0, kind: int = 1) -> bytes:
    inner = b"\x0a" + length(text) + text + b"\x15" + struct.pack("<f", score) + b"\x18" + bytes([kind])
    return b"\x0a" + length(inner) + inner


def length(data: bytes) -> bytes:
    size = len(data)
    groups = []
    while size > 0x7F:
        groups.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*groups, size])


GOOD = piece(b"<unk>", kind=2) + piece(b"a") + piece("\u2581".encode())


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "holds no pieces"),
        (b"\0" * 100, "holds no pieces"),
        (b"<html>not found</html>", "is not a model of sentencepiece"),
        (b"\x12\x00", "holds no pieces"),
        (piece(b"a"), "refused by sentencepiece"),
        (GOOD + piece(b"a\0b"), "piece 3 has a NUL"),
        (GOOD + piece(b""), "piece 3 is empty"),
        (GOOD + piece(b"x" * 70_000), "piece 3 has 70,000 bytes, where 65,536 are taken"),
        (GOOD + piece(b"b", float("nan")), "piece 3 has a score that is not a number"),
        (GOOD + piece(b"\xff"), "is not UTF-8|refused by sentencepiece"),
        (GOOD + piece(b"a"), "refused by sentencepiece"),
        (GOOD + b"\x0a\x7f", "promises 127 bytes"),
        (GOOD + b"\x08\x01", "the number 1 stands where a message is needed"),
    ],
)
def test_a_damaged_model_is_refused(data: bytes, fault: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(data)
    for given_as in (data, tmp_path / "tokenizer.model", tmp_path):
        with pytest.raises(VocabError, match=fault) as caught:
            Tokenizer.from_pretrained(given_as) if given_as == tmp_path else Tokenizer(given_as)
        if not isinstance(given_as, bytes):
            assert "tokenizer.model" in str(caught.value)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(VocabError, match=r"gone\.model could not be read: No such file"):
        Tokenizer(tmp_path / "gone.model")


def test_a_huge_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_file, "MOST_TOKENS", 2)
    with pytest.raises(VocabError, match="piece 2 is one too many: at most 2 are taken"):
        Tokenizer(GOOD)
    monkeypatch.setattr(model_file, "MOST_BYTES", 10)
    with pytest.raises(VocabError, match="more than 10 bytes"):
        Tokenizer(GOOD)


def test_a_model_cut_short_is_refused_or_shorter() -> None:
    data = trained("llama")
    for stop in range(0, len(data), 97):
        try:
            tokenizer = Tokenizer(data[:stop])
        except VocabError:
            continue
        assert len(tokenizer) <= len(ours())


def test_a_mutated_model_is_refused_or_works(limits: Callable[..., Any]) -> None:
    rng = random.Random(0)
    refused = 0
    for _ in range(300):
        data = bytearray(trained("llama"))
        for _ in range(rng.choice((1, 1, 4))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            with limits():
                tokenizer = Tokenizer(bytes(data))
                tokenizer("the cat 中", return_offsets_mapping=True)
                tokenizer.decode(tokenizer.encode("the cat"))
        except VocabError:
            refused += 1
    assert 0 < refused < 300


# --- Any text ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["llama", "unigram"])
@pytest.mark.parametrize("text", ["\ud800", "a\udfff the", "\ude00\ud83d", " \ud800\n\udc00  x"])
def test_lone_surrogates_become_replacement_characters(setting: str, text: str) -> None:
    tokenizer = ours(setting)
    batch = tokenizer(text, return_offsets_mapping=True)
    assert batch["input_ids"] == tokenizer.encode(text)
    assert batch["offset_mapping"][-1][1] == len(text)
    assert tokenizer.decode(batch["input_ids"]) == "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)


@pytest.mark.parametrize("setting", ["llama", "unigram"])
def test_two_surrogates_are_the_character_that_they_mean(setting: str) -> None:
    tokenizer = ours(setting)
    split, joined = (
        tokenizer(text, return_offsets_mapping=True) for text in ("a \ud83d\ude00 the", "a \U0001f600 the")
    )
    assert split["input_ids"] == joined["input_ids"]
    moved = [tuple(place + (place > 2) for place in offsets) for offsets in joined["offset_mapping"]]
    assert split["offset_mapping"] == moved


@pytest.mark.parametrize(
    "make",
    [
        lambda size: "x" * size,
        lambda size: "the" * (size // 3),
        lambda size: " " * size,
        lambda size: "\u2581" * size,
        lambda size: " a" * (size // 2),
        lambda size: "中" * size,
        lambda size: "a" + "\u0301\u0323" * (size // 2),
        lambda size: "<s>" * (size // 3),
        lambda size: "<s" * (size // 2),
        lambda size: "\0" * size,
    ],
    ids=["x", "the", "spaces", "signs", "letters", "ideographs", "marks", "special", "almost special", "NUL"],
)
def test_work_is_linear_in_the_text(make: Callable[[int], str]) -> None:
    def work(size: int) -> int:
        text, tokenizer = make(size), Tokenizer(trained("llama"))
        return lines_run(lambda: (tokenizer(text), tokenizer(text, return_offsets_mapping=True)))

    assert work(20_000) < 11 * work(2_000) + 1000


def test_files_without_a_model_are_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        MissingTokenizerError, match=r"needs tokenizer\.model(.|\n)*Save the tokenizer next to the model"
    ):
        Tokenizer.from_files({"vocab.txt": tmp_path / "vocab.txt"})


@pytest.mark.parametrize("content", [b"{" + b" " * 200 + b"}", None])
def test_a_tokenizer_json_next_to_it_is_bounded_and_must_be_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    files = {MODEL_NAME: tmp_path / MODEL_NAME, "tokenizer.json": tmp_path / "tokenizer.json"}
    files[MODEL_NAME].write_bytes(trained("llama"))
    if content is not None:
        files["tokenizer.json"].write_bytes(content)
        monkeypatch.setattr("registry.tokenization.tokenizer_json.MOST_BYTES", 100)
    with pytest.raises(VocabError, match=r"more than 100 bytes|could not be read"):
        Tokenizer.from_files(files)
