"""GPT's tokenizer (Radford et al., 2018): words in lower case, as characters which rules merge in pairs.

OpenAI cut text into words with ftfy and spaCy, which the extra ``gpt`` installs.  Without them text is cut as BERT's
release cuts it; ids and offsets are then those of transformers' ``OpenAIGPTTokenizerFast``, on any text.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar, Self, Unpack

from registry.errors import UnsupportedError, warn
from registry.tokenization.added_tokens.matching import LowerCase, Normalizer
from registry.tokenization.batches.encoding import Offsets, Span
from registry.tokenization.bpe import Pair
from registry.tokenization.bpe_tokenizer import BytePairTokenizer
from registry.tokenization.chunk_cache import CachedIds
from registry.tokenization.options import OPTIONAL_FLAG, CommonOptions, Option
from registry.tokenization.word_cache import WordCache
from registry.tokenization.words import BasicTokenizer

LAST = "</w>"
"""Suffix of the symbol that ends a word."""

LONGEST_CHUNK = 1000
"""Characters that spaCy is given at a time, where no space cuts them: its time for signs grows with their square."""

DASHES = str.maketrans({"—": "-", "–": "-", "―": "-", "…": "...", "´": "'"})
SIGNS = re.compile(r"-+|~+|!+|\"+|;+|\?+|\++|,+|\)+|\(+|\\+|/+|\*+|\[+|\]+|}+|{+|\|+|_+")
"""Finds signs, in runs of the same one, around which spaces are put."""
LINE_ENDS = re.compile(r"\s*\n\s*")
BLANKS = re.compile(r"[^\S\n]+")


def text_standardize(text: str) -> str:
    """Write dashes and the like in ASCII, put spaces around signs, and leave one space or line end between words."""
    text = SIGNS.sub(r" \g<0> ", text.translate(DASHES))
    return BLANKS.sub(" ", LINE_ENDS.sub(" \n ", text)).strip()


class SpacyTokenizer(LowerCase):
    """Cuts text as OpenAI did: repaired by ftfy, standardized, then cut by spaCy's rules for English, in lower case.

    Raises:
        ModuleNotFoundError: ftfy or spaCy is not installed.
    """

    chunk = re.compile(r"\S+")

    def __init__(self) -> None:
        import ftfy
        import spacy

        self._fix = ftfy.fix_text
        self._cut = spacy.blank("en").tokenizer

    def chunks(self, text: str) -> list[str]:
        """Words and line ends, still with the punctuation that spaCy will cut off."""
        standard = text_standardize(self._fix(text))
        return standard.split(" ") if standard else []

    def words(self, chunk: str) -> list[str]:
        """The words of a chunk."""
        parts = (chunk[start : start + LONGEST_CHUNK] for start in range(0, len(chunk), LONGEST_CHUNK))
        return [token.text.lower() for part in parts for token in self._cut(part)]

    def words_with_offsets(self, chunk: str) -> list[tuple[str, Sequence[int]]]:  # noqa: ARG002
        """Unknown: ftfy rewrites whole lines.  Raises UnsupportedError."""
        raise UnsupportedError(
            "The offsets of tokens are not known once ftfy has repaired a text.",
            hint="Make the tokenizer with use_spacy=False, which splits text as transformers does and has offsets.",
        )

    def of_normalized(self) -> Self:
        """The same."""
        return self


def splitter(use_spacy: bool | None) -> SpacyTokenizer | BasicTokenizer:
    """The splitter of texts; when None, spaCy where it is installed, else BERT's, of which a warning tells once."""
    if use_spacy is False:
        return BasicTokenizer(never_split=())
    try:
        return SpacyTokenizer()
    except ModuleNotFoundError:
        if use_spacy:
            raise
        _warn_of_missing_spacy()
        return BasicTokenizer(never_split=())


@cache
def _warn_of_missing_spacy() -> None:
    warn(
        "ftfy and spaCy, with which GPT was trained, are not installed: text is split into words as by BERT, and some "
        "ids differ. `pip install torch-registry[gpt]` installs them; use_spacy=False silences this warning."
    )


class OpenAIGPTTokenizer(BytePairTokenizer):
    """The tokenizer of GPT models.

    Args:
        vocab_file: Path of a ``vocab.json``, or the vocabulary itself, a mapping from tokens to ids.
        merges_file: Path of a ``merges.txt``, or the rules themselves; next to the vocabulary when None.
        special_tokens: Special tokens; those which the vocabulary lacks follow it, in this order.
        max_len: Tokens of the longest input of the model.
        use_spacy: Whether text is cut by ftfy and spaCy, or else as BERT does; when None, if they are installed.
        **values: Further options, of those in ``OpenAIGPTTokenizer.options``.

    Raises:
        VocabError: The vocabulary or the rules are damaged, or ``unk_token`` is missing.
        MissingTokenizerError: There are no rules.
        ConfigError: An option has a value that it cannot have.
        UnknownOptionError: There is no such option.
    """

    published_classes: ClassVar[tuple[str, ...]] = (
        "OpenAIGPTTokenizer",
        "OpenAIGPTTokenizerFast",
        "PreTrainedTokenizerFast",
        "TokenizersBackend",
    )
    options: ClassVar[Mapping[str, Option]] = {**BytePairTokenizer.options, "use_spacy": OPTIONAL_FLAG}
    understood: ClassVar[Mapping[str, Mapping[str, Any] | None]] = {
        "model": {
            "type": "BPE",
            "dropout": None,
            "continuing_subword_prefix": ("", None),
            "end_of_word_suffix": LAST,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
        },
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": (None, True),
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
    }

    unk_token = "<unk>"  # noqa: S105
    use_spacy: bool | None

    def __init__(
        self,
        vocab_file: str | Path | Mapping[str, int],
        merges_file: str | Path | Iterable[Pair] | None = None,
        special_tokens: Iterable[str] | None = None,
        max_len: int | None = None,
        *,
        use_spacy: bool | None = None,
        **values: Unpack[CommonOptions],
    ) -> None:
        super().__init__(vocab_file, merges_file, special_tokens, max_len=max_len, use_spacy=use_spacy, **values)
        self._unknown = self.special_id("unk_token")  # missed at once: any text may need it
        self._splitter = splitter(use_spacy)
        self._cache = WordCache(self._splitter, self._ids_of_word, self._token_ends)

    # --- Text to ids

    def span_ids(self, span: Span) -> CachedIds:
        """The ids of a span."""
        cache = self._cache.of_normalized if span.is_normalized else self._cache
        return cache.ids(span.text)

    def span_offsets(self, span: Span) -> Offsets:
        """For each token the characters that it was made of; unknown with spaCy."""
        cache = self._cache.of_normalized if span.is_normalized else self._cache
        return cache.offsets(span.text)

    @property
    def normalizer(self) -> Normalizer:
        """What is done to text before it is cut into words; with spaCy, added tokens are found in lower case."""
        return self._splitter

    def span_words(self, span: Span) -> list[int]:
        """For each word the number of its tokens."""
        cache = self._cache.of_normalized if span.is_normalized else self._cache
        return cache.sizes(span.text)

    def _ids_of_word(self, word: str) -> tuple[int, ...]:
        """The ids of a word; a character that the vocabulary lacks is unknown."""
        symbols = [*word[:-1], word[-1] + LAST]
        return tuple(self.byte_pairs.merge([self.own_vocab.get(symbol, self._unknown) for symbol in symbols]))

    def _token_ends(self, word: str) -> Iterable[int]:
        """Where in a word each of its tokens ends."""
        tokens = map(self.ids_to_tokens.__getitem__, self._ids_of_word(word))
        return accumulate(1 if token == self.unk_token else len(token.removesuffix(LAST)) for token in tokens)

    # --- Tokens to text

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Symbols joined to words, with spaces between words and added tokens."""
        added = {*self.added_tokens, *self.special_tokens}
        words = [f"{token} " if token in added else token.replace(LAST, " ") for token in tokens]
        return "".join(words).removesuffix(" ")

    # --- Files

    @classmethod
    def options_from(cls, keys: Mapping[str, Any], origin: str) -> dict[str, Any]:
        """Arguments of the constructor, from the parts of a ``tokenizer.json``."""
        found = super().options_from(keys, origin)
        return {**found, "unk_token": keys["model"].get("unk_token") or cls.unk_token, "use_spacy": False}
