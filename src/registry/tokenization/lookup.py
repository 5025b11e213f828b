"""Tokens and ids: the vocabulary of a tokenizer, its added tokens, and the special ones among them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from registry.errors import InputError, VocabError
from registry.tokenization.added_tokens.token import AddedToken, as_added_tokens
from registry.tokenization.options import SPECIAL_TOKENS
from registry.tokenization.vocabulary import tokens_by_id

Ids: TypeAlias = "int | Iterable[Any]"
"""An id or several, or rows of them: numbers, lists, arrays, tensors."""


def plain(ids: Any) -> Any:
    """Ids as Python's numbers and lists: of a number, a list, an array or a tensor, or lists of such."""
    if type(ids) is int:
        return ids
    if hasattr(ids, "tolist"):
        return ids.tolist()
    if isinstance(ids, Iterable) and not isinstance(ids, (str, bytes, Mapping)):
        return [number if type(number) is int else plain(number) for number in ids]
    return ids


class AddedTokenError(VocabError):
    """Added tokens contradict the vocabulary, or each other."""


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

    def __set__(self, lookup: "Lookup", number: int | None) -> None:
        setattr(lookup, self._name, None if number is None else lookup.convert_ids_to_tokens(number))


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
    added_tokens: Mapping[str, AddedToken] = {}
    """Tokens beyond the vocabulary, and others that are found wherever they stand, by their text."""

    vocab: dict[str, int]
    """Every token and its id, added tokens last."""
    ids_to_tokens: list[str]
    """Every token, in the order of ids."""
    own_vocab: Mapping[str, int]
    """The tokens of the vocabulary and their ids, without added ones."""
    vocab_size: int
    """How many those are."""

    def _set_vocabulary(self, vocab: dict[str, int], origin: str) -> None:
        """Number the tokens.  Raises VocabError when ids are missing, used twice, or contradict the added tokens."""
        self.ids_to_tokens = tokens_by_id(vocab, origin=origin)
        self.vocab_size = len(self.ids_to_tokens)
        self.own_vocab = vocab
        added = as_added_tokens(self.added_tokens)
        self.added_tokens = {token.content: token for token in self._numbered_tokens(added, origin)} if added else {}
        ids = {text: token.id for text, token in self.added_tokens.items() if token.id is not None}
        self.vocab = {**vocab, **ids} if ids else vocab
        for token in self.additional_special_tokens:
            if token not in self.vocab:
                raise VocabError(f"{token!r} is declared a special token, but has no id in {origin}.")
        if len(self.vocab) > self.vocab_size:
            try:
                self.ids_to_tokens = tokens_by_id(self.vocab, origin=f"{origin} with the tokens added to it")
            except VocabError as problem:
                raise AddedTokenError(problem.message) from None
        self._recognized = self._recognized_tokens()

    def _numbered_tokens(self, tokens: Iterable[AddedToken], origin: str) -> Iterator[AddedToken]:
        """Added tokens with their ids and flags, but for special ones that have no id."""
        special_tokens = self._named_special_tokens()
        for token in tokens:
            number = self.own_vocab.get(token.content, token.id)
            if number is None and token.content in special_tokens:  # missed when it is needed
                continue
            if number is None:
                raise AddedTokenError(f"{token.content!r} is added without an id, and has none in {origin}.")
            if token.id not in (None, number):
                raise AddedTokenError(
                    f"{token.content!r} is added with the id {token.id}, but has {number} in {origin}."
                )
            yield token._replace(id=number).resolved(special=token.content in special_tokens)

    def _recognized_tokens(self) -> dict[str, AddedToken]:
        """Every token that is found in texts, by its text: special ones first, each in the order of ids."""
        special_tokens = [token for token in self._named_special_tokens() if token in self.vocab]
        named = {token: AddedToken(token, self.vocab[token], special=True).resolved() for token in special_tokens}
        tokens = sorted({**named, **self.added_tokens}.values(), key=lambda token: (not token.special, token.id))
        return {token.content: token for token in tokens}

    def _named_special_tokens(self) -> list[str]:
        """The special tokens that have a role, and others that are declared, known to the vocabulary or not."""
        named = (getattr(self, name) for name in SPECIAL_TOKENS)
        return [token for token in dict.fromkeys([*named, *self.additional_special_tokens]) if token is not None]

    def __len__(self) -> int:
        return len(self.ids_to_tokens)

    def get_vocab(self) -> dict[str, int]:
        """Every token and its id; a copy."""
        return dict(self.vocab)

    def get_added_vocab(self) -> dict[str, int]:
        """Every token that is found wherever it stands, the special ones among them, and its id, in their order."""
        return {token: self.vocab[token] for token in sorted(self._recognized, key=self.vocab.__getitem__)}

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """The id of a token, or the list of the ids of several; unknown tokens get that of ``unk_token``."""
        if isinstance(tokens, str):
            return self.vocab[tokens] if tokens in self.vocab else self.special_id("unk_token")
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def convert_ids_to_tokens(self, ids: Ids, skip_special_tokens: bool = False) -> Any:
        """The token of an id, or the list of the tokens of several (a list, an array, a tensor).

        Raises:
            VocabError: No token has this id.
            InputError: These are not ids, or rows of them.
        """
        ids = plain(ids)
        if isinstance(ids, int):
            return self._token(ids)
        if not isinstance(ids, list):
            raise InputError(f"Ids are whole numbers, or lists, arrays or tensors of them, not {ids!r:.80}.")
        skipped = set(self.all_special_ids) if skip_special_tokens else ()
        return [self._token(number) for number in ids if number not in skipped]

    def _token(self, number: Any) -> str:
        if not isinstance(number, int):
            raise InputError(f"An id is a whole number, not {number!r:.80}.", hint="batch_decode takes rows of ids.")
        if 0 <= number < len(self.ids_to_tokens):
            return self.ids_to_tokens[number]
        raise VocabError(f"No token has the id {number}: the ids of this tokenizer are 0 to {len(self) - 1}.")

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens which the vocabulary has."""
        added = (text for text, token in self.added_tokens.items() if token.special)
        return [token for token in dict.fromkeys([*self._named_special_tokens(), *added]) if token in self.vocab]

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
