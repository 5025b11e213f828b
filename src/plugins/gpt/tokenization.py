"""GPT's tokenizer (Radford et al., 2018): words in lower case, as characters which rules merge in pairs.

OpenAI cut text into words with ftfy and spaCy, which the extra ``gpt`` installs.  Without them text is cut as BERT's
release cuts it; ids and places are then those of transformers' ``OpenAIGPTTokenizerFast``, on any text.
"""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar

from registry.errors import RegistryWarning, UnsupportedError
from registry.tokenization.batches import Segment
from registry.tokenization.bpe import Pair
from registry.tokenization.bpe_tokenizer import BytePairTokenizer
from registry.tokenization.chunk_cache import PackedIds
from registry.tokenization.options import OPTIONAL_FLAG, Option
from registry.tokenization.word_cache import WordCache
from registry.tokenization.words import BasicTokenizer, Splitter

LAST = "</w>"
"""Marks the symbol that ends a word."""

LONGEST_CHUNK = 1000
"""Characters that spaCy is given at a time where no space cuts them: for signs it takes the square of their number."""

DASHES = str.maketrans({"—": "-", "–": "-", "―": "-", "…": "...", "´": "'"})
SIGNS = re.compile(r"-+|~+|!+|\"+|;+|\?+|\++|,+|\)+|\(+|\\+|/+|\*+|\[+|\]+|}+|{+|\|+|_+")
"""Finds signs, in runs of the same one, that are set apart by spaces."""
LINE_ENDS = re.compile(r"\s*\n\s*")
BLANKS = re.compile(r"[^\S\n]+")


def text_standardize(text: str) -> str:
    """Spell dashes and the like in ASCII, set signs apart, and leave one space or line end between words."""
    text = SIGNS.sub(r" \g<0> ", text.translate(DASHES))
    return BLANKS.sub(" ", LINE_ENDS.sub(" \n ", text)).strip()


class SpacyTokenizer:
    """Cuts text as OpenAI did: mended by ftfy, standardized, then cut by spaCy's rules for English, in lower case.

    Raises ModuleNotFoundError when ftfy or spaCy is not installed.
    """

    chunk = re.compile(r"\S+")

    def __init__(self) -> None:
        import ftfy
        import spacy

        self._mend = ftfy.fix_text
        self._cut = spacy.blank("en").tokenizer

    def chunks(self, text: str) -> list[str]:
        """Words and line ends, still with the punctuation that spaCy will cut off."""
        standard = text_standardize(self._mend(text))
        return standard.split(" ") if standard else []

    def words(self, chunk: str) -> list[str]:
        """The words of a chunk."""
        parts = (chunk[start : start + LONGEST_CHUNK] for start in range(0, len(chunk), LONGEST_CHUNK))
        return [token.text.lower() for part in parts for token in self._cut(part)]

    def located_words(self, chunk: str) -> list[tuple[str, Sequence[int]]]:  # noqa: ARG002
        """Not known: ftfy rewrites whole lines.  Raises UnsupportedError."""
        raise UnsupportedError(
            "Where tokens stand in the text is not known once ftfy has mended it.",
            hint="Make the tokenizer with use_spacy=False to cut text as transformers does, which can tell.",
        )


def splitter(use_spacy: bool | None) -> Splitter:
    """What cuts text into words; when None, spaCy where it is installed, else BERT's way, which is said once."""
    if use_spacy is False:
        return BasicTokenizer(never_split=())
    try:
        return SpacyTokenizer()
    except ModuleNotFoundError:
        if use_spacy:
            raise
        _say_that_spacy_is_missing()
        return BasicTokenizer(never_split=())


@cache
def _say_that_spacy_is_missing() -> None:
    warnings.warn(
        "ftfy and spaCy, with which GPT was trained, are not installed: text is cut into words as BERT does, and some "
        "ids differ. `pip install torch-registry[gpt]` installs them; use_spacy=False says that they are not wanted.",
        RegistryWarning,
        stacklevel=5,
    )


class OpenAIGPTTokenizer(BytePairTokenizer):
    """The tokenizer of GPT models.

    - ``vocab_file``: path of a ``vocab.json``, or the vocabulary itself, a mapping from tokens to ids.
    - ``merges_file``: path of a ``merges.txt``, or the rules themselves; beside the vocabulary when None.
    - ``special_tokens``: tokens that are recognised whole; those which the vocabulary lacks follow it, in this order.
    - ``max_len``: tokens of the longest input of the model.
    - ``use_spacy``: whether text is cut by ftfy and spaCy, or else as BERT does; when None, if they are installed.
    - further options stand in ``OpenAIGPTTokenizer.options``.

    Raises VocabError when the vocabulary or the rules are damaged, or ``unk_token`` is missing, MissingTokenizerError
    when there are no rules, ConfigError for an option with a value that it cannot have, and UnknownOptionError.
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
        **values: Any,
    ) -> None:
        super().__init__(vocab_file, merges_file, special_tokens, max_len=max_len, use_spacy=use_spacy, **values)
        self._unknown = self.special_id("unk_token")  # missed at once: any text may need it
        self._memory = WordCache(splitter(use_spacy), self._ids_of_word, self._stops)

    # --- Text to ids

    def _ids(self, text: str) -> list[int]:
        return self._memory.ids(text)

    def _packed(self, text: str) -> PackedIds:
        return self._memory.packed(text)

    def _located(self, text: str) -> Segment:
        return self._memory.located(text)

    def _ids_of_word(self, word: str) -> tuple[int, ...]:
        return tuple(self._merged(word))

    def _merged(self, word: str) -> list[int]:
        """The ids of a word; a character that the vocabulary lacks is unknown."""
        symbols = [*word[:-1], word[-1] + LAST]
        return self.byte_pairs.merge([self.vocab.get(symbol, self._unknown) for symbol in symbols])

    def _stops(self, word: str) -> Iterable[int]:
        """Where in a word each of its tokens ends."""
        tokens = map(self.ids_to_tokens.__getitem__, self._merged(word))
        return accumulate(1 if token == self.unk_token else len(token.removesuffix(LAST)) for token in tokens)

    # --- Tokens to text

    def _join(self, tokens: Sequence[str]) -> str:
        """Symbols joined to words, and words set apart by spaces, as are tokens that are recognised whole."""
        whole = {*self.added_tokens, *self.special_tokens}
        words = [f"{token} " if token in whole else token.replace(LAST, " ") for token in tokens]
        return "".join(words).removesuffix(" ")

    # --- Files

    @classmethod
    def _described(cls, keys: Mapping[str, Any], origin: str) -> dict[str, Any]:
        found = super()._described(keys, origin)
        return {**found, "unk_token": keys["model"].get("unk_token") or cls.unk_token, "use_spacy": False}
