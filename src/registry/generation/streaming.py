"""Text of tokens as they come: of each token, as much as no later token can change."""

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from registry.errors import InputError
from registry.tokenization.lookup import plain

if TYPE_CHECKING:
    from torch import Tensor

    from registry.tokenization.base import Tokenizer

UNFINISHED = "\ufffd"
"""The replacement character, which stands for a character of which some bytes are missing."""


def print_piece(piece: str) -> None:
    """Print a piece of text at once, without a line end."""
    sys.stdout.write(piece)
    sys.stdout.flush()


class TextStreamer:
    """The text of new tokens, piece by piece.

    The text of tokens is not the sum of the texts of each: a character may be of several tokens, and the space before a
    token may depend on the one before it.  So a token is spelled together with those before it, and what could still
    change is held back.  All pieces together are the text that ``tokenizer.decode`` gives for prompt and new tokens,
    without that of the prompt.

    It is called by ``generate`` for each step of a single text::

        streamer = TextStreamer(tokenizer, input_ids[0])
        model.generate(input_ids, max_new_tokens=50, on_token=streamer)
        streamer.end()

    or by a loop of your own, with ``put``.

    Args:
        tokenizer: The tokenizer.
        prompt: The ids of the prompt, ``(tokens,)``; its text is not shown.
        show: Called with each piece; prints it by default.  None for nothing: ``put`` returns the pieces as well.
        skip_special_tokens: Whether special tokens have no text.
    """

    ids: list[int]
    """The new ids."""
    text: str
    """The text of them that was shown."""

    def __init__(
        self,
        tokenizer: "Tokenizer",
        prompt: "Iterable[int] | Tensor" = (),
        *,
        show: Callable[[str], object] | None = print_piece,
        skip_special_tokens: bool = True,
    ) -> None:
        self.ids = []
        self.text = ""
        self._tokenizer = tokenizer
        self._show = show
        self._skip_special_tokens = skip_special_tokens
        self._window = _row(prompt)
        """The last tokens: enough to spell what follows."""
        self._shown = self._spelled()
        """The text of them that needs not be shown any more."""
        self._old = len(self._window)
        """How many of them come before the last piece."""

    def __call__(self, step: "Tensor") -> None:
        """Take the ids of a step of ``generate``, ``(1,)``.

        Raises:
            InputError: The step is one of several texts.
        """
        ids = _row(step)
        if len(ids) != 1:
            raise InputError(
                f"A TextStreamer takes the tokens of one text, and this step has those of {len(ids)}.",
                hint="Make one streamer for each, and pass step[row] to its put: on_token=lambda step: ...",
            )
        self.put(ids)

    def put(self, ids: "int | Iterable[int] | Tensor") -> str:
        """Add the next ids, one or several, and show the text that became final.

        Returns:
            That text; empty if it is held back.
        """
        new = _row(ids)
        self.ids += new
        self._window += new
        try:
            spelled = self._spelled()
        except UnicodeDecodeError:  # of a tokenizer with errors="strict", in the middle of a character
            return ""
        piece = self._piece(spelled.rstrip(UNFINISHED))
        if piece and not spelled.endswith(UNFINISHED):
            self._window, self._old = self._window[self._old :], len(self._window) - self._old
            self._shown = self._spelled()
        return piece

    def end(self) -> str:
        """Show the text that was held back, and return it."""
        return self._piece(self._spelled())

    def _piece(self, spelled: str) -> str:
        """Show what a text has beyond the one that was shown, and return it."""
        shown = self._shown
        if shown.startswith(spelled):
            return ""
        if not spelled.startswith(shown):
            shown = shown.rstrip(UNFINISHED)  # of a prompt that ends in the middle of a character
        if not spelled.startswith(shown):
            return ""
        piece, self._shown = spelled[len(shown) :], spelled
        self.text += piece
        if self._show is not None:
            self._show(piece)
        return piece

    def _spelled(self) -> str:
        text = self._tokenizer.decode(self._window, self._skip_special_tokens, clean_up_tokenization_spaces=False)
        return str(text)


def _row(ids: Any) -> list[int]:
    found = plain(ids)
    return found if isinstance(found, list) else [found]
