"""Text to tokens and back, whatever the algorithm: special tokens, offsets, words."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain, count, pairwise, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from registry.errors import InputError
from registry.tokenization.batches.encoding import Offsets, RowOf, Span, SpanIds
from registry.tokenization.chunk_cache import TokenIds, as_array, as_list
from registry.tokenization.lookup import Ids, Lookup, plain

if TYPE_CHECKING:
    from registry.tokenization.added_tokens.matching import AddedTokenFinder, Normalizer, Part

# What finds added tokens is imported where it is used: a tokenizer that is only loaded needs none of it.


class TextEncoder(Lookup):
    """Texts as tokens of a vocabulary.

    An algorithm is two functions, ``span_ids`` and ``span_offsets``, and ``convert_tokens_to_string`` for the way back;
    one that normalizes text has a ``normalizer`` as well.
    """

    split_special_tokens: bool = False
    """Whether special tokens that stand in a text are taken for ordinary text."""
    clean_up_tokenization_spaces: bool | None = False
    """Whether ``decode`` takes spaces before punctuation away, and around contractions."""
    has_clean_up: ClassVar[bool] = True
    """Whether it ever does: of tokens that have spaces of their own, it would change the text."""

    # --- The algorithm, which an architecture defines

    def span_ids(self, span: Span) -> SpanIds:
        """The ids of a span of text, in which no added token is to be found; a list will do."""
        raise NotImplementedError

    def span_offsets(self, span: Span) -> Offsets:
        """For each token of the span, in order, the start and the end of its characters in the span."""
        raise NotImplementedError

    @property
    def normalizer(self) -> "Normalizer | None":
        """What the algorithm does to text before it cuts it, but for spans that ``is_normalized``; None for nothing."""
        return None

    def span_words(self, span: Span) -> Iterable[int]:
        """For each word of the span, in order, the number of its tokens.

        Words are what the algorithm cuts a text into first; where it does not say, they stand between white space.
        """
        offsets = self.span_offsets(span)
        starts = [
            number
            for number, (before, here) in enumerate(pairwise(offsets), 1)
            if before[1] < here[0] or span.text[here[0] : here[0] + 1].isspace()
        ]
        return [end - start for start, end in pairwise([0, *starts, len(offsets)])] if offsets else []

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text that tokens spell."""
        raise NotImplementedError

    # --- One text

    def tokenize(self, text: str, *, split_special_tokens: bool | None = None) -> list[str]:
        """The tokens of a text; no special tokens are added."""
        return [self.ids_to_tokens[number] for number in self._ids(text, split_special_tokens, as_list)]

    def ids_of_file(self, path: str | Path) -> TokenIds:
        """The ids of a text file as the model was trained to read texts, without special tokens around it.

        Raises:
            InputError: The file is not UTF-8.
        """
        try:
            ids: TokenIds = self._ids(Path(path).read_text(encoding="utf-8"), None, as_array)
        except UnicodeDecodeError as problem:
            raise InputError(f"{path} is not UTF-8 text: {problem}.") from problem
        return ids

    def decode(
        self, ids: Ids, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> Any:
        """The text that ids spell, as far as it can be told; a list of texts for rows of ids.

        Args:
            ids: An id, ids or rows of ids: numbers, lists, arrays, tensors, or a batch.
            skip_special_tokens: Whether special tokens are skipped.
            clean_up_tokenization_spaces: Whether spaces before punctuation are taken away; None: as the tokenizer's own
                option says.  Without meaning for byte pairs and pieces, whose tokens have spaces of their own.

        Raises:
            VocabError: No token has one of the ids.
        """
        ids = plain(ids["input_ids"] if isinstance(ids, Mapping) and "input_ids" in ids else ids)
        if isinstance(ids, list) and ids and isinstance(ids[0], list):
            return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in ids]
        tokens = self.convert_ids_to_tokens([ids] if isinstance(ids, int) else ids, skip_special_tokens)
        text = self.convert_tokens_to_string(tokens)
        wanted = clean_up_tokenization_spaces
        cleans_up = self.clean_up_tokenization_spaces if wanted is None else wanted
        return without_spaces(text) if cleans_up and self.has_clean_up else text

    def batch_decode(
        self,
        sequences: Iterable[Ids],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> list[str]:
        """The texts that rows of ids spell; takes the arguments of ``decode``."""
        rows = plain(sequences)
        found = self.decode(rows, skip_special_tokens, clean_up_tokenization_spaces) if rows != [] else []
        return found if isinstance(found, list) else [found]

    def _ids(self, text: str, split_special_tokens: bool | None, row_of: RowOf) -> Any:
        """The ids of a text, in a row of their own."""
        parts = self._parts(text, split_special_tokens)
        if parts is None:
            return row_of(self.span_ids(tuple.__new__(Span, (text, False, False))))  # in two thirds of the time
        from registry.tokenization.added_tokens.matching import FoundSpan

        ids = row_of(())
        for part in parts:
            if isinstance(part, FoundSpan):
                ids.extend(row_of(self.span_ids(part.span)))
            else:
                ids.append(part.token.id)
        return ids

    def _offsets(self, text: str, split_special_tokens: bool | None) -> Offsets:
        """The offsets of the tokens of a text."""
        parts = self._parts(text, split_special_tokens, with_offsets=True)
        if parts is None:
            return self.span_offsets(Span(text))
        from registry.tokenization.added_tokens.matching import FoundSpan

        found: Offsets = []
        for part in parts:
            if isinstance(part, FoundSpan):
                found += part.in_text(self.span_offsets(part.span))
            else:
                found.append((part.start, part.end))
        return found

    def _parts(
        self, text: str, split_special_tokens: bool | None, *, with_offsets: bool = False
    ) -> "list[Part] | None":
        """The added tokens of a text and the spans between them; None for a text without added tokens."""
        split = self.split_special_tokens if split_special_tokens is None else split_special_tokens
        finder = self._finder
        may_have = finder.may_have_ordinary_tokens if split else finder.may_have_tokens
        return finder.parts(text, split, with_offsets) if may_have(text) else None

    @cached_property
    def _finder(self) -> "AddedTokenFinder":
        """Finds the added tokens of a text; made when it is first needed, as patterns take time to compile."""
        from registry.tokenization.added_tokens.matching import AddedTokenFinder

        return AddedTokenFinder(self._recognized.values(), self.normalizer)

    # --- Words

    def words_of(self, text: str | Sequence[str], split_special_tokens: bool | None = None) -> list[int]:
        """For each token of a text the number of its word; of a list of words, the number in the list."""
        if not isinstance(text, str):
            sizes = [len(self._ids(word, split_special_tokens, as_list)) for word in text]
            return list(chain.from_iterable(map(repeat, count(), sizes)))
        from registry.tokenization.added_tokens.matching import FoundSpan

        sizes = []
        for part in self._parts(text, split_special_tokens) or [FoundSpan(Span(text), 0)]:
            sizes += self.span_words(part.span) if isinstance(part, FoundSpan) else [1]
        return list(chain.from_iterable(map(repeat, count(), sizes)))

    def offsets_of(self, text: str | Sequence[str], split_special_tokens: bool | None = None) -> Offsets:
        """For each token of a text its characters there; of a list of words, its characters in the word."""
        if isinstance(text, str):
            return self._offsets(text, split_special_tokens)
        return list(chain.from_iterable(self._offsets(word, split_special_tokens) for word in text))

    def _ids_of_word_list(self, words: Sequence[str], split_special_tokens: bool | None, row_of: RowOf) -> Any:
        """The ids of words, of which each is a text of its own."""
        ids = row_of(())
        for word in words:
            ids.extend(self._ids(word, split_special_tokens, row_of))
        return ids


CLEAN_UP = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"),
    (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip
"""What ``clean_up_tokenization_spaces`` replaces, in this order."""


def without_spaces(text: str) -> str:
    """The text without spaces before punctuation and around English contractions."""
    for spaced, joined in CLEAN_UP:
        text = text.replace(spaced, joined)
    return text
