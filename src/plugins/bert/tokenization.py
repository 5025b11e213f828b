"""BERT's tokenizer (Devlin et al., 2018): words, then pieces of words (WordPiece; Wu et al., 2016, section 4.1).

Ids and places are those of transformers' ``BertTokenizerFast``, on any text.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, chain, permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from registry.errors import VocabError
from registry.tokenization.base import Tokenizer, missing
from registry.tokenization.batches import Frame, Segment
from registry.tokenization.chunk_cache import PackedIds
from registry.tokenization.options import FLAG, OPTIONAL_FLAG, OPTIONAL_WORDS, Option
from registry.tokenization.tokenizer_json import TOKENIZER, read_tokenizer_json
from registry.tokenization.vocabulary import read_vocabulary as load_vocab
from registry.tokenization.word_cache import WordCache
from registry.tokenization.words import NEVER_SPLIT, BasicTokenizer, Splitter, WhitespaceTokenizer

if TYPE_CHECKING:
    from registry.records import Paths  # a name for type checkers, which would cost a third of the time of loading

__all__ = ["BasicTokenizer", "BertTokenizer", "WordpieceTokenizer", "load_vocab"]

UNKNOWN = "[UNK]"

CONTINUED = "##"
"""Marks a piece that continues a word."""

LONGEST_WORD = 100
"""Characters of the longest word that is cut into pieces."""

CLOSING = (".", "?", "!", ",")
"""Signs that follow a word without a space when tokens are joined."""

UNDERSTOOD: Mapping[str, Mapping[str, Any]] = {
    "model": {"type": "WordPiece", "continuing_subword_prefix": CONTINUED, "max_input_chars_per_word": LONGEST_WORD},
    "normalizer": {"type": "BertNormalizer", "clean_text": True},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
}
"""The parts of a ``tokenizer.json`` that make this tokenizer."""


class WordpieceTokenizer:
    """Cuts words into the pieces that a vocabulary has, always the longest; all but the first start with ``##``."""

    def __init__(
        self, vocab: Collection[str], unk_token: str = UNKNOWN, max_input_chars_per_word: int = LONGEST_WORD
    ) -> None:
        self.vocab = vocab
        self.unk_token = unk_token
        self.max_input_chars_per_word = max_input_chars_per_word

    @cached_property
    def _continued(self) -> set[str]:
        """Pieces that continue a word, without their mark."""
        return {token[2:] for token in self.vocab if token[:2] == CONTINUED}

    @cached_property
    def _longest(self) -> int:
        """Characters of the longest piece."""
        return max(map(len, self.vocab), default=0)

    def tokenize(self, text: str) -> list[str]:
        """The pieces of all words of a text, which stand between spaces."""
        return list(chain.from_iterable(map(self.pieces, text.split())))

    def pieces(self, word: str) -> list[str]:
        """The pieces of a word; the unknown token alone when it is too long, or some part of it has no piece."""
        if len(word) > self.max_input_chars_per_word:
            return [self.unk_token]
        found: list[str] = []
        start, mark, known = 0, "", self.vocab
        while start < len(word):
            for stop in range(min(start + self._longest, len(word)), start, -1):
                if word[start:stop] in known:
                    break
            else:
                return [self.unk_token]
            found.append(mark + word[start:stop])
            start, mark, known = stop, CONTINUED, self._continued
        return found

    def stops(self, word: str) -> Iterable[int]:
        """Where in a word each of its pieces ends."""
        first, *others = self.pieces(word)
        if not others:
            return [len(word)]
        return accumulate((len(piece) - len(CONTINUED) for piece in others), initial=len(first))


class BertTokenizer(Tokenizer):
    """The tokenizer of BERT models.

    - ``vocab_file``: path of a ``vocab.txt``, or the vocabulary itself, a mapping from tokens to ids.
    - ``do_lower_case``: whether the model was trained on lower-case text without accents.
    - ``max_len``: tokens of the longest input of the model.
    - ``do_basic_tokenize``: False cuts at white space only, and changes nothing.
    - ``never_split``: words that stay whole where they stand between spaces; special tokens stay whole anyway.
    - ``strip_accents``: whether accents are dropped; as ``do_lower_case`` when None.
    - ``tokenize_chinese_chars``: whether each Chinese character is a word of its own.
    - further options, special tokens among them, stand in ``BertTokenizer.options``.

    Raises VocabError when the vocabulary is damaged or lacks ``unk_token``, ConfigError for an option with a value that
    it cannot have, and UnknownOptionError.
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
    frame: ClassVar[Frame[tuple[str, ...]]] = Frame(start=("cls_token",), between=("sep_token",), end=("sep_token",))
    model_inputs: ClassVar[tuple[str, ...]] = ("input_ids", "token_type_ids", "attention_mask")

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
        **values: Any,
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
        self._memory = WordCache(self.basic_tokenizer, self._ids_of_word, self.wordpiece_tokenizer.stops)

    def _basic_tokenizer(self) -> BasicTokenizer:
        return BasicTokenizer(
            self.do_lower_case,
            set(self.never_split or ()) - set(self.all_special_tokens),
            strip_accents=self.strip_accents,
            tokenize_chinese_chars=self.tokenize_chinese_chars,
        )

    # --- Text to ids

    def _ids(self, text: str) -> list[int]:
        return self._memory.ids(text)

    def _packed(self, text: str) -> PackedIds:
        return self._memory.packed(text)

    def _located(self, text: str) -> Segment:
        return self._memory.located(text)

    def _ids_of_word(self, word: str) -> tuple[int, ...]:
        return tuple(map(self.vocab.__getitem__, self.wordpiece_tokenizer.pieces(word)))

    # --- Tokens to text

    def _join(self, tokens: Sequence[str]) -> str:
        """Pieces joined to words and words set apart by spaces; the first token stands as it is."""
        return "".join([*tokens[:1], *map(_after_others, tokens[1:])])

    # --- Files

    @classmethod
    def _read(cls, paths: "Paths") -> tuple[Any, dict[str, Any]]:
        if "vocab.txt" in paths:
            return paths["vocab.txt"], {}
        if TOKENIZER not in paths:
            raise missing(cls, f"vocab.txt or {TOKENIZER}", paths)
        keys = read_tokenizer_json(paths[TOKENIZER], UNDERSTOOD)
        model, normalizer = keys["model"], keys["normalizer"]
        return model["vocab"], {
            "unk_token": model.get("unk_token", UNKNOWN),
            **_cls_and_sep(keys.get("post_processor"), paths[TOKENIZER]),
            "added_tokens": keys["added_tokens"],
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
