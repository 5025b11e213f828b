"""Truncation: which tokens of a text, or of two, a row holds; and windows, which hold them all.

Strategies, shares and the order of windows are those of transformers' fast tokenizers.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any, NamedTuple

from registry.errors import InputError
from registry.tokenization.batches.encoding import Range

STRATEGIES: Mapping[Any, str | None] = {
    False: None, None: None, "do_not_truncate": None, True: "longest_first", "longest_first": "longest_first",
    "only_first": "only_first", "only_second": "only_second",
}  # fmt: skip
"""Values of ``truncation=``, and the strategy that they name."""


class Truncation(NamedTuple):
    """How many tokens a row may have, and which are cut."""

    max_length: int | None
    """Tokens of a row, special ones included; None for any number."""
    strategy: str | None
    """The text that is cut: a value of ``STRATEGIES``."""
    stride: int
    """Tokens that neighboring windows share; 0 for a single window, unless ``windows``."""
    side: str = "right"
    """Where text is cut: ``"right"`` keeps its beginning, ``"left"`` its end."""
    windows: bool | None = None
    """Whether there are windows that hold all tokens; where there is a stride, when None."""

    @property
    def has_windows(self) -> bool:
        """Whether what one row cannot hold becomes further rows."""
        return bool(self.stride) if self.windows is None else self.windows

    def cuts(self, tokens: int) -> bool:
        """Whether a row of so many tokens is cut."""
        return self.strategy is not None and self.max_length is not None and tokens > self.max_length


def windows(first: int, second: int, added: int, truncation: Truncation) -> list[tuple[Range, Range]]:
    """The parts of one or two texts that fit into a row each.

    With a stride there are as many windows as it takes to hold every token; without, there is one.  Where both texts
    are cut, every window of one meets every window of the other.

    Args:
        first: Tokens of the first text.
        second: Tokens of the second text; 0 without one.
        added: Special tokens that each row has in addition.
        truncation: How many tokens a row may have, and which are cut.

    Returns:
        For each row its tokens of the first text, and of the second.

    Raises:
        InputError: The lengths cannot be met.
    """
    if not truncation.cuts(first + second + added):
        return [((0, first), (0, second))]
    assert truncation.max_length is not None
    share, other_share = _shares(first, second, truncation.max_length - added, truncation.strategy)
    if not truncation.has_windows:
        return [(_kept(first, share, truncation.side), _kept(second, other_share, truncation.side))]
    others = _ranges(second, other_share, truncation)
    pairs = list(product(_ranges(first, share, truncation), others))
    return pairs[:1] + pairs[len(others) :] + pairs[1 : len(others)]  # the order of the reference


def _shares(first: int, second: int, room: int, strategy: str | None) -> tuple[int, int]:
    """How many tokens each text may keep."""
    if strategy == "longest_first":
        less = min(first, second, room // 2)
        return (less, room - less) if first <= second else (room - less, less)
    kept = room - (second if strategy == "only_first" else first)
    if kept < 1:
        raise InputError(
            f"truncation={strategy!r} cannot fit {first} and {second} tokens into {room}: nothing would remain of "
            f"the text that is truncated."
        )
    return (kept, second) if strategy == "only_first" else (first, kept)


def _kept(size: int, share: int, side: str) -> Range:
    """The tokens of a text of which ``share`` are kept, where it is cut on one side."""
    return (0, min(size, share)) if side == "right" else (max(size - share, 0), size)


def _ranges(size: int, share: int, truncation: Truncation) -> list[Range]:
    """The windows of ``share`` tokens over a text of ``size`` tokens; on the left, the last tokens come first."""
    stride = truncation.stride
    if size <= share:
        return [(0, size)]
    if not 0 <= stride < share:
        raise InputError(
            f"stride={stride} must be from 0 to below {share}, the tokens of the text in one window: take a shorter "
            f"stride, or a longer max_length."
        )
    found = [(start, min(start + share, size)) for start in range(0, size - stride, share - stride)]
    return found if truncation.side == "right" else [(size - stop, size - start) for start, stop in found]
