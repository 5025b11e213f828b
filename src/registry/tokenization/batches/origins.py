"""Origins of tokens: the text, the word and the characters that each token of a batch stands for.

Most batches are never asked for them.  So they are kept as what they follow from, the texts and the windows on them.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple, Protocol, TypeAlias

from registry.errors import InputError
from registry.tokenization.batches.encoding import Offsets, Range

Window: TypeAlias = tuple[int, Range, Range]
"""A row: the number of its text, the tokens of the first text, and those of the second."""
Text: TypeAlias = str | Sequence[str]
"""A text, or the words of one."""


class Place(NamedTuple):
    """A token in its text."""

    sequence: int
    """0 for the first text of a pair, 1 for the second."""
    token: int
    """Its number among the tokens of the text."""


class KnowsOrigins(Protocol):
    """A tokenizer."""

    ids_to_tokens: list[str]

    def words_of(self, text: Text, split_special_tokens: bool | None) -> list[int]:
        """For each token of a text the number of its word."""
        ...

    def offsets_of(self, text: Text, split_special_tokens: bool | None) -> Offsets:
        """For each token of a text the start and the end of its characters."""
        ...


class Origins:
    """Where the tokens of a batch come from.

    Args:
        tokenizer: The tokenizer.
        texts: First texts, and second ones where there are pairs.
        windows: The rows.
        added: Special tokens before the first text, between both, and at the end.
        padding: Tokens that rows are padded to, and the side.
        split_special_tokens: Whether special tokens in a text were taken for ordinary text.
    """

    def __init__(
        self,
        tokenizer: KnowsOrigins,
        texts: Sequence[Sequence[Text]],
        windows: list[Window],
        added: tuple[int, int, int],
        padding: tuple[int, str],
        split_special_tokens: bool | None,
    ) -> None:
        self._tokenizer: KnowsOrigins | None = tokenizer
        self._texts = texts
        self._windows = windows
        self._added = added
        self._padding = padding
        self._split_special_tokens = split_special_tokens
        self._found: dict[tuple[str, int, int], Any] = {}
        self.sequences = len(texts)

    @cached_property
    def text_index(self) -> tuple[int, ...]:
        """For each row the number of its text."""
        return tuple([number for number, _, _ in self._windows])

    def places(self, row: int) -> list[Place | None]:
        """For each token of a row its place; None where it was added."""
        _, first, second = self._windows[row]
        before, between, end = self._added
        found: list[Place | None] = [None] * before
        found += [Place(0, token) for token in range(*first)]
        if self.sequences == 2:
            found += [None] * between
            found += [Place(1, token) for token in range(*second)]
        found += [None] * end
        length, side = self._padding
        padding: list[Place | None] = [None] * (length - len(found))
        return padding + found if side == "left" else found + padding

    def special_tokens_mask(self, row: int) -> list[int]:
        """For each token of a row, before it is padded, 1 where it was added."""
        _, (start, stop), (other_start, other_stop) = self._windows[row]
        before, between, end = self._added
        if self.sequences == 1:
            return [1] * before + [0] * (stop - start) + [1] * end
        return [1] * before + [0] * (stop - start) + [1] * between + [0] * (other_stop - other_start) + [1] * end

    def word_ids(self, row: int) -> list[int | None]:
        """For each token of a row the number of its word; None where it was added."""
        return self._of_tokens("words_of", row)

    def offsets(self, row: int) -> list[Range | None]:
        """For each token of a row the start and the end of its characters; None where it was added."""
        return self._of_tokens("offsets_of", row)

    def tokens(self, column: Any, row: int) -> list[str]:
        """The tokens of a row of a column of ids, which may also be the ids of the only row."""
        ids = column if not len(column) or isinstance(column[0], int) else column[row]
        return [self._known_tokenizer.ids_to_tokens[int(number)] for number in ids]

    def _of_tokens(self, kind: str, row: int) -> list[Any]:
        number = self._windows[row][0]
        places = self.places(row)
        return [None if place is None else self._of_text(kind, place.sequence, number)[place.token] for place in places]

    def _of_text(self, kind: str, sequence: int, number: int) -> list[Any]:
        """What the tokenizer has for each token of a text, computed once."""
        key = kind, sequence, number
        if key not in self._found:
            compute = getattr(self._known_tokenizer, kind)
            self._found[key] = compute(self._texts[sequence][number], self._split_special_tokens)
        found: list[Any] = self._found[key]
        return found

    @property
    def _known_tokenizer(self) -> KnowsOrigins:
        if self._tokenizer is None:
            raise InputError(
                "This batch was pickled before its tokens, words or characters were asked for: they are not known.",
                hint="Ask for those of one row before it is pickled, as in batch.word_ids(0).",
            )
        return self._tokenizer

    def __getstate__(self) -> dict[str, Any]:
        """Without tokenizer and texts, but with all that was asked for of a single row."""
        if self._tokenizer is not None:
            for kind, (sequence, texts) in product({kind for kind, _, _ in self._found}, enumerate(self._texts)):
                for number in range(len(texts)):
                    self._of_text(kind, sequence, number)
        return {**vars(self), "_tokenizer": None, "_texts": ()}
