"""Words and punctuation, as BERT's release cuts text; GPT's text is cut so too where spaCy is not installed.

Words and offsets are those of transformers' ``BertTokenizerFast``, on any text.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from itertools import chain, groupby
from typing import Any, Protocol, Self
from unicodedata import category, combining, normalize

NEVER_SPLIT = ("[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]")

CONTROLS = ("Cc", "Cf", "Co", "Cs")
"""Categories of characters that are deleted; unassigned ones (Cn) are kept."""
CONTROLS_LIKE_SPACES = "\x0b\x0c\x1c\x1d\x1e\x1f\x85"
"""Controls at which ``str.split`` would cut."""

IDEOGRAPHS = (
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF), (0x2F800, 0x2FA1F),
)  # fmt: skip
"""Chinese characters, first and last of each block.  (BERT's release has 2B820 where its fast successor has 2B920.)"""

MOST_CHARACTERS = 2**16
"""Characters whose normalized form is cached at a time."""


class Splitter(Protocol):
    """Cuts a text into words, in two steps: chunks between white space, and the words of a chunk."""

    chunk: "re.Pattern[str]"
    """Finds the chunks of a text where their offsets are wanted."""

    def chunks(self, text: str) -> list[str]:
        """The chunks of a text; they may lack characters which make no difference to their words."""

    def words(self, chunk: str) -> list[str]:
        """The words of a chunk."""

    def words_with_offsets(self, chunk: str) -> list[tuple[str, Sequence[int]]]:
        """The words of a chunk, with the offset in the chunk that each of their characters comes from."""

    def of_normalized(self) -> "Splitter":
        """The splitter of text that is normalized already."""


class WhitespaceTokenizer:
    """Cuts text at white space, and changes nothing."""

    chunk = re.compile(r"\S+")

    def chunks(self, text: str) -> list[str]:
        """The words of a text."""
        return text.split()

    def words(self, chunk: str) -> list[str]:
        """The chunk itself."""
        return [chunk]

    def words_with_offsets(self, chunk: str) -> list[tuple[str, Sequence[int]]]:
        """The chunk itself, and the offsets of its characters."""
        return [(chunk, range(len(chunk)))]

    def of_normalized(self) -> Self:
        """The same."""
        return self


class BasicTokenizer:
    """Cuts text into words and punctuation marks; deletes controls; may lower case and strip accents.

    Args:
        do_lower_case: Whether words are lowered.
        never_split: Words that are left as they are where they stand between spaces.
        strip_accents: Whether non-spacing marks (Mn) are dropped; as ``do_lower_case`` when None.
        tokenize_chinese_chars: Whether each Chinese character is a word of its own.
    """

    chunk = re.compile(rf"[\S{CONTROLS_LIKE_SPACES}]+")

    def __init__(
        self,
        do_lower_case: bool = True,
        never_split: Collection[str] = NEVER_SPLIT,
        *,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
    ) -> None:
        self.never_split = frozenset(never_split)
        changes: dict[str, Any] = {
            "lower": do_lower_case,
            "strip_accents": do_lower_case if strip_accents is None else strip_accents,
            "ideographs": IDEOGRAPHS if tokenize_chinese_chars else (),
        }
        self._normalizer = CharacterNormalizer(**changes)
        self._text_normalizer = CharacterNormalizer(**changes, cuts_punctuation=False)

    def tokenize(self, text: str) -> list[str]:
        """The words and punctuation marks of a text."""
        return list(chain.from_iterable(map(self.words, self.chunks(text))))

    def chunks(self, text: str) -> list[str]:
        """The text cut at white space, without the controls that ``str.split`` takes for it."""
        for control in CONTROLS_LIKE_SPACES:
            text = text.replace(control, "")
        return text.split()

    def words(self, chunk: str) -> list[str]:
        """The words of a chunk."""
        return [chunk] if chunk in self.never_split else self._normalizer.normalize(chunk).split()

    def words_with_offsets(self, chunk: str) -> list[tuple[str, Sequence[int]]]:
        """The words of a chunk, with the offset in the chunk that each of their characters comes from."""
        if chunk in self.never_split:
            return [(chunk, range(len(chunk)))]
        characters = self._normalizer.normalize_each(chunk)
        offsets = [offset for offset, normalized in enumerate(characters) for _ in normalized]
        words = WhitespaceTokenizer.chunk.finditer("".join(characters))
        return [(word.group(), offsets[word.start() : word.end()]) for word in words]

    # --- Text that is normalized before it is cut, so that added tokens are found in it

    def normalize(self, text: str) -> str:
        """A text, normalized, with its spaces and punctuation; words that are never split stay as they are."""
        return "".join(self.normalize_each(text)) if self.never_split else self._text_normalizer.normalize(text)

    def normalize_each(self, text: str) -> list[str]:
        """What each character of a text is normalized to."""
        if not self.never_split:
            return self._text_normalizer.normalize_each(text)
        normalize = self._text_normalizer.normalize_each
        chunks = re.split(r"(\s+)", text)
        return list(chain.from_iterable(chunk if chunk in self.never_split else normalize(chunk) for chunk in chunks))

    def of_normalized(self) -> "BasicTokenizer":
        """The splitter of text that is normalized already."""
        return BasicTokenizer(False, self.never_split, tokenize_chinese_chars=False)


class CharacterNormalizer(dict[int, str]):
    """What each character is normalized to: nothing, other characters, or itself between spaces if it is a word.

    Keys are code points, as ``str.translate`` wants them; values are computed when they are first needed.

    Args:
        lower: Whether letters are lowered.
        strip_accents: Whether non-spacing marks are dropped.
        ideographs: The first and the last of each block of characters that are words.
        cuts_punctuation: Whether punctuation marks are words.
    """

    def __init__(
        self,
        *,
        lower: bool,
        strip_accents: bool,
        ideographs: Iterable[tuple[int, int]],
        cuts_punctuation: bool = True,
    ) -> None:
        super().__init__()
        self.cuts_punctuation = cuts_punctuation
        self.lower = lower
        self.strip_accents = strip_accents
        self.ideographs = tuple(ideographs)

    def __missing__(self, code: int) -> str:
        if len(self) >= MOST_CHARACTERS:
            self.clear()
        self[code] = normalized = "".join(map(self._normalize, self._decompose(chr(code))))
        return normalized

    def normalize(self, chunk: str) -> str:
        """A chunk, normalized."""
        normalized = chunk.translate(self)
        return "".join(self._in_canonical_order(chunk)) if self._has_marks(normalized) else normalized

    def normalize_each(self, chunk: str) -> list[str]:
        """What each character of a chunk is normalized to."""
        characters = [self[ord(character)] for character in chunk]
        return self._in_canonical_order(chunk) if self._has_marks("".join(characters)) else characters

    def _has_marks(self, normalized: str) -> bool:
        """Whether marks remain that may have to change places."""
        return self.strip_accents and not normalized.isascii() and any(map(combining, normalized))

    def _in_canonical_order(self, chunk: str) -> list[str]:
        """The same, with combining marks in the order of the Unicode Standard, section 3.11.

        Most marks that decomposition may move are dropped as accents, so that this is seldom needed; those that stay
        (Mc) may come to stand where another one, now gone, stood.
        """
        parts = [(part, n == 0) for character in chunk for n, part in enumerate(self._decompose(character))]
        offsets = (offset for offset, character in enumerate(chunk) if self._decompose(character))
        normalized = [""] * len(chunk)
        offset = 0
        for _, run in groupby(parts, key=lambda part: combining(part[0]) > 0):
            for part, is_first in sorted(run, key=lambda part: combining(part[0])):
                offset = next(offsets) if is_first else offset
                normalized[offset] += self._normalize(part)
        return normalized

    def _decompose(self, character: str) -> str:
        """The parts of a character: none for a control, one if accents are kept; spaces around an ideograph."""
        if character in "\t\n\r" or category(character).startswith("Z"):
            return " "
        if character in "\0\ufffd" or category(character) in CONTROLS:
            return ""
        if any(first <= ord(character) <= last for first, last in self.ideographs):
            character = f" {character} "
        return normalize("NFD", character) if self.strip_accents else character

    def _normalize(self, part: str) -> str:
        """One part, normalized."""
        if self.strip_accents and category(part) == "Mn":
            return ""
        if self.lower:
            part = part.lower()
        return f" {part} " if self.cuts_punctuation and is_punctuation(part[0]) else part


def is_punctuation(character: str) -> bool:
    """Whether a character is a word of its own: every sign of ASCII, and what Unicode calls punctuation (P*)."""
    is_sign = "!" <= character <= "~" and not character.isalnum()
    return is_sign or category(character).startswith("P")
