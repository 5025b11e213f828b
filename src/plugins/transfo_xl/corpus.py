"""A corpus of three texts, encoded, and cut into segments in their order."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple, Self, TypeAlias

import torch
from attrs import frozen
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from registry.errors import InputError
from registry.nn.losses import IGNORED

from .tokenization import TransfoXLTokenizer

Split: TypeAlias = Literal["train", "valid", "test"]


class TextSegment(NamedTuple):
    """A segment of a batch: the arguments of ``model(input_ids, target=target, mems=mems)``."""

    input_ids: Tensor
    """``(batch, tokens)``, with ``ext_len`` tokens of the segment before in front."""
    target: Tensor
    """The token after each, ``(batch, tokens)``; -100 at those of the segment before."""
    length: int
    """Tokens that are predicted, in each row."""


@frozen(eq=False)
class TransfoXLCorpus:
    """The ids of three texts, each ``(tokens,)``, and the tokenizer that encoded them."""

    tokenizer: TransfoXLTokenizer
    train: Tensor
    valid: Tensor
    test: Tensor

    @classmethod
    def from_folder(
        cls, folder: str | Path, tokenizer: TransfoXLTokenizer | None = None, *, add_eos: bool = True
    ) -> Self:
        """The corpus of the files ``train.txt``, ``valid.txt`` and ``test.txt`` in a directory.

        Args:
            folder: The directory.
            tokenizer: One without a vocabulary builds it from ``train.txt``; the default is such a one, in which
                ``<eos>`` and ``<unk>`` come first.
            add_eos: Whether each line ends with ``<eos>``.

        Raises:
            FileNotFoundError: A file is missing.
            VocabError: A word is unknown, and there is no ``<unk>``.
        """
        tokenizer = TransfoXLTokenizer(special=("<eos>", "<unk>")) if tokenizer is None else tokenizer
        if not len(tokenizer):
            tokenizer.count_file(Path(folder, "train.txt"), add_eos=add_eos)
            tokenizer.build_vocab()
        texts: list[Tensor] = []
        for split in ("train", "valid", "test"):
            ids = tokenizer.encode_file(Path(folder, f"{split}.txt"), ordered=True, add_eos=add_eos)
            assert isinstance(ids, Tensor)
            texts.append(ids)
        return cls(tokenizer, *texts)

    def get_iterator(
        self, split: Split, batch_size: int, tgt_len: int, *, ext_len: int = 0, device: torch.device | str = "cpu"
    ) -> Iterator[TextSegment]:
        """The segments of a text, which is cut into ``batch_size`` sequences of one length; the rest is dropped.

        Args:
            split: ``"train"``, ``"valid"`` or ``"test"``.
            batch_size: Sequences of a segment; each continues where it ended in the segment before.
            tgt_len: Tokens of a segment; the last has fewer.
            ext_len: Tokens of the segment before that are read again.
            device: Where the segments are needed.

        Raises:
            InputError: A number is too small.
        """
        return segments(getattr(self, split), batch_size, tgt_len, ext_len=ext_len, device=device)


def segments(
    ids: Tensor, batch_size: int, tgt_len: int, *, ext_len: int = 0, device: torch.device | str = "cpu"
) -> Iterator[TextSegment]:
    """The segments of ids, ``(tokens,)``; arguments and errors are those of ``TransfoXLCorpus.get_iterator``."""
    if batch_size < 1 or tgt_len < 1 or ext_len < 0:
        raise InputError(
            f"batch_size and tgt_len must be above 0 and ext_len at least 0, not {batch_size}, {tgt_len} and {ext_len}."
        )
    length = len(ids) // batch_size
    rows = ids[: length * batch_size].view(batch_size, length).to(device)
    for start in range(0, length - 1, tgt_len):
        stop = min(start + tgt_len, length - 1)
        first = max(0, start - ext_len)
        target = F.pad(rows[:, start + 1 : stop + 1], (start - first, 0), value=IGNORED)
        yield TextSegment(rows[:, first:stop], target, stop - start)
