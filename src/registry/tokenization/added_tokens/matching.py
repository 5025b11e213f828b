"""Added tokens in texts: spans of text, and the tokens between them.

Tokens that are not normalized are found first, in the text as it stands; then those that are, in the normalized text of
each span that is left.  Of several that start at an offset the longest is found.  A token whose flags are not met is
ignored, and no other one inside it is looked for.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from registry.errors import VocabError
from registry.tokenization.added_tokens.pattern import is_of_word, longest_of, spaces, white_space
from registry.tokenization.added_tokens.token import AddedToken
from registry.tokenization.batches.encoding import Offsets, Span


class Normalizer(Protocol):
    """What an algorithm does to each character of a text before it cuts the text."""

    def normalize(self, text: str) -> str:
        """A text, normalized."""

    def normalize_each(self, text: str) -> Sequence[str]:
        """What each of its characters is normalized to."""


class LowerCase:
    """Text in lower case, in which a few letters become two."""

    def normalize(self, text: str) -> str:
        """A text in lower case."""
        return text.lower()

    def normalize_each(self, text: str) -> list[str]:
        """Its characters in lower case."""
        return list(map(str.lower, text))


class FoundToken(NamedTuple):
    """A token in a text, and the offsets of its first character and of the one behind its last."""

    token: AddedToken
    start: int
    end: int


class FoundSpan(NamedTuple):
    """A span of a text, between tokens."""

    span: Span
    start: int
    """Its offset in the text, or in the normalized text."""
    characters: Sequence[int] = ()
    """For each character of the normalized text, and for its end, the offset in the text; else empty."""

    def in_text(self, offsets: Offsets) -> Offsets:
        """Offsets in the text, of those in the span."""
        placed = [(self.start + start, self.start + end) for start, end in offsets] if self.start else offsets
        return [_in_text(self.characters, start, end) for start, end in placed] if self.characters else placed


Part: TypeAlias = FoundToken | FoundSpan
Search: TypeAlias = Callable[[str], object]
"""Says by the truth of what it returns whether a text may have what is looked for."""


def never(_text: str) -> None:
    """The search for nothing."""


def searched(token: AddedToken, normalizer: Normalizer | None) -> str:
    """The text that is looked for to find a token.  Raises VocabError where nothing of it is left, once normalized."""
    if normalizer is None or not token.normalized:
        return token.content
    content = normalizer.normalize(token.content)
    if not content:
        raise VocabError(
            f"Nothing is left of the added token {token.content!r} in normalized text, where it is to be found.",
            hint="Add it as AddedToken(..., normalized=False): it is then found in text as it stands.",
        )
    return content


class AddedTokenFinder:
    """Finds added tokens in texts.

    Args:
        tokens: The tokens; where two are the same once normalized, the first is found.
        normalizer: That of the algorithm; None where it takes a text as it stands.
    """

    def __init__(self, tokens: Iterable[AddedToken], normalizer: Normalizer | None = None) -> None:
        raw: dict[str, AddedToken] = {}
        normalized: dict[str, AddedToken] = {}
        for token in tokens:
            (normalized if token.normalized else raw).setdefault(searched(token, normalizer), token)
        if normalizer is None and not raw:
            raw, normalized = normalized, {}  # one pass will do
        self._normalizer = normalizer
        self._raw = TokenSet(raw) if raw else None
        self._normalized = TokenSet(normalized) if normalized else None
        self.finds_ordinary_tokens = not all(token.special for token in (*raw.values(), *normalized.values()))
        search = never if self._raw is None else self._raw.search
        self.may_have_tokens: Search = search if self._normalized is None else bool
        """Whether a text is worth to be searched for tokens: it costs most texts as much as they must pay."""
        self.may_have_ordinary_tokens = self.may_have_tokens if self.finds_ordinary_tokens else never

    def parts(self, text: str, split_special_tokens: bool, with_offsets: bool) -> list[Part] | None:
        """The spans and tokens of a text, in order; None where it has no token, and so is one span.

        Args:
            text: The text.
            split_special_tokens: Whether special tokens are ignored.
            with_offsets: Whether parts have their offsets; else these are only right in text that is not normalized.
        """
        found = [] if self._raw is None else self._raw.find(text, split_special_tokens)
        if self._normalized is None:
            return list(_cut(text, found)) if found else None
        if not found:
            return self._parts_of_span(self._normalized, text, 0, split_special_tokens, with_offsets)
        parts: list[Part] = []
        for part in _cut(text, found):
            inner = None
            if isinstance(part, FoundSpan):
                inner = self._parts_of_span(
                    self._normalized, part.span.text, part.start, split_special_tokens, with_offsets
                )
            parts += [part] if inner is None else inner
        return parts

    def _parts_of_span(
        self, tokens: "TokenSet", text: str, begin: int, split_special_tokens: bool, with_offsets: bool
    ) -> list[Part] | None:
        """The parts of a span that starts at an offset of a text."""
        normalizer = self._normalizer
        normalized = text if normalizer is None else normalizer.normalize(text)
        found = tokens.find(normalized, split_special_tokens)
        if not found:
            return None
        if normalizer is None:
            return list(_cut(normalized, found, begin))
        if not with_offsets:
            return list(_cut(normalized, found, is_normalized=True))
        characters = [
            begin + index for index, each in enumerate(normalizer.normalize_each(text)) for _ in range(len(each))
        ]
        characters.append(begin + len(text))
        return [
            FoundToken(part.token, *_in_text(characters, part.start, part.end))
            if isinstance(part, FoundToken)
            else part._replace(characters=characters)
            for part in _cut(normalized, found, is_normalized=True)
        ]


class TokenSet:
    """Tokens that are looked for at once, by the text that is looked for."""

    def __init__(self, tokens: Mapping[str, AddedToken]) -> None:
        self._tokens = tokens
        self._pattern = re.compile(longest_of(tokens))
        self.search = self._pattern.search
        """Finds what reads as a token, whatever its flags."""

    def find(self, text: str, split_special_tokens: bool) -> list[FoundToken]:
        """The tokens of a text, in order."""
        found: list[FoundToken] = []
        begin = 0
        for match in self._pattern.finditer(text):
            token = self._tokens[match.group()]
            start, end = match.span()
            if (split_special_tokens and token.special) or (token.single_word and _touches_word(text, start, end)):
                continue
            if token.lstrip:
                while start > begin and white_space().match(text, start - 1):
                    start -= 1
                start = max(start, begin)  # the token before may have taken a part of this one
            if token.rstrip:
                end = spaces().match(text, end).end()  # type: ignore[union-attr]  # matches everywhere
            found.append(FoundToken(token, start, end))
            begin = end
        return found


def _touches_word(text: str, start: int, end: int) -> bool:
    return (start > 0 and is_of_word(text[start - 1])) or (end < len(text) and is_of_word(text[end]))


def _cut(text: str, found: Iterable[FoundToken], begin: int = 0, *, is_normalized: bool = False) -> Iterator[Part]:
    """The tokens that were found in a text and the spans between them, with ``begin`` added to their offsets."""
    stop = 0
    for token, start, end in found:
        if stop < start:
            yield _span(text[stop:start], begin + stop, is_normalized)
        if start < end:
            yield FoundToken(token, begin + start, begin + end)
        stop = end
    if stop < len(text):
        yield _span(text[stop:], begin + stop, is_normalized)


def _span(text: str, start: int, is_normalized: bool) -> FoundSpan:
    return FoundSpan(Span(text, follows_token=start > 0, is_normalized=is_normalized), start)


def _in_text(characters: Sequence[int], start: int, end: int) -> tuple[int, int]:
    """Offsets in a text, of those in its normalized text."""
    return (characters[start], characters[end - 1] + 1) if start < end else (characters[start], characters[start])
