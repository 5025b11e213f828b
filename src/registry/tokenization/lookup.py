"""Tokens and ids: the vocabulary of a tokenizer, its added tokens, and the special ones among them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from registry.errors import VocabError
from registry.tokenization.options import SPECIAL_TOKENS
from registry.tokenization.vocabulary import tokens_by_id

Ids: TypeAlias = "int | Iterable[int]"


class SpecialTokenId:
    """The id of a special token, by the name of the attribute: ``pad_token_id`` is the id of ``pad_token``.

    None where the tokenizer has no such token; VocabError where it has one that its vocabulary lacks.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name.removesuffix("_id")

    def __get__(self, lookup: "Lookup | None", owner: type) -> Any:
        if lookup is None:
            return self
        return None if getattr(lookup, self._name) is None else lookup.special_id(self._name)


class Lookup:
    """Tokens and their ids, which count from 0 without gaps."""

    unk_token: str | None = None
    sep_token: str | None = None
    pad_token: str | None = None
    cls_token: str | None = None
    mask_token: str | None = None
    bos_token: str | None = None
    eos_token: str | None = None
    unk_token_id = SpecialTokenId()
    sep_token_id = SpecialTokenId()
    pad_token_id = SpecialTokenId()
    cls_token_id = SpecialTokenId()
    mask_token_id = SpecialTokenId()
    bos_token_id = SpecialTokenId()
    eos_token_id = SpecialTokenId()
    additional_special_tokens: Sequence[str] = ()
    """Special tokens without a role."""
    added_tokens: Mapping[str, int] = {}
    """Tokens beyond the vocabulary, and others that are recognized as they stand, wherever they stand."""

    vocab: dict[str, int]
    """Every token and its id, added tokens last."""
    ids_to_tokens: list[str]
    """Every token, in the order of ids."""
    vocab_size: int
    """Tokens of the vocabulary, without added ones."""

    def _set_vocabulary(self, vocab: dict[str, int], origin: str) -> None:
        """Number the tokens.  Raises VocabError when ids are missing, used twice, or contradict the added tokens."""
        self.ids_to_tokens = tokens_by_id(vocab, origin=origin)
        self.vocab_size = len(self.ids_to_tokens)
        for token, number in self.added_tokens.items():
            if vocab.get(token, number) != number:
                raise VocabError(f"{token!r} is added with the id {number}, but has {vocab[token]} in {origin}.")
        self.vocab = {**vocab, **self.added_tokens} if self.added_tokens else vocab
        for token in self.additional_special_tokens:
            if token not in self.vocab:
                raise VocabError(f"{token!r} is declared a special token, but has no id in {origin}.")
        if len(self.vocab) > self.vocab_size:
            self.ids_to_tokens = tokens_by_id(self.vocab, origin=f"{origin} with the tokens added to it")

    def __len__(self) -> int:
        return len(self.ids_to_tokens)

    def get_vocab(self) -> dict[str, int]:
        """Every token and its id; a copy."""
        return dict(self.vocab)

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """The id of a token, or the list of the ids of several; unknown tokens get that of ``unk_token``."""
        if isinstance(tokens, str):
            return self.vocab[tokens] if tokens in self.vocab else self.special_id("unk_token")
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def convert_ids_to_tokens(self, ids: Ids, skip_special_tokens: bool = False) -> Any:
        """The token of an id, or the list of the tokens of several (a list, an array, a tensor).

        Raises:
            VocabError: No token has this id.
        """
        if isinstance(ids, int):
            if 0 <= ids < len(self):
                return self.ids_to_tokens[ids]
            raise VocabError(f"No token has the id {ids}: the ids of this tokenizer are 0 to {len(self) - 1}.")
        if hasattr(ids, "tolist"):
            return self.convert_ids_to_tokens(ids.tolist(), skip_special_tokens)
        skipped = set(self.all_special_ids) if skip_special_tokens else ()
        return [self.convert_ids_to_tokens(number) for number in ids if number not in skipped]

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens which the vocabulary has."""
        named = (getattr(self, name) for name in SPECIAL_TOKENS)
        return [token for token in dict.fromkeys([*named, *self.additional_special_tokens]) if token in self.vocab]

    @property
    def all_special_ids(self) -> list[int]:
        """Their ids."""
        return [self.vocab[token] for token in self.all_special_tokens]

    def special_id(self, name: str) -> int:
        """The id of a special token.

        Args:
            name: The name of its attribute, ``"mask_token"`` for example.

        Raises:
            VocabError: There is none; a special token is missed when it is needed.
        """
        token = getattr(self, name)
        if token in self.vocab:
            return self.vocab[token]
        lacks = f"has no {name}" if token is None else f"has the {name} {token!r}, which its vocabulary lacks"
        raise VocabError(
            f"This {type(self).__name__} {lacks}; it is needed here.",
            hint=f"Take the vocabulary that the model was trained with, or name one of its tokens: {name}=...",
        )
