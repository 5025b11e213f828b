"""Llama's tokenizers: a model of ``sentencepiece``, or what a ``tokenizer.json`` describes instead.

Ids are those of sentencepiece for a ``tokenizer.model``, and those of the library ``tokenizers`` for a
``tokenizer.json``, on any text.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from registry.records import Paths
from registry.tokenization.base import missing
from registry.tokenization.options import MARKS
from registry.tokenization.pieces import PieceTokenizer
from registry.tokenization.tokenizer_json import TOKENIZER

from .pipeline import read_pipeline


class LlamaTokenizer(PieceTokenizer):
    """The tokenizer of Llama models.

    - ``vocab_file``: path of a ``tokenizer.model``, or what it holds; ``from_pretrained`` takes a ``tokenizer.json``.
    - ``add_bos_token``, ``add_eos_token``: whether texts are put between ``bos_token`` and ``eos_token``.
    - ``legacy``: whether text that follows a special token gets a space of its own, as the start of a text does.
    - ``add_prefix_space``: whether the start of a text does; None leaves that to the model.
    - ``max_len``: tokens of the longest input of the model.
    - further options stand in ``LlamaTokenizer.options``.

    Where a folder has both files, the ``tokenizer.model`` is read.  Every text without lone surrogates is given back by
    ``decode(encode(text, add_special_tokens=False))``, but that pieces cannot tell ``\u2581`` from a space.

    Raises VocabError when a file is damaged, or describes another kind of tokenizer; MissingTokenizerError when there
    is none; ConfigError for an option with a value that it cannot have; and UnknownOptionError.
    """

    published_classes: ClassVar[tuple[str, ...]] = (
        "LlamaTokenizer",
        "LlamaTokenizerFast",
        "PreTrainedTokenizerFast",
        "TokenizersBackend",
        "GPT2Tokenizer",
        "GPT2TokenizerFast",
    )

    marks: ClassVar[Sequence[str]] = tuple(mark for mark in MARKS if mark != "normalized")  # nothing is normalised

    add_bos_token: bool = True

    @classmethod
    def _read(cls, paths: Paths) -> tuple[Any, dict[str, Any]]:
        if cls.vocabulary_name in paths:
            return paths[cls.vocabulary_name], {}
        if TOKENIZER not in paths:
            raise missing(cls, f"{cls.vocabulary_name} or {TOKENIZER}", paths)
        return read_pipeline(paths[TOKENIZER])
