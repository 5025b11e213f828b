"""Hooks of the gguf plugin."""

from collections.abc import Iterable

from registry import hookimpl
from registry.records import WeightLoaderSpec

ARCHITECTURES = ("llama", "gpt2")
"""Those whose models are read."""


@hookimpl
def registry_weight_loaders() -> Iterable[WeightLoaderSpec]:
    """Declare the format for each architecture, with its table of names."""
    for architecture in ARCHITECTURES:
        yield WeightLoaderSpec(
            architecture=architecture,
            format="gguf",
            filenames=("model.gguf",),
            detect=f"{__package__}.reading:detect",
            headers=f"{__package__}.reading:headers",
            config=f"{__package__}.config:read",
            tokenizer=f"{__package__}.tokenizer:files",
            loader=f"{__package__}.weights:load",
            names=f"{__package__}.names:{architecture.upper()}",
        )
