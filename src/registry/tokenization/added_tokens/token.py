"""Added tokens: tokens that are found in a text before it is cut, with the flags of the library ``tokenizers``."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self

FLAGS = ("special", "normalized", "lstrip", "rstrip", "single_word")
"""The flags of an added token, as files name them."""


class AddedToken(NamedTuple):
    """A token that is found in a text before the text is cut, whether the vocabulary has it or not.

    Names, defaults and meaning are those of the library ``tokenizers``.
    """

    content: str
    """Its text."""
    id: int | None = None
    """Its id; None for that of the vocabulary, or for the next one where the token is added."""
    special: bool = False
    """Whether ``skip_special_tokens`` skips it, and ``split_special_tokens`` takes it for ordinary text."""
    normalized: bool | None = None
    """Whether it is found in normalized text, in lower case for example; None for every token that is not special."""
    lstrip: bool = False
    """Whether it takes the white space before it."""
    rstrip: bool = False
    """Whether it takes the white space after it."""
    single_word: bool = False
    """Whether it is found only where neither a letter nor a digit stands next to it."""

    def resolved(self, *, special: bool = False) -> Self:
        """The same token, ``special`` if it is declared so elsewhere, with no flag left open."""
        special = self.special or special
        normalized = not special if self.normalized is None else self.normalized
        return self._replace(special=special, normalized=normalized)

    def flags(self) -> dict[str, Any]:
        """The content and the flags, as files have them."""
        return {"content": self.content, **{flag: getattr(self, flag) for flag in FLAGS}}


def added_token(token: Any, *, special: bool = False) -> AddedToken:
    """A token to be added, from its text, an ``AddedToken``, or a token of ``tokenizers`` or transformers.

    Raises:
        TypeError: It is none of these.
    """
    if isinstance(token, str):
        return AddedToken(token, special=special)
    if isinstance(token, AddedToken):
        return token._replace(special=token.special or special)
    if not isinstance(getattr(token, "content", None), str):
        raise TypeError(f"A token to be added is a string or an AddedToken, not {token!r:.80}.")
    if special and not token.special:
        token.special = True  # as tokenizers does, which then computes the default of another flag
    return AddedToken(token.content, **{flag: getattr(token, flag) for flag in FLAGS})


def are_added_tokens(value: object) -> bool:
    """Whether a value is one that ``as_added_tokens`` takes."""
    if isinstance(value, Mapping):
        items = [item if isinstance(item, AddedToken) else AddedToken(text, item) for text, item in value.items()]
    elif isinstance(value, (list, tuple)) and all(isinstance(item, AddedToken) for item in value):
        items = list(value)
    else:
        return False
    return all(
        type(token.content) is str
        and token.content != ""
        and (type(token.id) is int or token.id is None)
        and all(type(flag) is bool or flag is None for flag in token[2:])
        for token in items
    )


def as_added_tokens(value: Mapping[str, int] | Mapping[str, AddedToken] | Iterable[AddedToken]) -> list[AddedToken]:
    """Added tokens, from records, or from a mapping of texts to ids or to records."""
    if isinstance(value, Mapping):
        return [item if isinstance(item, AddedToken) else AddedToken(text, item) for text, item in value.items()]
    return list(value)
