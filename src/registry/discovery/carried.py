"""What formats of weights carry next to the weights: the configuration, and the tokenizer."""

from collections.abc import Mapping
from typing import Any, Literal

from registry import discovery
from registry.records import Paths


def carried_by(part: Literal["config", "tokenizer"], paths: Paths) -> Mapping[str, Any] | None:
    """A part of a model in files whose format carries it; imports every plugin.

    Args:
        part: The field of ``WeightLoaderSpec`` that reads it.
        paths: The files of the model.

    Returns:
        What that function returns, nothing where the format has none; None where no format is detected that carries
        more than weights.
    """
    for spec in discovery.weight_loaders():
        readers = {"config": spec.config, "tokenizer": spec.tokenizer}
        if any(readers.values()) and spec.detect.load()(paths):
            reader = readers[part]
            return {} if reader is None else reader.load()(paths)
    return None
