"""A model of pieces that is trained here, with the settings of Llama's."""

import io
from collections.abc import Iterable
from functools import cache

import sentencepiece

SENTENCES = (
    "the cat sat on the mat , and the dog sat on the log .",
    "a name becomes a working model : that is what it does",
    "ein Name wird ein Modell , größer als gedacht",
    "   four spaces   stand here  and two there",
    "hello world , in 2023 and 1999",
)


@cache
def trained(sentences: Iterable[str] = SENTENCES * 4, vocab_size: int = 420) -> bytes:
    """The bytes of a ``tokenizer.model``: rules that merge, all bytes, single digits, nothing normalised."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        vocab_size=vocab_size,
        model_type="bpe",
        byte_fallback=True,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        character_coverage=0.9995,
        max_sentence_length=100_000,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()
