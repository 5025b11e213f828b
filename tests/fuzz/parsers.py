"""The parsers that read what anybody may have written, each with well-formed inputs and a function that parses them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.fuzz.inputs import Files
from tests.fuzz.parse import models as parse_models
from tests.fuzz.parse import programs as parse_programs
from tests.fuzz.parse import weights as parse_weights
from tests.fuzz.seeds import models, programs, tokenizers, weights

from registry.weights import numpy_shards, safetensors
from registry.weights.tensorflow import bundle
from registry.weights.torch import reader


class Parser(NamedTuple):
    """A parser."""

    seeds: Callable[[], list[Files]]
    """Inputs that are well formed."""
    parse: Callable[[Files, Path], object]
    """Reads an input, for which it has a directory of its own."""


def _weights(module: Any) -> Callable[[Files, Path], object]:
    return lambda files, directory: parse_weights.weights(module, files, directory)


PARSERS: Mapping[str, Parser] = {
    "safetensors": Parser(weights.safetensors, _weights(safetensors)),
    "torch": Parser(weights.torch_files, _weights(reader)),
    "tensorflow": Parser(weights.tensorflow, _weights(bundle)),
    "numpy": Parser(weights.numpy_shards, _weights(numpy_shards)),
    "archives": Parser(weights.archives, parse_weights.archive),
    "config": Parser(models.configurations, parse_models.model),
    "tokenizer": Parser(tokenizers.tokenizers, parse_models.tokenizer),
    "vocabulary": Parser(tokenizers.vocabularies, parse_models.tokenizer),
    "pickled": Parser(weights.pickled_vocabularies, parse_models.pickled_vocabulary),
    "sentencepiece": Parser(tokenizers.sentencepiece_models, parse_models.sentencepiece_model),
    "saved": Parser(models.saved_directories, parse_models.saved_directory),
    "generation": Parser(models.generation_configs, parse_models.generation),
    "sentences": Parser(models.sentence_modules, parse_models.sentences),
    "listing": Parser(programs.listings, parse_programs.listing),
    "http": Parser(programs.answers, parse_programs.answer),
    "lock": Parser(programs.lock_files, parse_programs.lock),
    "entry_points": Parser(programs.metadata, parse_programs.entry_points),
    "cards": Parser(programs.card_files, parse_programs.cards),
    "cache": Parser(programs.caches, parse_programs.cached),
    "bulk": Parser(programs.texts, parse_programs.bulk),
    "names": Parser(programs.names, parse_programs.name),
}
"""The parsers, by name."""
