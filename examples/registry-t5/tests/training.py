"""A model of pieces that is trained here, as T5's are made."""

import io
from functools import cache

import sentencepiece

SENTENCES = (
    "the cat sat on the mat , and the dog sat on the log .",
    "a name becomes a working model : that is what it does",
    "ein Name wird ein Modell , größer als gedacht",
    "translate English to German: The house is small.",
    "hello world , in 2023 and 1999",
)


@cache
def trained() -> bytes:
    """The bytes of a ``spiece.model``: a unigram model that normalizes characters."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 4),
        model_writer=model,
        vocab_size=90,
        model_type="unigram",
        character_coverage=1.0,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()
