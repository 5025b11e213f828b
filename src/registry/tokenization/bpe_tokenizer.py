"""Tokenizers by byte pairs: a vocabulary, rules that merge symbols, and special tokens after them."""

import json
from collections.abc import Iterable, Mapping
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from registry.errors import MissingTokenizerError, VocabError
from registry.files.filenames import MERGES_NAME, SPECIAL_TOKENS_NAME, TOKENIZER_NAME
from registry.tokenization.added_tokens.token import AddedToken, as_added_tokens
from registry.tokenization.base import missing
from registry.tokenization.bpe import (
    VERSION,
    BytePairs,
    Merges,
    Pair,
    listed_merges,
    parse_merges,
    read_json_vocabulary,
    read_merges,
)
from registry.tokenization.causal import CausalTokenizer, bos_and_eos, cls_and_sep
from registry.tokenization.options import ADDED_TOKENS, Option, check
from registry.tokenization.tokenizer_json import read_tokenizer_json
from registry.tokenization.vocabulary import parse_vocabulary, read_bytes

if TYPE_CHECKING:
    from registry.records import Paths


def _is_tokens(value: Any) -> bool:
    is_list = isinstance(value, (list, tuple)) and all(type(token) is str and token for token in value)
    return is_list and len(set(value)) == len(value)


TOKENS = Option("a list of tokens, each of them once", _is_tokens)


class BytePairTokenizer(CausalTokenizer):
    """Base of tokenizers that merge symbols by rules.

    An architecture's tokenizer sets ``understood``, and defines ``span_ids``, ``span_offsets`` and
    ``convert_tokens_to_string``.

    Args:
        vocab_file: Path of a ``vocab.json``, or the vocabulary itself, a mapping from tokens to ids.
        merges_file: Path of a ``merges.txt``, or the rules themselves, pairs of symbols.  When None, ``merges.txt``
            and ``special_tokens.txt`` are looked for next to the vocabulary.
        special_tokens: Special tokens; those which the vocabulary lacks follow it, in this order.
        **values: Values of ``options``.
    """

    has_clean_up: ClassVar[bool] = False
    vocabulary_name: ClassVar[str] = "vocab.json"
    options: ClassVar[Mapping[str, Option]] = {**CausalTokenizer.options, "special_tokens": TOKENS}
    understood: ClassVar[Mapping[str, Mapping[str, Any] | None]]
    """The parts of a ``tokenizer.json`` that make this tokenizer."""

    special_tokens: tuple[str, ...] = ()

    def __init__(
        self,
        vocab_file: str | Path | Mapping[str, int],
        merges_file: str | Path | Iterable[Pair] | BytePairs | None = None,
        special_tokens: Iterable[str] | None = None,
        **values: Any,
    ) -> None:
        if isinstance(vocab_file, Mapping):
            vocab, origin = dict(vocab_file), "the vocabulary"
        else:
            vocab, origin = read_json_vocabulary(vocab_file), str(vocab_file)
            if merges_file is None:
                merges_file = _merges_next_to(Path(vocab_file))
                special_tokens = _special_tokens_next_to(Path(vocab_file)) if special_tokens is None else special_tokens
        super().__init__(vocab, origin=origin, **_numbered(special_tokens or (), vocab, values))
        self.byte_pairs: BytePairs = (
            merges_file if isinstance(merges_file, BytePairs) else BytePairs(_merges(merges_file), vocab)
        )

    def set_special_tokens(self, special_tokens: Iterable[str]) -> None:
        """Replace the special tokens that follow the vocabulary."""
        old = set(self.special_tokens)
        changes = {
            "special_tokens": special_tokens,
            "added_tokens": {text: token for text, token in self.added_tokens.items() if text not in old},
            "additional_special_tokens": [token for token in self.additional_special_tokens if token not in old],
        }
        self._remake(changes)

    def _remake(self, changes: Mapping[str, Any]) -> None:
        super()._remake({"merges_file": self.byte_pairs, **changes})  # which take most of the time

    # --- Names of pytorch-pretrained-bert

    @property
    def encoder(self) -> dict[str, int]:
        """The tokens of the vocabulary and their ids, without those that were added to it; a copy."""
        return dict(islice(self.vocab.items(), self.vocab_size))

    @property
    def decoder(self) -> dict[int, str]:
        """Their ids, and the tokens; a copy."""
        return {number: token for token, number in self.encoder.items()}

    @property
    def bpe_ranks(self) -> dict[Pair, int]:
        """The rules, and the number of each in their order; a copy."""
        return {pair: rank for rank, pair in enumerate(self._pairs())}

    @property
    def special_tokens_decoder(self) -> dict[int, str]:
        """The ids of ``special_tokens``, and the tokens; a copy."""
        return {self.vocab[token]: token for token in self.special_tokens}

    # --- Files

    @classmethod
    def read_files(cls, paths: "Paths") -> tuple[Any, dict[str, Any]]:
        """The first argument of the constructor, and options, from the files of a vocabulary."""
        special = {}
        if SPECIAL_TOKENS_NAME in paths:
            special["special_tokens"] = read_special_tokens(paths[SPECIAL_TOKENS_NAME])
        if cls.vocabulary_name in paths and (MERGES_NAME in paths or TOKENIZER_NAME not in paths):
            return paths[cls.vocabulary_name], {"merges_file": paths.get(MERGES_NAME), **special}
        if TOKENIZER_NAME not in paths:
            raise missing(cls, f"{cls.vocabulary_name} and {MERGES_NAME}, or {TOKENIZER_NAME}", paths)
        keys = read_tokenizer_json(paths[TOKENIZER_NAME], cls.understood)
        return keys["model"]["vocab"], {**cls.options_from(keys, str(paths[TOKENIZER_NAME])), **special}

    @classmethod
    def options_from(cls, keys: Mapping[str, Any], origin: str) -> dict[str, Any]:
        """Arguments of the constructor, from the parts of a ``tokenizer.json``."""
        rules = keys["model"].get("merges")
        if not isinstance(rules, list):
            raise VocabError(f"{origin}: model.merges must be a list of rules.")
        return {
            "merges_file": listed_merges(rules, origin=f"{origin}: model.merges"),
            **(cls_and_sep if any(cls.template) else bos_and_eos)(keys.get("post_processor"), origin),
        }

    def vocabulary_files(self) -> dict[str, str]:
        """The vocabulary, the rules and the special tokens.  Raises VocabError for a rule that no line can hold."""
        vocab = dict(islice(self.vocab.items(), self.vocab_size))
        rules = f"{VERSION}\n" + "".join(f"{first} {second}\n" for first, second in self._pairs())
        if parse_merges(rules.encode(errors="replace"), origin="This tokenizer")[:2] != self.byte_pairs.merges[:2]:
            raise VocabError(
                "A rule of this tokenizer contains a line break or a blank, which a line cannot represent."
            )
        contents = {self.vocabulary_name: json.dumps(vocab, ensure_ascii=False), MERGES_NAME: rules}
        if self.special_tokens:
            contents[SPECIAL_TOKENS_NAME] = "".join(f"{token}\n" for token in self.special_tokens)
        return contents

    def _pairs(self) -> list[Pair]:
        """The rules, in order."""
        return list(zip(self.byte_pairs.merges.firsts, self.byte_pairs.merges.seconds, strict=True))

    def __reduce__(self) -> tuple[Any, ...]:
        revive, (reference, state) = super().__reduce__()
        return revive, (reference, {**state, "merges_file": self.byte_pairs.merges})


# --- Files ------------------------------------------------------------------------------------------------------------


def read_special_tokens(path: Path) -> list[str]:
    """The tokens of a ``special_tokens.txt``, one a line; pytorch-pretrained-bert writes an empty one for none."""
    data = read_bytes(path)
    return list(parse_vocabulary(data, origin=str(path))) if data.strip() else []


def _merges_next_to(vocab_file: Path) -> Path:
    path = vocab_file.with_name(MERGES_NAME)
    if path.is_file():
        return path
    raise MissingTokenizerError(
        f"The merge rules of {vocab_file} are missing: {path} does not exist.",
        hint="Name the file: merges_file=...",
    )


def _special_tokens_next_to(vocab_file: Path) -> list[str]:
    path = vocab_file.with_name(SPECIAL_TOKENS_NAME)
    return read_special_tokens(path) if path.is_file() else []


def _merges(found: str | Path | Merges | Iterable[Pair] | None) -> Merges:
    """The rules of a file, or those that were given."""
    if isinstance(found, Merges):
        return found
    if isinstance(found, (str, Path)):
        return read_merges(found)
    if found is None:
        raise MissingTokenizerError(
            "A vocabulary that is not a file comes without merge rules.", hint="Give them as well: merges_file=[...]"
        )
    return listed_merges(found, origin="the rules")


def _numbered(special: Iterable[str], vocab: Mapping[str, int], values: Mapping[str, Any]) -> dict[str, Any]:
    """The options ``values``, with special tokens among those that are added and those that are special.

    Those which have an id keep it; the others get the next ones.  Raises ConfigError when a token is empty or there
    twice, and VocabError when those beyond the vocabulary do not stand in the order of their ids.
    """
    check(special, "special_tokens", TOKENS)
    added_tokens = values.get("added_tokens", {})
    check(added_tokens, "added_tokens", ADDED_TOKENS)
    added = {token.content: token for token in as_added_tokens(added_tokens)}
    free = count(len(vocab) + sum(token not in vocab for token in added))
    for text in special:
        if text not in vocab and text not in added:
            added[text] = AddedToken(text, next(free))
    numbers = [added[text].id or 0 for text in special if text not in vocab]
    if numbers != sorted(numbers):
        raise VocabError(f"special_tokens are not in the order of the ids {numbers}, with which they were added.")
    known = values.get("additional_special_tokens", ())
    return {
        **values,
        "special_tokens": special,
        "added_tokens": added,
        "additional_special_tokens": [*dict.fromkeys([*known, *special])],
    }
