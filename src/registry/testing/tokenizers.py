"""Checks of the tokenizer: it is what its files say, and takes any text."""

import pickle
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.testing.suite import Suite, needs
from registry.tokenization.load import check_fit
from registry.tokenization.options import SPECIAL_TOKENS

if TYPE_CHECKING:
    from registry.tokenization.base import Tokenizer

ODD_TEXTS = {
    "a lone surrogate": "a\ud800b",
    "a NUL": "a\x00b",
    "control characters": "a\x01\x07\x1b\x7fb",
    "all kinds of line ends": "a\nb\r\nc\rd\u2028e\u2029f\x85g\x0bh\x0ci",
    "blanks of all widths": "a \t\u00a0\u2003\u200b\u3000b",
    "a byte order mark": "\ufeffa",
    "marks without a letter": "\u0301\u0308\u20dd",
    "stacked marks": "e" + "\u0301" * 50,
    "right to left": "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u202ea\u202c",
    "Chinese without spaces": "\u4f60\u597d\u4e16\u754c",
    "a family of emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "a flag": "\U0001f1e9\U0001f1ea",
    "private use": "\ue000\U000f0000",
    "no character yet": "\u0378\U000e0fff",
    "a letter that grows in lower case": "\u0130\u1e9e",
    "what replaces what cannot be read": "\ufffd",
    "the last character": "\U0010ffff",
}
"""Texts that have broken tokenizers, by what is odd about them."""

LONG, LONGER = 4_000, 32_000
"""Characters of a word, and of one eight times as long."""
MOST_SECONDS = 10
"""Time of the processor for the longer one, in which no text of that length is: a limit for regular expressions."""


ALPHABET = st.characters(exclude_categories=["Cs"])
"""That of hypothesis by default, which it finds by encoding each character: 1.7 seconds in each new directory."""


@pytest.mark.filterwarnings("ignore::registry.errors.RegistryWarning")  # of long rows, among others
class TokenizerSuite(Suite):
    """Text to ids and back, on ordinary, empty, long and odd texts."""

    # --- There and back

    @needs("tokenizer")
    def test_ids_survive_decoding(self, registry_tokenizer: "Tokenizer") -> None:
        """The text of ids has the same ids."""
        for text in self.texts:
            ids = registry_tokenizer.encode(text, add_special_tokens=False)
            assert ids, f"{text!r} has no tokens"
            decoded = registry_tokenizer.decode(ids)
            assert registry_tokenizer.encode(decoded, add_special_tokens=False) == ids, f"{text!r} becomes {decoded!r}"

    @needs("tokenizer", "exact-text")
    def test_decoding_gives_back_the_very_text(self, registry_tokenizer: "Tokenizer") -> None:
        """Character by character."""
        for text in self.texts:
            assert registry_tokenizer.decode(registry_tokenizer.encode(text, add_special_tokens=False)) == text

    @needs("tokenizer")
    def test_tokens_and_ids_are_two_names_of_one_thing(self, registry_tokenizer: "Tokenizer") -> None:
        """``tokenize`` then ``convert_tokens_to_ids`` is ``encode``; ids count from 0 without gaps."""
        vocab = registry_tokenizer.get_vocab()
        assert sorted(vocab.values()) == list(range(len(registry_tokenizer)))
        for text in self.texts:
            tokens = registry_tokenizer.tokenize(text)
            ids = registry_tokenizer.encode(text, add_special_tokens=False)
            assert registry_tokenizer.convert_tokens_to_ids(tokens) == ids
            assert registry_tokenizer.convert_ids_to_tokens(ids) == tokens

    @needs("tokenizer")
    def test_it_survives_saving_and_pickling(self, registry_tokenizer: "Tokenizer", registry_directory: Path) -> None:
        """A saved directory and a pickle give the same vocabulary, options and ids."""
        registry_tokenizer.save_pretrained(registry_directory)
        copies = (
            type(registry_tokenizer).from_pretrained(registry_directory),
            pickle.loads(pickle.dumps(registry_tokenizer)),  # noqa: S301  # made on the line itself
        )
        for copy in copies:
            assert copy.get_vocab() == registry_tokenizer.get_vocab()
            for option in registry_tokenizer.options:
                assert getattr(copy, option) == getattr(registry_tokenizer, option), option
            for text in (*self.texts, *ODD_TEXTS.values()):
                assert copy.encode(text) == registry_tokenizer.encode(text), text

    @needs("tokenizer")
    def test_its_files_are_those_that_the_plugin_declares(
        self, registry_tokenizer: "Tokenizer", registry_directory: Path
    ) -> None:
        """``TokenizerSpec.files`` names what is written, so that a card which lists these files can be loaded."""
        registry_tokenizer.save_pretrained(registry_directory)
        declared = set(self.tokenizer_spec().files.values())
        written = {path.name for path in registry_directory.iterdir()} - {"tokenizer_config.json"}
        assert written & declared, f"{sorted(written)} is written, and {sorted(declared)} declared"

    # --- Special tokens

    @needs("tokenizer")
    def test_special_tokens_have_ids(self, registry_tokenizer: "Tokenizer") -> None:
        """Each that is named has one, and is skipped in a decoded text on request."""
        for name, token, number in _special(registry_tokenizer):
            assert getattr(registry_tokenizer, f"{name}_id") == number
            assert number in registry_tokenizer.all_special_ids
            assert token not in registry_tokenizer.decode([number], skip_special_tokens=True)

    @needs("tokenizer", "special-tokens")
    def test_special_tokens_are_recognised_wherever_they_stand(self, registry_tokenizer: "Tokenizer") -> None:
        """Between two words without a space, each is one id; where that is not wanted, it is ordinary text."""
        for name, token, number in _special(registry_tokenizer):
            text = f"{self.texts[0]}{token}{self.texts[0]}"
            assert number in registry_tokenizer.encode(text), f"{name} {token!r} is not found in {text!r}"
            split = registry_tokenizer(text, split_special_tokens=True, add_special_tokens=False)["input_ids"]
            whole = registry_tokenizer.encode(text, add_special_tokens=False)
            assert split != whole, f"{name} {token!r} is found although split_special_tokens=True"

    @needs("tokenizer")
    def test_special_tokens_are_added_only_when_wanted(self, registry_tokenizer: "Tokenizer") -> None:
        """What stands around a text are special tokens, and the text's own ids lie between them unchanged."""
        for text in ("", *self.texts):
            bare = registry_tokenizer.encode(text, add_special_tokens=False)
            whole = registry_tokenizer.encode(text)
            starts = [start for start in range(len(whole) + 1) if whole[start : start + len(bare)] == bare]
            assert starts, f"{text!r}: {bare} is not inside {whole}"
            added = whole[: starts[0]] + whole[starts[0] + len(bare) :]
            assert set(added) <= set(registry_tokenizer.all_special_ids)

    # --- Batches

    @needs("tokenizer", "offsets")
    def test_offsets_point_into_the_text(self, registry_tokenizer: "Tokenizer") -> None:
        """They lie inside the text and in its order, ids are the same as without, and every letter is in one."""
        for text in (*self.texts, *ODD_TEXTS.values()):
            batch = registry_tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
            assert batch["input_ids"] == registry_tokenizer.encode(text, add_special_tokens=False), text
            spans = batch["offset_mapping"]
            assert all(0 <= start <= stop <= len(text) for start, stop in spans), f"{text!r}: {spans}"
            assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairwise(spans)), f"{text!r}: {spans}"
        for text in self.texts:
            spans = registry_tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
            covered = {place for start, stop in spans for place in range(start, stop)}
            assert not [text[i] for i in range(len(text)) if i not in covered and not text[i].isspace()], (
                f"{text!r}: {spans}"
            )

    @needs("tokenizer")
    def test_a_batch_has_what_each_text_has_alone(self, registry_tokenizer: "Tokenizer") -> None:
        """Rows of a padded batch, where the mask is 1, are the texts' own ids; truncation keeps to the limit."""
        texts = [*self.texts, " ".join(self.texts), ""]
        if registry_tokenizer.pad_token is not None:
            batch = registry_tokenizer(texts, padding=True)
            assert len({len(row) for row in batch["input_ids"]}) == 1
            for row, mask, text in zip(batch["input_ids"], batch["attention_mask"], texts, strict=True):
                ids = [number for number, one in zip(row, mask, strict=True) if one]
                assert ids == registry_tokenizer.encode(text), text
        room = len(registry_tokenizer.encode("")) + 1
        for row in registry_tokenizer(texts, truncation=True, max_length=room)["input_ids"]:
            assert len(row) <= room

    @needs("tokenizer")
    def test_tensors_hold_the_ids_of_lists(self, registry_tokenizer: "Tokenizer") -> None:
        """A text has the same ids in a tensor as in a list."""
        for text in (*self.texts, *ODD_TEXTS.values(), ""):
            ids = registry_tokenizer([text], return_tensors="pt")["input_ids"]
            assert ids.tolist() == [registry_tokenizer.encode(text)], text

    # --- Any text

    @needs("tokenizer")
    def test_an_empty_text_has_no_tokens_of_its_own(self, registry_tokenizer: "Tokenizer") -> None:
        """Nothing but special tokens, alone and in a batch."""
        assert registry_tokenizer.encode("", add_special_tokens=False) == []
        assert registry_tokenizer.tokenize("") == []
        assert registry_tokenizer.decode([]) == ""
        assert registry_tokenizer([""])["input_ids"] == [registry_tokenizer.encode("")]

    @needs("tokenizer")
    @pytest.mark.parametrize("oddity", ODD_TEXTS)
    def test_odd_texts_are_taken(self, registry_tokenizer: "Tokenizer", oddity: str) -> None:
        """No exception; every id has a token, and the tokens can be joined to a text."""
        _take(registry_tokenizer, ODD_TEXTS[oddity])

    @needs("tokenizer")
    @given(text=st.text(ALPHABET))
    @settings(
        max_examples=50,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.differing_executors],  # a method that several subclasses inherit
    )
    def test_any_text_is_taken(self, registry_tokenizer: "Tokenizer", text: str) -> None:
        """Whatever hypothesis thinks of."""
        _take(registry_tokenizer, text)

    @needs("tokenizer")
    def test_very_long_words_and_texts_take_linear_time(self, registry_tokenizer: "Tokenizer") -> None:
        """A word without a space must not take the square of its length: files have such words, and so do attackers."""
        for unit in ("a", "\u4f60", f"{self.texts[0]} "):
            texts = [unit * (size // len(unit)) for size in (LONG, LONGER)]
            start = process_time()
            registry_tokenizer.encode(texts[1] + unit)
            assert process_time() - start < MOST_SECONDS
            short, long = (lines_run(partial(registry_tokenizer.encode, text)) for text in texts)
            assert long < 2 * LONGER / LONG * short + 1000, (
                f"{LONGER / LONG:g} times the text took {long:,} lines of Python in place of {short:,}"
            )

    @needs("tokenizer")
    def test_it_fits_the_tiny_model(self, registry_tokenizer: "Tokenizer") -> None:
        """No id lies beyond the embedding of the tiny configuration."""
        check_fit(registry_tokenizer, self.make_config())


def _special(tokenizer: Any) -> Iterator[tuple[str, str, int]]:
    """The special tokens which the vocabulary has: role, token, id."""
    vocab = tokenizer.get_vocab()
    for name in SPECIAL_TOKENS:
        token = getattr(tokenizer, name)
        if token in vocab:
            yield name, token, vocab[token]


def _take(tokenizer: Any, text: str) -> None:
    ids = tokenizer.encode(text)
    assert all(0 <= number < len(tokenizer) for number in ids)
    assert isinstance(tokenizer.decode(ids), str)


def lines_run(work: Callable[[], object]) -> int:
    """The number of lines of Python that ``work`` runs, which is the same on any machine under any load."""
    lines = 0

    def trace(*_: object) -> Callable[..., Any]:
        nonlocal lines
        lines += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return lines
