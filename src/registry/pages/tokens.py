"""A page that shows how a text is tokenized, by one tokenizer or by several next to each other.

Tokens are colored by turns, and have their subword, id and offsets; pointing at one marks the same characters in the
rows of the other tokenizers.  Tokens that are parts of one character, such as bytes, are numbered: é₁ é₂.
"""

from typing import TYPE_CHECKING

from attrs import frozen

from registry.errors import InputError
from registry.pages.rendering import single_page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.tokenization.base import Tokenizer

MOST_TOKENS = 20_000
"""Tokens on a page, of all tokenizers together; more would be slow in a browser."""
SHADES = 5
"""Colors of tokens, by turns."""
VISIBLE = str.maketrans({" ": "·", "\t": "⇥", "\n": "↵\n", "\r": "␍", "\u00a0": "⍽", "\u200b": "·"})
"""Blanks as they are shown."""
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@frozen(kw_only=True)
class ShownToken:
    """A token on the page."""

    label: str
    """The characters that it stands for, with a number for each of several tokens that share one; else its subword."""
    piece: str
    """The subword in the vocabulary."""
    number: int
    """Its id."""
    start: int
    """Offset of its first character in the text."""
    end: int
    """Offset behind its last character."""
    special: bool
    """Whether the tokenizer added it."""
    unknown: bool
    """Whether the vocabulary lacks these characters."""


def tokens_page(tokenizers: "Mapping[str, Tokenizer]", text: str) -> str:
    """The HTML page of the tokens of a text.

    Args:
        tokenizers: Tokenizers by the names under which they are shown.
        text: The text; nothing of it is truncated.

    Raises:
        InputError: There is no tokenizer, or there are too many tokens for a page.
    """
    if not tokenizers:
        raise InputError("A page of tokens needs a tokenizer.")
    rows = {name: shown_tokens(tokenizer, text) for name, tokenizer in tokenizers.items()}
    if sum(map(len, rows.values())) > MOST_TOKENS:
        raise InputError(
            f"The text has {max(map(len, rows.values())):,} tokens.",
            hint=f"A page holds {MOST_TOKENS // len(rows):,} of each tokenizer: use a shorter text.",
        )
    size = len(text.encode("utf-8", "surrogatepass"))
    shown = [
        {
            "name": name,
            "tokens": tokens,
            "size": len(tokenizers[name]),
            "count": (count := sum(not token.special for token in tokens)),
            "special": len(tokens) - count,
            "unknown": sum(token.unknown for token in tokens),
            "bytes": size / count if count else 0.0,
        }
        for name, tokens in rows.items()
    ]
    title = f"Tokens of {', '.join(tokenizers)}"
    numbered = any("₁" in token.label for tokens in rows.values() for token in tokens)
    values = {"rows": shown, "characters": len(text), "size": size, "shades": SHADES, "numbered": numbered}
    return single_page("tokens", title, {}, values)


def shown_tokens(tokenizer: "Tokenizer", text: str) -> list[ShownToken]:
    """The tokens of a text, with the special ones that the tokenizer adds."""
    was, tokenizer.max_len = tokenizer.max_len, None  # the text is for people: no model will refuse it
    try:
        batch = tokenizer([text], return_offsets_mapping=True)
    finally:
        tokenizer.max_len = was
    (ids,), (offsets,), parts = batch["input_ids"], batch["offset_mapping"], batch.sequence_ids(0)
    pieces = tokenizer.convert_ids_to_tokens(ids)
    found: list[ShownToken] = []
    part_of_character = 0
    for index, (number, piece, (start, end), part) in enumerate(zip(ids, pieces, offsets, parts, strict=True)):
        shared = any(  # a character of several tokens
            max(start, offsets[other][0]) < min(end, offsets[other][1])
            for other in (index - 1, index + 1)
            if 0 <= other < len(ids)
        )
        part_of_character = part_of_character + 1 if shared and found and found[-1].start == start else int(shared)
        found.append(
            ShownToken(
                label=piece if part is None or start == end else _label(text[start:end], part_of_character),
                piece=piece,
                number=number,
                start=start,
                end=end,
                special=part is None,
                unknown=part is not None and piece == tokenizer.unk_token != text[start:end],
            )
        )
    return found


def _label(characters: str, part: int) -> str:
    return characters.translate(VISIBLE) + (str(part).translate(SUBSCRIPTS) if part else "")
