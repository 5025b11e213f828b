"""The base of all tokenizers, on the smallest tokenizer there can be."""

import copy
import pickle
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import numpy as np
import pytest
import tokenizers
import torch

from registry.errors import (
    ConfigError,
    InputError,
    MissingDependencyError,
    RegistryWarning,
    UnknownAttributeError,
    UnknownOptionError,
    VocabError,
)
from registry.tokenization.added_tokens.matching import LowerCase
from registry.tokenization.added_tokens.token import AddedToken
from registry.tokenization.base import Tokenizer
from registry.tokenization.batches.batch import Batch
from registry.tokenization.batches.encoding import Offsets, Span, Template
from registry.tokenization.words import WhitespaceTokenizer

VOCAB = {token: number for number, token in enumerate(["<pad>", "<unk>", "<s>", "</s>", "a", "b", "c", "d"])}


class WordTokenizer(Tokenizer):
    """Words between spaces."""

    published_classes: ClassVar[tuple[str, ...]] = ("WordTokenizer",)
    template: ClassVar[Template[tuple[str, ...]]] = Template(("bos_token",), (), ("eos_token",))
    pad_token, unk_token, bos_token, eos_token = "<pad>", "<unk>", "<s>", "</s>"

    def span_ids(self, span: Span) -> list[int]:
        return self.convert_tokens_to_ids(span.text.split())

    def span_offsets(self, span: Span) -> Offsets:
        return [word.span() for word in WhitespaceTokenizer.chunk.finditer(span.text)]

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        return " ".join(tokens)


@pytest.fixture
def tokenizer() -> WordTokenizer:
    return WordTokenizer(VOCAB, max_len=6)


def test_tokens_and_ids_are_looked_up_both_ways(tokenizer: WordTokenizer) -> None:
    assert tokenizer.convert_tokens_to_ids("c") == 6
    assert tokenizer.convert_tokens_to_ids(["c", "zz"]) == [6, 1]
    assert tokenizer.convert_ids_to_tokens(6) == "c"
    assert tokenizer.convert_ids_to_tokens(torch.tensor([2, 4, 3]), skip_special_tokens=True) == ["a"]
    assert len(tokenizer) == tokenizer.vocab_size == 8
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.mask_token_id) == (0, 3, None)
    assert tokenizer.all_special_ids == [1, 0, 2, 3]


@pytest.mark.parametrize("number", [8, -1, 10**12])
def test_an_id_that_no_token_has_is_an_error(tokenizer: WordTokenizer, number: int) -> None:
    with pytest.raises(VocabError, match="the ids of this tokenizer are 0 to 7"):
        tokenizer.decode([4, number])


def test_the_vocabulary_is_given_as_a_copy(tokenizer: WordTokenizer) -> None:
    tokenizer.get_vocab().clear()
    assert tokenizer.get_vocab() == VOCAB


def test_a_text_gives_a_flat_row_and_a_list_gives_rows(tokenizer: WordTokenizer) -> None:
    assert tokenizer("a b") == {"input_ids": [2, 4, 5, 3], "attention_mask": [1, 1, 1, 1]}
    assert tokenizer(["a b", "c"])["input_ids"] == [[2, 4, 5, 3], [2, 6, 3]]
    assert tokenizer([])["input_ids"] == []
    assert tokenizer.encode("a b", add_special_tokens=False) == [4, 5]


def test_tensors_have_the_shape_rows_by_tokens(tokenizer: WordTokenizer) -> None:
    batch = tokenizer(["a b", "c"], padding=True, return_tensors="pt", return_offsets_mapping=True)
    assert batch.input_ids.dtype == torch.int64
    assert batch["input_ids"].tolist() == [[2, 4, 5, 3], [2, 6, 3, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert batch["offset_mapping"].shape == (2, 4, 2)
    assert tokenizer("a", return_tensors="pt")["input_ids"].shape == (1, 3)
    assert tokenizer([], return_tensors="pt")["input_ids"].shape == (0, 0)
    assert tokenizer("a", return_tensors="np")["input_ids"].tolist() == [[2, 4, 3]]
    with patch.dict(sys.modules, {"numpy": None}), pytest.raises(MissingDependencyError, match="needs the package"):
        tokenizer("a", return_tensors="np")
    assert batch.to("cpu") is batch


def test_windows_of_a_long_text_are_rows_of_their_own(tokenizer: WordTokenizer) -> None:
    batch = tokenizer(["a", "a b c d a b"], truncation=True, stride=2, return_offsets_mapping=True)
    assert batch["input_ids"] == [[2, 4, 3], [2, 4, 5, 6, 7, 3], [2, 6, 7, 4, 5, 3]]
    assert batch.text_index == (0, 1, 1)
    assert batch["offset_mapping"][2] == [(0, 0), (4, 5), (6, 7), (8, 9), (10, 11), (0, 0)]
    assert tokenizer("a", truncation=True, stride=2)["input_ids"] == [[2, 4, 3]]


def test_every_window_can_be_asked_for_without_a_stride(tokenizer: WordTokenizer) -> None:
    batch = tokenizer("a b c d a b", truncation=True, return_overflowing_tokens=True)
    assert batch["input_ids"] == [[2, 4, 5, 6, 7, 3], [2, 4, 5, 3]]
    assert batch["overflow_to_sample_mapping"] == [0, 0]
    first = tokenizer("a b c d a b", truncation=True, stride=2, return_overflowing_tokens=False)
    assert first["input_ids"] == [2, 4, 5, 6, 7, 3]


def test_a_length_without_padding_cuts_as_in_transformers(tokenizer: WordTokenizer) -> None:
    assert tokenizer("a b c d", max_length=4)["input_ids"] == [2, 4, 5, 3]
    assert len(tokenizer("a b c d", max_length=4, truncation=False)["input_ids"]) == 6
    assert len(tokenizer("a b c d", max_length=4, padding=True)["input_ids"]) == 6


def test_sides_are_options_attributes_and_keywords(tokenizer: WordTokenizer) -> None:
    texts = ["a b c d", "a"]
    right, left = [[2, 4, 5, 3], [2, 4, 3, 0]], [[2, 6, 7, 3], [0, 2, 4, 3]]
    assert tokenizer(texts, max_length=4, truncation=True, padding=True)["input_ids"] == right
    of_call = {"padding_side": "left", "truncation_side": "left"}
    assert tokenizer(texts, max_length=4, truncation=True, padding=True, **of_call)["input_ids"] == left
    tokenizer.padding_side = tokenizer.truncation_side = "left"
    assert tokenizer(texts, max_length=4, truncation=True, padding=True)["input_ids"] == left
    for made in (WordTokenizer(VOCAB, max_len=6, **of_call), pickle.loads(pickle.dumps(tokenizer))):
        assert made(texts, max_length=4, truncation=True, padding=True)["input_ids"] == left
    with pytest.raises(ConfigError, match="padding_side must be right or left, not 'lefty'"):
        tokenizer.padding_side = "lefty"
    with pytest.raises(UnknownOptionError, match=r"truncation_side='lef' is not known. Did you mean 'left'"):
        tokenizer("a", truncation_side="lef")


def test_an_attribute_that_does_not_exist_cannot_be_set(tokenizer: WordTokenizer) -> None:
    with pytest.raises(
        UnknownAttributeError, match=r"has no attribute 'pading_side'.* Did you mean 'padding_side'"
    ) as error:
        tokenizer.pading_side = "left"
    assert isinstance(error.value, AttributeError)
    with pytest.raises(AttributeError):
        pickle.loads(pickle.dumps(tokenizer)).verbose = True


def test_setting_an_option_is_as_giving_it_to_the_constructor(tokenizer: WordTokenizer) -> None:
    tokenizer.mask_token = "c"
    assert tokenizer.tokenize("acb") == ["a", "c", "b"]
    assert tokenizer.mask_token_id == 6
    tokenizer.pad_token_id = 7
    assert tokenizer.pad_token == "d"
    with pytest.raises(VocabError, match="'<new>' is declared a special token"):
        tokenizer.additional_special_tokens = ["<new>"]
    assert tokenizer.tokenize("acb") == ["a", "c", "b"]
    tokenizer.max_len = 3
    assert tokenizer("a b", truncation=True)["input_ids"] == [2, 4, 3]
    tokenizer.model_max_length = 10**30
    assert tokenizer.max_len is None
    assert tokenizer.model_max_length == int(1e30)
    with pytest.raises(ConfigError, match="max_len must be"):
        tokenizer.max_len = 0


def test_columns_follow_what_the_model_takes(tokenizer: WordTokenizer) -> None:
    tokenizer.model_input_names = ["input_ids", "token_type_ids"]
    assert tokenizer("a", "b") == {"input_ids": [2, 4, 5, 3], "token_type_ids": [0, 0, 1, 1]}
    assert list(tokenizer("a", return_attention_mask=True, return_token_type_ids=False)) == [
        "input_ids",
        "attention_mask",
    ]
    with pytest.raises(ConfigError, match="model_input_names must be input_ids, and some of"):
        tokenizer.model_input_names = ["attention_mask"]


def test_errors_name_the_text_of_a_batch(tokenizer: WordTokenizer) -> None:
    with pytest.raises(InputError, match=r"^text\[1\]: truncation='only_first' cannot fit 1 and 5 tokens into"):
        tokenizer(["a", "a"], ["b", "a b c d a"], truncation="only_first")
    with pytest.raises(InputError, match=r"^truncation='only_first' cannot"):
        tokenizer("a", "a b c d a", truncation="only_first")
    with pytest.raises(TypeError, match=r"text\[1\] must be a string, not None"):
        tokenizer(["a", None])
    with pytest.raises(TypeError, match=r"text_pair\[0\] must be a string, not 5"):
        tokenizer(["a"], [5])
    with pytest.raises(TypeError, match=r"text\[1\]\[0\] must be a string, a word, not None"):
        tokenizer([["a"], [None]], is_split_into_words=True)


def test_a_keyword_that_does_not_exist_is_refused(tokenizer: WordTokenizer) -> None:
    with pytest.raises(UnknownOptionError, match=r"no keyword 'paddin'. Did you mean 'padding'"):
        tokenizer("a", paddin=True)
    with pytest.raises(InputError, match="max_length must be a whole number above 0, not '512'"):
        tokenizer("a", max_length="512")
    with pytest.raises(InputError, match="pad_to_multiple_of must be a whole number above 0, not 0"):
        tokenizer("a", padding=True, pad_to_multiple_of=0)


def test_texts_may_be_of_any_kind_of_sequence(tokenizer: WordTokenizer) -> None:
    expected = tokenizer(["a b", "c"])
    numbers = {1: "a b", 2: "c"}
    for texts in (np.array(["a b", "c"]), ("a b", "c"), (text for text in ["a b", "c"]), numbers.values()):
        assert tokenizer(texts) == expected
    words = np.array([["a", "b"], ["c", "d"]])
    assert tokenizer(words, is_split_into_words=True)["input_ids"] == [[2, 4, 5, 3], [2, 6, 7, 3]]
    assert tokenizer(map(str.split, ["a b", "c d"]), is_split_into_words=True)["input_ids"] == [
        [2, 4, 5, 3],
        [2, 6, 7, 3],
    ]


def test_words_are_texts_of_their_own(tokenizer: WordTokenizer) -> None:
    batch = tokenizer([["a b", "c"], ["d"]], is_split_into_words=True, return_offsets_mapping=True)
    assert batch["input_ids"] == [[2, 4, 5, 6, 3], [2, 7, 3]]
    assert batch.word_ids(0) == [None, 0, 0, 1, None]
    assert batch["offset_mapping"][0] == [(0, 0), (0, 1), (2, 3), (0, 1), (0, 0)]
    pairs = tokenizer([(["a"], ["b", "c"])], is_split_into_words=True)
    assert pairs["input_ids"] == tokenizer([["a"]], [["b", "c"]], is_split_into_words=True)["input_ids"]
    assert pairs.sequence_ids(0) == [None, 0, 1, 1, None]
    assert tokenizer(["a", "b"], ["c"], is_split_into_words=True)["input_ids"] == [2, 4, 5, 6, 3]


def test_words_of_an_algorithm_that_names_none_stand_between_white_space(tokenizer: WordTokenizer) -> None:
    batch = tokenizer("a  b</s>d")
    assert batch.word_ids() == [None, 0, 1, 2, 3, None]
    assert batch.char_to_token(3) == 2
    assert batch.char_to_token(1) is None
    assert batch.token_to_chars(4) == (8, 9)
    assert batch.word_to_chars(1) == (3, 4)
    assert batch.char_to_word(4) == 2


def test_a_batch_travels_with_what_was_asked_for(tokenizer: WordTokenizer) -> None:
    batch = tokenizer(["a b", "c"], padding=True)
    assert copy.copy(batch).word_ids(1) == copy.deepcopy(batch).word_ids(1) == [None, 0, None, None]
    again = pickle.loads(pickle.dumps(batch))
    assert again == batch
    assert again.word_ids(0) == [None, 0, 1, None]  # of all rows, since one was asked for
    assert again.text_index == (0, 1)
    assert again.sequence_ids(0) == [None, 0, 0, None]
    with pytest.raises(InputError, match="pickled before its tokens, words or characters were asked for"):
        again.token_to_chars(0, 1)
    assert b"WordTokenizer" not in pickle.dumps(batch)
    with pytest.raises(InputError, match="no tokenizer returned it"):
        Batch(input_ids=[1]).word_ids()


def test_ids_of_any_kind_are_decoded(tokenizer: WordTokenizer) -> None:
    for number in (
        4,
        torch.tensor(4),
        np.int64(4),
        np.array(4),
        torch.tensor([4]),
        np.array([4]),
        [torch.tensor(4)],
        (4,),
    ):
        assert tokenizer.decode(number) == "a"
    assert tokenizer.decode(torch.tensor(2), skip_special_tokens=True) == ""
    rows = [[2, 4, 3], [5]]
    for ids in (rows, [torch.tensor(row) for row in rows], [np.array(row) for row in rows], tokenizer(["a", "b"])):
        texts = tokenizer.batch_decode(ids["input_ids"] if isinstance(ids, Batch) else ids, skip_special_tokens=True)
        assert texts == ["a", "b"]
    assert tokenizer.decode(torch.tensor([[4, 5]])) == ["a b"]
    assert tokenizer.decode([]) == ""
    assert tokenizer.batch_decode([]) == []
    for wrong in (None, "4", 4.0, [4, None], [[4], "5"], {"ids": [4]}):
        with pytest.raises(InputError, match="whole number"):
            tokenizer.decode(wrong)


def test_spaces_are_cleaned_up_on_request_and_by_option(tokenizer: WordTokenizer) -> None:
    vocab = {**VOCAB, ".": 8, "'": 9, "n": 10, "t": 11}
    made = WordTokenizer(vocab)
    ids = [4, 8, 5, 10, 9, 11]
    assert made.decode(ids) == "a . b n ' t"
    assert made.decode(ids, clean_up_tokenization_spaces=True) == "a. bn't"
    made.clean_up_tokenization_spaces = True
    assert made.decode(ids) == "a. bn't"
    assert made.decode(ids, clean_up_tokenization_spaces=False) == "a . b n ' t"


def test_special_tokens_around_ids(tokenizer: WordTokenizer) -> None:
    assert tokenizer.build_inputs_with_special_tokens([4], [5]) == tokenizer("a", "b")["input_ids"]
    assert tokenizer.num_special_tokens_to_add() == tokenizer.num_special_tokens_to_add(pair=True) == 2
    assert tokenizer.get_special_tokens_mask([4, 5], [6]) == [1, 0, 0, 0, 1]
    assert tokenizer.get_special_tokens_mask(torch.tensor([2, 4, 3]), already_has_special_tokens=True) == [1, 0, 1]


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ({"labels": [1]}, "no input_ids to pad, only labels"),
        ([{"input_ids": [1]}, {"label": 1}], "Row 1 has no 'input_ids'"),
        ({"input_ids": [[1], [2]], "labels": [1]}, "labels must have 2 rows"),
        ([[1, 2]], "a list of mappings"),
    ],
)
def test_what_cannot_be_padded_is_refused(tokenizer: WordTokenizer, wrong: object, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        tokenizer.pad(wrong)


def test_a_column_that_makes_no_tensor_is_named(tokenizer: WordTokenizer) -> None:
    rows = [{"input_ids": [4], "tags": [1]}, {"input_ids": [4, 5], "tags": [1, 2]}]
    with pytest.raises(InputError, match="tags cannot be made into a tensor"):
        tokenizer.pad(rows, return_tensors="pt")


def test_special_tokens_are_found_wherever_they_stand(tokenizer: WordTokenizer) -> None:
    assert tokenizer.tokenize("a</s>b</s>") == ["a", "</s>", "b", "</s>"]
    assert tokenizer("a </s>b", return_offsets_mapping=True)["offset_mapping"] == [
        (0, 0),
        (0, 1),
        (2, 6),
        (6, 7),
        (0, 0),
    ]
    assert tokenizer.tokenize("a </s>", split_special_tokens=True) == ["a", "</s>"]
    assert tokenizer.tokenize("a</s>", split_special_tokens=True) == ["<unk>"]
    assert WordTokenizer(VOCAB, split_special_tokens=True).tokenize("a</s>") == ["<unk>"]


def test_a_special_token_is_missed_when_it_is_needed() -> None:
    tokenizer = WordTokenizer({"<unk>": 0, "a": 1})
    assert tokenizer(["a", "a"], add_special_tokens=False, padding=True)["input_ids"] == [[1], [1]]
    with pytest.raises(VocabError, match=r"has the bos_token '<s>', which its vocabulary lacks; it is needed here"):
        tokenizer("a")
    with pytest.raises(VocabError, match="pad_token"):
        tokenizer(["a", "a a"], add_special_tokens=False, padding=True)
    with pytest.raises(VocabError, match="has no cls_token"):
        tokenizer.special_id("cls_token")
    with pytest.raises(VocabError, match="'<pad>'"):
        _ = tokenizer.pad_token_id


def test_a_row_that_the_model_will_refuse_is_warned_of_once(tokenizer: WordTokenizer) -> None:
    with pytest.warns(RegistryWarning, match="A sequence has 7 tokens, but the model takes at most 6"):
        tokenizer("a b c d a")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenizer("a b c d a")
        WordTokenizer(VOCAB, max_len=6)("a b c d a", truncation=True)
        WordTokenizer(VOCAB)("a b c d a")


def test_padding_to_an_unknown_length_is_an_error(tokenizer: WordTokenizer) -> None:
    assert len(tokenizer("a", padding="max_length")["input_ids"]) == 6
    with pytest.raises(ValueError, match="needs a max_length"):
        WordTokenizer(VOCAB)("a", padding="max_length")


def test_added_tokens_follow_the_vocabulary_and_are_recognized() -> None:
    tokenizer = WordTokenizer(VOCAB, added_tokens={"new york": 8, "[y]": 9}, additional_special_tokens=["[y]"])
    assert (len(tokenizer), tokenizer.vocab_size) == (10, 8)
    assert tokenizer.tokenize("a new yorkb [y]") == ["a", "new york", "b", "[y]"]
    assert tokenizer.decode([4, 8, 9], skip_special_tokens=True) == "a new york"
    assert tokenizer.tokenize("new york [y]b", split_special_tokens=True) == ["new york", "<unk>"]


def test_tokens_are_added_with_the_ids_that_follow(tokenizer: WordTokenizer) -> None:
    assert tokenizer.tokenize("a x<y>") == ["a", "<unk>"]
    assert tokenizer.add_tokens(["x", "b", "x"]) == 2
    assert tokenizer.add_tokens("<y>", special_tokens=True) == 1
    assert (len(tokenizer), tokenizer.vocab_size, tokenizer.max_len) == (10, 8, 6)
    assert tokenizer.tokenize("a x<y>") == ["a", "x", "<y>"]
    assert tokenizer.tokenize("abb") == ["a", "b", "b"]
    assert tokenizer.get_added_vocab() == {"<pad>": 0, "<unk>": 1, "<s>": 2, "</s>": 3, "b": 5, "x": 8, "<y>": 9}
    assert tokenizer.convert_ids_to_tokens([8, 9], skip_special_tokens=True) == ["x"]
    assert tokenizer.add_tokens(["x"]) == tokenizer.add_tokens([]) == tokenizer.add_tokens([""]) == 0
    assert tokenizer.add_tokens(AddedToken("x", single_word=True)) == 1
    assert tokenizer.tokenize("x ax") == ["x", "<unk>"]
    for made in (pickle.loads(pickle.dumps(tokenizer)), copy.copy(tokenizer)):
        assert made.added_tokens == tokenizer.added_tokens
        assert made("x ax<y>") == tokenizer("x ax<y>")


def test_special_tokens_are_named_and_added() -> None:
    tokenizer = WordTokenizer(VOCAB)
    assert tokenizer.add_special_tokens({"mask_token": "<m>", "eos_token": "d", "extra_special_tokens": ["<e>"]}) == 3
    assert (tokenizer.mask_token_id, tokenizer.eos_token_id, len(tokenizer)) == (8, 7, 10)
    assert tokenizer("a<m>ad<e>")["input_ids"] == [2, 4, 8, 4, 7, 9, 7]
    assert tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken("<f>", rstrip=True)]}) == 1
    assert (tokenizer.additional_special_tokens, tokenizer.all_special_ids[-3:]) == (("<f>",), [10, 3, 9])
    assert tokenizer("<f>  a", return_offsets_mapping=True)["offset_mapping"][1:3] == [(0, 5), (5, 6)]
    with pytest.raises(UnknownOptionError, match="Did you mean 'mask_token'"):
        tokenizer.add_special_tokens({"mask_tokn": "x"})


def test_tokens_of_other_libraries_are_taken_with_their_flags(tokenizer: WordTokenizer) -> None:
    assert tokenizer.add_tokens([tokenizers.AddedToken("x", lstrip=True), tokenizers.AddedToken("y")]) == 2
    assert tokenizer.add_tokens([tokenizers.AddedToken("z"), AddedToken("w")], special_tokens=True) == 2
    assert tokenizer.added_tokens == {
        "x": AddedToken("x", 8, special=False, normalized=True, lstrip=True),
        "y": AddedToken("y", 9, special=False, normalized=True),
        "z": AddedToken("z", 10, special=True, normalized=False),
        "w": AddedToken("w", 11, special=True, normalized=False),
    }
    with pytest.raises(TypeError, match="a string or an AddedToken, not 5"):
        tokenizer.add_tokens([5])


def test_a_token_of_which_nothing_is_left_in_normalized_text_is_refused() -> None:
    class Silent(WordTokenizer):
        @property
        def normalizer(self) -> LowerCase:
            class WithoutDots(LowerCase):
                def normalize(self, text: str) -> str:
                    return text.replace(".", "")

            return WithoutDots()

    tokenizer = Silent(VOCAB)
    with pytest.raises(VocabError, match=r"Nothing is left of the added token '\.\.'"):
        tokenizer.add_tokens("..")
    assert tokenizer.add_tokens(AddedToken("..", normalized=False)) == 1
    with pytest.raises(VocabError, match="Nothing is left"):
        Silent(VOCAB, added_tokens={"..": 8})("a")


@pytest.mark.parametrize(
    ("added", "fault"),
    [
        ({"a": 9}, "'a' is added with the id 9, but has 4"),
        ({"x": 9}, "no token has the id 8"),
        ({"x": 8, "y": 8}, "'x' and 'y' share the id 8"),
        ({"x": 4}, "'a' and 'x' share the id 4"),
        ([AddedToken("x")], "'x' is added without an id"),
    ],
)
def test_contradictory_added_tokens_are_refused(added: Any, fault: str) -> None:
    with pytest.raises(VocabError, match=fault):
        WordTokenizer(VOCAB, added_tokens=added)


def test_a_special_token_without_an_id_is_refused() -> None:
    with pytest.raises(VocabError, match="'<x>' is declared a special token, but has no id"):
        WordTokenizer(VOCAB, additional_special_tokens=["<x>"])


def test_an_unknown_option_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(UnknownOptionError, match=r"no option 'maxlen'. Did you mean 'max_len'"):
        WordTokenizer(VOCAB, maxlen=5)
    with pytest.raises(UnknownOptionError, match="Did you mean 'max_len'"):
        WordTokenizer.from_files({"vocab.txt": tmp_path / "no such file"}, maxlen=5)


@pytest.mark.parametrize(
    "option", [{"max_len": 0}, {"max_len": True}, {"max_len": "5"}, {"pad_token": 5}, {"split_special_tokens": None}]
)
def test_an_impossible_value_is_refused_by_name(option: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(option))} must be"):
        WordTokenizer(VOCAB, **option)


def test_copies_and_pickles_are_equal_and_carry_no_cache(tokenizer: WordTokenizer) -> None:
    odd = WordTokenizer(VOCAB, max_len=9, added_tokens={"x": 8}, eos_token="d")
    for made in (pickle.loads(pickle.dumps(odd)), copy.deepcopy(odd), copy.copy(odd)):
        assert made("a x") == odd("a x")
        assert made.get_vocab() == odd.get_vocab()
        assert (made.max_len, made.eos_token, made.vocab_size) == (9, "d", 8)


def test_a_span_tells_whether_a_token_stands_before_it() -> None:
    spans: list[Span] = []

    class Recorder(WordTokenizer):
        def span_ids(self, span: Span) -> list[int]:
            spans.append(span)
            return super().span_ids(span)

    Recorder(VOCAB).tokenize("a</s>b</s>")
    assert spans == [Span("a"), Span("b", follows_token=True)]
