"""Llama's tokenizers: a model of ``sentencepiece``, or the pipeline of a ``tokenizer.json``.

Ids are those of sentencepiece for a ``tokenizer.model``, and those of the library ``tokenizers`` for a
``tokenizer.json``, on any text.
"""

from typing import Any, ClassVar

from registry.files.filenames import TOKENIZER_CONFIG_NAME, TOKENIZER_NAME
from registry.files.strict_json import read_json_object
from registry.records import Paths
from registry.tokenization.base import missing
from registry.tokenization.sentencepiece.tokenizer import SentencePieceTokenizer

from .pipeline import read_pipeline


class LlamaTokenizer(SentencePieceTokenizer):
    """The tokenizer of Llama models.

    Where a directory has both files, the ``tokenizer.model`` is read.  Every text without lone surrogates is given back
    by ``decode(encode(text, add_special_tokens=False))``, but that ``\u2581`` is a space to pieces.

    Args:
        vocab_file: Path of a ``tokenizer.model``, or its bytes; ``from_pretrained`` takes a ``tokenizer.json``.
        add_bos_token: Whether ``bos_token`` is put before each text.
        add_eos_token: Whether ``eos_token`` is put after each text.
        legacy: Whether text that follows a special token gets a space of its own, as the start of a text does.
        add_prefix_space: Whether the start of a text does; None leaves that to the model.
        max_len: Tokens of the longest input of the model.
        **values: Further options, of those in ``LlamaTokenizer.options``.

    Raises:
        VocabError: A file is damaged, or describes another kind of tokenizer.
        MissingTokenizerError: There is no file.
        ConfigError: An option has a value that it cannot have.
        UnknownOptionError: There is no such option.
    """

    published_classes: ClassVar[tuple[str, ...]] = (
        "LlamaTokenizer",
        "LlamaTokenizerFast",
        "PreTrainedTokenizerFast",
        "TokenizersBackend",
        "GPT2Tokenizer",
        "GPT2TokenizerFast",
    )

    add_bos_token: bool = True
    padding_side: str = "left"

    @classmethod
    def read_files(cls, paths: Paths) -> tuple[Any, dict[str, Any]]:
        """The model, and options, from the files of a vocabulary."""
        if cls.vocabulary_name in paths:
            return paths[cls.vocabulary_name], _padding_side(paths)
        if TOKENIZER_NAME not in paths:
            raise missing(cls, f"{cls.vocabulary_name} or {TOKENIZER_NAME}", paths)
        model, described = read_pipeline(paths[TOKENIZER_NAME])
        return model, {**_padding_side(paths), **described}


def _padding_side(paths: Paths) -> dict[str, str]:
    """The side on which the published class pads: Llama's own on the left, a general one on the right."""
    keys = read_json_object(paths[TOKENIZER_CONFIG_NAME]) if TOKENIZER_CONFIG_NAME in paths else {}
    is_own = str(keys.get("tokenizer_class")).startswith("LlamaTokenizer")
    return {"padding_side": "left" if is_own else "right"}
