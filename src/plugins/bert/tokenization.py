"""BERT's tokenizer (Devlin et al., 2018): words, then subwords (WordPiece; Wu et al., 2016, section 4.1).

Ids and offsets are those of transformers' ``BertTokenizerFast``, on any text.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, chain, permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from registry.errors import VocabError
from registry.files.filenames import TOKENIZER_NAME
from registry.tokenization.base import Tokenizer, missing
from registry.tokenization.batches.encoding import Offsets, Span, Template
from registry.tokenization.chunk_cache import CachedIds
from registry.tokenization.options import FLAG, OPTIONAL_FLAG, OPTIONAL_WORDS, CommonOptions, Option
from registry.tokenization.tokenizer_json import read_tokenizer_json
from registry.tokenization.vocabulary import read_vocabulary as load_vocab
from registry.tokenization.word_cache import WordCache
from registry.tokenization.words import NEVER_SPLIT, BasicTokenizer, Splitter, WhitespaceTokenizer

if TYPE_CHECKING:
    from registry.records import Paths
    from registry.tokenization.added_tokens.matching import Normalizer

__all__ = ["BasicTokenizer", "BertTokenizer", "WordpieceTokenizer", "load_vocab"]

UNKNOWN = "[UNK]"

CONTINUED = "##"
"""Prefix of a subword that continues a word."""

LONGEST_WORD = 100
"""Characters of the longest word that is cut into subwords."""

CLOSING = (".", "?", "!", ",")
"""Signs that follow a word without a space when tokens are joined."""

UNDERSTOOD: Mapping[str, Mapping[str, Any]] = {
    "model": {"type": "WordPiece", "continuing_subword_prefix": CONTINUED, "max_input_chars_per_word": LONGEST_WORD},
    "normalizer": {"type": "BertNormalizer", "clean_text": True},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
}
"""The parts of a ``tokenizer.json`` that make this tokenizer."""


class WordpieceTokenizer:
    """Cuts words into the subwords of a vocabulary, always the longest; all but the first start with ``##``."""

    def __init__(
        self, vocab: Collection[str], unk_token: str = UNKNOWN, max_input_chars_per_word: int = LONGEST_WORD
    ) -> None:
        self.vocab = vocab
        self.unk_token = unk_token
        self.max_input_chars_per_word = max_input_chars_per_word

    @cached_property
    def _continued(self) -> set[str]:
        """Subwords that continue a word, without their prefix."""
        return {token[2:] for token in self.vocab if token[:2] == CONTINUED}

    @cached_property
    def _longest(self) -> int:
        """Characters of the longest subword."""
        return max(map(len, self.vocab), default=0)

    def tokenize(self, text: str) -> list[str]:
        """The subwords of all words of a text, which stand between spaces."""
        return list(chain.from_iterable(map(self.subwords, text.split())))

    def subwords(self, word: str) -> list[str]:
        """The subwords of a word; the unknown token alone when it is too long, or some part of it is not a subword."""
        if len(word) > self.max_input_chars_per_word:
            return [self.unk_token]
        found: list[str] = []
        start, prefix, known = 0, "", self.vocab
        while start < len(word):
            for stop in range(min(start + self._longest, len(word)), start, -1):
                if word[start:stop] in known:
                    break
            else:
                return [self.unk_token]
            found.append(prefix + word[start:stop])
            start, prefix, known = stop, CONTINUED, self._continued
        return found

    def token_ends(self, word: str) -> Iterable[int]:
        """Where in a word each of its subwords ends."""
        first, *others = self.subwords(word)
        if not others:
            return [len(word)]
        return accumulate((len(subword) - len(CONTINUED) for subword in others), initial=len(first))


class BertTokenizer(Tokenizer):
    """The tokenizer of BERT models.

    Args:
        vocab_file: Path of a ``vocab.txt``, or the vocabulary itself, a mapping from tokens to ids.
        do_lower_case: Whether the model was trained on lower-case text without accents.
        max_len: Tokens of the longest input of the model.
        do_basic_tokenize: False cuts at white space only, and changes nothing.
        never_split: Words that are not split where they stand between spaces; special tokens never are.
        strip_accents: Whether accents are dropped; as ``do_lower_case`` when None.
        tokenize_chinese_chars: Whether each Chinese character is a word of its own.
        **values: Further options, of those in ``BertTokenizer.options``, special tokens among them.

    Raises:
        VocabError: The vocabulary is damaged, or lacks ``unk_token``.
        ConfigError: An option has a value that it cannot have.
        UnknownOptionError: There is no such option.
    """

    published_classes: ClassVar[tuple[str, ...]] = (
        "BertTokenizer",
        "BertTokenizerFast",
        "DistilBertTokenizer",
        "DistilBertTokenizerFast",
        "PreTrainedTokenizerFast",
        "TokenizersBackend",
    )
    options: ClassVar[Mapping[str, Option]] = {
        **Tokenizer.options,
        "do_lower_case": FLAG,
        "do_basic_tokenize": FLAG,
        "never_split": OPTIONAL_WORDS,
        "strip_accents": OPTIONAL_FLAG,
        "tokenize_chinese_chars": FLAG,
    }
    template: ClassVar[Template[tuple[str, ...]]] = Template(("cls_token",), ("sep_token",), ("sep_token",))
    model_input_names: Sequence[str] = ("input_ids", "token_type_ids", "attention_mask")

    unk_token, sep_token, pad_token, cls_token, mask_token = NEVER_SPLIT
    do_lower_case: bool
    do_basic_tokenize: bool
    never_split: Iterable[str] | None
    strip_accents: bool | None
    tokenize_chinese_chars: bool

    def __init__(
        self,
        vocab_file: str | Path | Mapping[str, int],
        do_lower_case: bool = True,
        max_len: int | None = None,
        do_basic_tokenize: bool = True,
        never_split: Iterable[str] | None = None,
        *,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
        **values: Unpack[CommonOptions],
    ) -> None:
        if isinstance(vocab_file, Mapping):
            vocab, origin = dict(vocab_file), "the vocabulary"
        else:
            vocab, origin = load_vocab(vocab_file), str(vocab_file)
        super().__init__(
            vocab,
            origin=origin,
            do_lower_case=do_lower_case,
            max_len=max_len,
            do_basic_tokenize=do_basic_tokenize,
            never_split=never_split,
            strip_accents=strip_accents,
            tokenize_chinese_chars=tokenize_chinese_chars,
            **values,
        )
        self.special_id("unk_token")  # missed at once: any text may need it
        self.basic_tokenizer: Splitter = self._basic_tokenizer() if do_basic_tokenize else WhitespaceTokenizer()
        self.wordpiece_tokenizer = WordpieceTokenizer(vocab, self.unk_token)
        self._cache = WordCache(self.basic_tokenizer, self._ids_of_word, self.wordpiece_tokenizer.token_ends)

    def _basic_tokenizer(self) -> BasicTokenizer:
        return BasicTokenizer(
            self.do_lower_case,
            set(self.never_split or ()) - set(self.all_special_tokens),
            strip_accents=self.strip_accents,
            tokenize_chinese_chars=self.tokenize_chinese_chars,
        )

    # --- Text to ids

    def span_ids(self, span: Span) -> CachedIds:
        """The ids of a span."""
        cache = self._cache.of_normalized if span.is_normalized else self._cache
        return cache.ids(span.text)

    def span_offsets(self, span: Span) -> Offsets:
        """For each token the characters that it was made of."""
        cache = self._cache.of_normalized if span.is_normalized else self._cache
        return cache.offsets(span.text)

    @property
    def normalizer(self) -> "Normalizer | None":
        """What is done to text before it is cut into words."""
        return self.basic_tokenizer if isinstance(self.basic_tokenizer, BasicTokenizer) else None

    def span_words(self, span: Span) -> list[int]:
        """For each word the number of its tokens."""
        cache = self._cache.of_normalized if span.is_normalized else self._cache
        return cache.sizes(span.text)

    def _ids_of_word(self, word: str) -> tuple[int, ...]:
        return tuple(map(self.vocab.__getitem__, self.wordpiece_tokenizer.subwords(word)))

    # --- Tokens to text

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Subwords joined to words, with spaces between words; the first token stands as it is."""
        return "".join([*tokens[:1], *map(_after_others, tokens[1:])])

    # --- Files

    @classmethod
    def read_files(cls, paths: "Paths") -> tuple[Any, dict[str, Any]]:
        """The first argument of the constructor, and options, from ``vocab.txt`` or ``tokenizer.json``."""
        if "vocab.txt" in paths:
            return paths["vocab.txt"], {}
        if TOKENIZER_NAME not in paths:
            raise missing(cls, f"vocab.txt or {TOKENIZER_NAME}", paths)
        keys = read_tokenizer_json(paths[TOKENIZER_NAME], UNDERSTOOD)
        model, normalizer = keys["model"], keys["normalizer"]
        return model["vocab"], {
            "unk_token": model.get("unk_token", UNKNOWN),
            **_cls_and_sep(keys.get("post_processor"), paths[TOKENIZER_NAME]),
            "do_lower_case": normalizer.get("lowercase", True),
            "strip_accents": normalizer.get("strip_accents"),
            "tokenize_chinese_chars": normalizer.get("handle_chinese_chars", True),
        }


def _after_others(token: str) -> str:
    """The text of a token that follows others."""
    if token.startswith(CONTINUED):
        return token.removeprefix(CONTINUED)
    return token if token.startswith(CLOSING) else f" {token}"


def _cls_and_sep(processor: Any, path: Path) -> dict[str, str]:
    """The special tokens which a ``tokenizer.json`` puts around texts, which must be where BERT wants them."""
    match processor:
        case {"type": "BertProcessing", "cls": [str(cls), _], "sep": [str(sep), _]}:
            return {"cls_token": cls, "sep_token": sep}
        case {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}:
            for cls, sep in permutations(tokens, 2):
                one = [_special(cls, 0), {"Sequence": {"id": "A", "type_id": 0}}, _special(sep, 0)]
                two = [*one, {"Sequence": {"id": "B", "type_id": 1}}, _special(sep, 1)]
                if (single, pair) == (one, two):
                    return {"cls_token": cls, "sep_token": sep}
    raise VocabError(
        f"{path}: post_processor does not put texts between special tokens as BERT does: [CLS] A [SEP] B [SEP].",
        hint="Make it a BertProcessing, or load the file with the tokenizer that it was written for.",
    )


def _special(token: str, kind: int) -> dict[str, Any]:
    """A special token in a template."""
    return {"SpecialToken": {"id": token, "type_id": kind}}
