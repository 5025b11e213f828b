"""Pipelines of a ``tokenizer.json``, of which Llama's have two kinds.

Either a text is written in pieces, with ``▁`` for a space and with bytes for characters that are not pieces, as
``sentencepiece`` does it; or it is cut into words, and these are written in bytes.  In both, rules merge neighbors.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry.errors import VocabError
from registry.tokenization.bpe import listed_merges
from registry.tokenization.causal import bos_and_eos
from registry.tokenization.sentencepiece.tokenizer import PieceModel
from registry.tokenization.tokenizer_json import read_tokenizer_json

from .byte_level import ByteLevelModel
from .metaspace import MetaspaceModel

MODEL: Mapping[str, Mapping[str, Any]] = {
    "model": {
        "type": "BPE",
        "dropout": None,
        "continuing_subword_prefix": ("", None),
        "end_of_word_suffix": ("", None),
    }
}
"""Keys of the rules of both kinds."""


def read_pipeline(path: Path) -> tuple[PieceModel, dict[str, Any]]:
    """The model that a ``tokenizer.json`` describes, and the options of its tokenizer.

    Raises:
        VocabError: The pipeline is of neither kind; the error names the file and the part.
    """
    keys = read_tokenizer_json(path, MODEL)
    model, rules = keys["model"], keys["model"].get("merges")
    if not isinstance(rules, list):
        raise VocabError(f"{path}: model.merges must be a list of rules.")
    if not isinstance(model.get("unk_token"), str | None):
        raise VocabError(f"{path}: model.unk_token must be a token, or null, not {model['unk_token']!r:.80}.")
    described = {
        "unk_token": model.get("unk_token"),
        "add_bos_token": False,
        "add_eos_token": False,
        **bos_and_eos(keys.get("post_processor"), str(path)),
    }
    kind = MetaspaceModel if model.get("byte_fallback") else ByteLevelModel
    try:
        return kind(keys, listed_merges(rules, origin=f"{path}: model.merges")), described
    except VocabError as problem:
        raise VocabError(f"{path}: {problem.message}", hint=problem.hint) from problem
