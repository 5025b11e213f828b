"""T5's tokenizer: a unigram model of ``sentencepiece``, and sentinels for spans to fill in."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from registry.tokenization.added_tokens.token import AddedToken, as_added_tokens
from registry.tokenization.options import Option
from registry.tokenization.sentencepiece.tokenizer import PieceModel, SentencePieceTokenizer, piece_model

SENTINELS = Option("a number from 0 to 10,000", lambda number: type(number) is int and 0 <= number <= 10_000)


class T5Tokenizer(SentencePieceTokenizer):
    """The tokenizer of T5 models.

    Args:
        vocab_file: Path of a ``spiece.model``, or its bytes; ``from_pretrained`` takes a ``tokenizer.json``, too.
        extra_ids: Sentinels, ``<extra_id_0>`` and so on, whose ids follow those of the model, the last one first.
        added_tokens: Tokens beyond those.
        **values: Further options, of those in ``T5Tokenizer.options``.
    """

    published_classes: ClassVar[tuple[str, ...]] = ("T5Tokenizer", "T5TokenizerFast", "TokenizersBackend")
    vocabulary_name: ClassVar[str] = "spiece.model"
    options: ClassVar[Mapping[str, Option]] = {**SentencePieceTokenizer.options, "extra_ids": SENTINELS}

    extra_ids: int = 100
    add_eos_token: bool = True
    legacy: bool = True

    def __init__(
        self,
        vocab_file: str | Path | bytes | PieceModel,
        *,
        extra_ids: int = 100,
        added_tokens: Mapping[str, Any] | Iterable[AddedToken] = (),
        **values: Any,
    ) -> None:
        model = piece_model(vocab_file)
        ids = range(len(model.vocab), len(model.vocab) + extra_ids)
        sentinels = [AddedToken(f"<extra_id_{ids[-1] - number}>", number, special=True) for number in ids]
        others = {token.content: token for token in (*sentinels, *as_added_tokens(added_tokens))}
        super().__init__(model, extra_ids=extra_ids, added_tokens=others, **values)
