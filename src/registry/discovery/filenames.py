"""Names that files of a model may have: the published ones, and those that plugins declare."""

from registry import discovery
from registry.files.filenames import CONFIG_NAME, TOKENIZER_NAMES
from registry.records import ConfigSpec, TokenizerSpec, WeightLoaderSpec


def config_names() -> list[str]:
    """Names of configurations, the preferred one first; imports every plugin."""
    declared = (name for spec in discovery.every(ConfigSpec) for name in spec.filenames)
    return list(dict.fromkeys([CONFIG_NAME, *declared]))


def weight_names() -> list[str]:
    """Names of weights in formats that only plugins read; imports every plugin."""
    return list(dict.fromkeys(name for spec in discovery.every(WeightLoaderSpec) for name in spec.filenames))


def vocabulary_names() -> list[str]:
    """Names of files that a tokenizer of some architecture reads; imports every plugin."""
    return list(dict.fromkeys(name for spec in discovery.every(TokenizerSpec) for name in spec.files.values()))


def tokenizer_names() -> list[str]:
    """``vocabulary_names`` and the files of any tokenizer; imports every plugin."""
    return list(dict.fromkeys([*vocabulary_names(), *TOKENIZER_NAMES]))
