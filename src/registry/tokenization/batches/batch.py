"""The result of a tokenizer: columns by name, and what each token stands for."""

import copy
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from registry.errors import InputError

if TYPE_CHECKING:
    from registry.tokenization.batches.origins import Origins


class TokenSpan(NamedTuple):
    """Some tokens of a row: the first, and the one behind the last."""

    start: int
    end: int


class CharSpan(NamedTuple):
    """Some characters of a text: the first, and the one behind the last."""

    start: int
    end: int


class Batch(dict[str, Any]):
    """What a tokenizer returns and a model takes: ``model(**batch)``.

    ``input_ids``, ``attention_mask`` and the like have shape ``(rows, tokens)``; ``offset_mapping``, when asked for,
    has for each token the start and the end of its characters in the text, ``(0, 0)`` for tokens that were added.
    Keys can be read as attributes.

    Methods that take a row and a token (word, character) take the latter alone where the batch has one row.  Their
    answers are those of transformers' ``BatchEncoding``; they are computed when they are first asked for.  A batch that
    was pickled has them if one was asked for before.
    """

    _origins: "Origins | None" = None

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            from registry.config.keywords import instead_of_attribute  # and with it attrs

            raise AttributeError(
                f"This batch has no {name!r}; it has {', '.join(self)}.{instead_of_attribute(name)}"
            ) from None

    @property
    def text_index(self) -> tuple[int, ...]:
        """For each row the number of the text that it comes from; a text of several windows has several rows."""
        return () if self._origins is None else self._origins.text_index

    @property
    def n_sequences(self) -> int:
        """1, or 2 for pairs of texts."""
        return self._known.sequences

    def to(self, device: Any, *, non_blocking: bool = False) -> Self:
        """Move all tensors to a device, in place; returns the batch."""
        moved = {key: value for key, value in self.items() if callable(getattr(value, "to", None))}
        self.update({key: value.to(device, non_blocking=non_blocking) for key, value in moved.items()})
        return self

    # --- Rows

    def tokens(self, row: int = 0) -> list[str]:
        """The tokens of a row."""
        return self._known.tokens(self["input_ids"], row)

    def sequence_ids(self, row: int = 0) -> list[int | None]:
        """For each token of a row 0 or 1, the text of the pair that it is from; None where it was added."""
        return [None if place is None else place.sequence for place in self._known.places(row)]

    def word_ids(self, row: int = 0) -> list[int | None]:
        """For each token of a row the number of its word in the text; None where it was added.

        Words are those of ``is_split_into_words=True``, else those into which the tokenizer cuts a text.
        """
        return self._known.word_ids(row)

    # --- Tokens, words and characters

    def token_to_sequence(self, row: int, token: int | None = None) -> int | None:
        """0 or 1, the text of the pair that a token is from; None where it was added."""
        row, token = _place(row, token)
        return self.sequence_ids(row)[token]

    def token_to_word(self, row: int, token: int | None = None) -> int | None:
        """The number of a token's word; None where it was added."""
        row, token = _place(row, token)
        return self.word_ids(row)[token]

    def token_to_chars(self, row: int, token: int | None = None) -> CharSpan | None:
        """The characters of a token in its text, or in its word if texts were given as words; None if it was added."""
        row, token = _place(row, token)
        found = self._known.offsets(row)[token]
        return None if found is None else CharSpan(*found)

    def char_to_token(self, row: int, char: int | None = None, sequence_index: int = 0) -> int | None:
        """The first token that a character of a text is part of; None where there is none."""
        row, char = _place(row, char)
        for token, (sequence, offsets) in enumerate(zip(self.sequence_ids(row), self._known.offsets(row), strict=True)):
            if sequence == sequence_index and offsets is not None and offsets[0] <= char < offsets[1]:
                return token
        return None

    def char_to_word(self, row: int, char: int | None = None, sequence_index: int = 0) -> int | None:
        """The number of the word that a character of a text is part of; None where there is none."""
        row, char = _place(row, char)
        token = self.char_to_token(row, char, sequence_index)
        return None if token is None else self.token_to_word(row, token)

    def word_to_tokens(self, row: int, word: int | None = None, sequence_index: int = 0) -> TokenSpan | None:
        """The tokens of a word; None where the row has none of them."""
        row, word = _place(row, word)
        words = enumerate(zip(self.sequence_ids(row), self.word_ids(row), strict=True))
        found = [number for number, place in words if place == (sequence_index, word)]
        return TokenSpan(found[0], found[-1] + 1) if found else None

    def word_to_chars(self, row: int, word: int | None = None, sequence_index: int = 0) -> CharSpan | None:
        """The characters of a word; None where the row has none of its tokens."""
        row, word = _place(row, word)
        tokens = self.word_to_tokens(row, word, sequence_index)
        if tokens is None:
            return None
        first, last = self.token_to_chars(row, tokens.start), self.token_to_chars(row, tokens.end - 1)
        return None if first is None or last is None else CharSpan(first.start, last.end)

    # --- Copies

    @property
    def _known(self) -> "Origins":
        if self._origins is None:
            raise InputError(
                "Words and characters of this batch are not known: no tokenizer returned it.",
                hint="A batch that is pickled has them if one of them was asked for before, as in batch.word_ids(0).",
            )
        return self._origins

    def __copy__(self) -> Self:
        return self._with_origins(type(self)(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self._with_origins(type(self)(copy.deepcopy(dict(self), memo)))

    def _with_origins(self, other: Self) -> Self:
        vars(other).update(vars(self))
        return other

    copy = __copy__


def _place(row: int, number: int | None) -> tuple[int, int]:
    """A row, and the number of something in it; of the first row where only one number is given."""
    return (0, row) if number is None else (row, number)
