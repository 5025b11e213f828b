"""What an author says of an architecture, for all suites to know."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pytest

from registry import discovery
from registry.errors import did_you_mean
from registry.records import ConfigSpec, ModelSpec, TokenizerSpec

if TYPE_CHECKING:
    from torch import Tensor

    from registry.config import Config
    from registry.loading.model import Model
    from registry.tokenization.base import Tokenizer

CAPABILITIES: Mapping[str, str] = MappingProxyType(
    {
        "cards": "the plugin declares models by name",
        "tokenizer": "the architecture has a tokenizer",
        "exact-text": "decoding gives back the very text, character by character",
        "special-tokens": "special tokens are recognised wherever they stand in a text",
        "offsets": "the tokenizer tells where in the text a token stands",
        "padding": "forward takes attention_mask, and padding on the right changes no result",
        "left-padding": "padding on the left changes no result either",
        "cache": "a causal model goes on from what it has read, with the numbers it would have without",
    }
)
"""What most architectures can; one that cannot says so in ``lacks``, with the reason."""

CAUSAL_TASKS = ("causal-lm", "double-heads")

Check = TypeVar("Check", bound=Callable[..., Any])


def needs(*capabilities: str) -> Callable[[Check], Check]:
    """Mark a check as one that is skipped where one of the capabilities is lacking, with the author's reason."""

    def mark(check: Check) -> Check:
        vars(check)["needs"] = capabilities
        return check

    return mark


def of_loading(check: Check) -> Check:
    """Mark a check which says itself what is wrong with a plugin that cannot be loaded; the others cannot begin."""
    vars(check)["of_loading"] = True
    return check


class Suite:
    """What a subclass says of its architecture; every suite knows the same words."""

    plugin: ClassVar[str]
    """The name of the entry point; the plugin must be installed, ``pip install -e .`` will do."""
    architecture: ClassVar[str]
    """The architecture that is tested; the plugin's name unless given."""
    config: ClassVar[Mapping[str, Any]]
    """The keys of a tiny configuration: two layers, and rates of dropout above zero where the architecture has any."""
    lacks: ClassVar[Mapping[str, str]] = {}
    """Capabilities that the architecture does not have, each with the reason: names of ``CAPABILITIES``."""
    texts: ClassVar[tuple[str, ...]] = ("hello world", "the cat sat on the mat .")
    """Ordinary texts, spelt as the tokenizer spells what it decodes."""
    most_modules: ClassVar[int] = 40
    """Modules that importing the plugin, and asking it for its records, may add."""
    most_seconds: ClassVar[float] = 0.3
    """Time of the processor which that may take."""
    tolerance: ClassVar[float] = 1e-5
    """How far two ways to the same number may be apart."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "plugin" in vars(cls) and "architecture" not in vars(cls):
            cls.architecture = cls.plugin
        for capability, reason in cls.lacks.items():
            if capability not in CAPABILITIES:
                raise ValueError(
                    f"{cls.__name__}.lacks names {capability!r}.{did_you_mean(capability, CAPABILITIES)} "
                    f"Capabilities are: {', '.join(CAPABILITIES)}."
                )
            if not isinstance(reason, str) or len(reason.split()) < 2:
                raise ValueError(f"{cls.__name__}.lacks must give a reason in words for {capability!r}.")

    # --- What a subclass may define

    def make_tokenizer(self, folder: Path) -> "Tokenizer":
        """A tiny tokenizer whose ids the tiny configuration embeds; ``folder`` is empty, for files that it needs."""
        raise NotImplementedError(
            f"{type(self).__name__} must define make_tokenizer(self, folder), or say why not: "
            f'lacks = {{"tokenizer": "..."}}.'
        )

    def make_inputs(self, task: str) -> "dict[str, Tensor]":
        """The arguments of ``forward``: three texts of nine tokens, or three times two for a task with choices."""
        from registry.testing.inputs import random_ids

        return {"input_ids": random_ids(self.make_config(), task)}

    def make_labels(self, task: str, inputs: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
        """The further arguments that make ``forward`` return a loss; none for a task that has none."""
        from registry.testing.inputs import labels_for

        return labels_for(task, inputs["input_ids"], self.make_config())

    def write_checkpoint(self, format: str, model: "Model", folder: Path) -> None:
        """Write the weights of ``model`` into ``folder`` in a format which only this plugin reads.

        Needed where the plugin declares a ``WeightLoaderSpec``; ``format`` is its name.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define write_checkpoint(self, format, model, folder), since the plugin "
            f"declares a loader for the format {format!r}."
        )

    # --- What the suites ask

    def assert_close(self, what: str, found: "Tensor", wanted: "Tensor") -> None:
        """Fail unless two tensors have one shape and differ by at most ``tolerance``; ``what`` names them."""
        from torch.testing import assert_close

        assert_close(found, wanted, atol=self.tolerance, rtol=0, msg=lambda words: f"{what}: {words}")

    def make_config(self, **changes: Any) -> "Config":
        """The tiny configuration, made as from a file."""
        cls: type[Config] = discovery.load_class(self.config_spec())
        return cls.from_dict({**self.config, **changes})

    def make_model(self, task: str) -> "Model":
        """A tiny model of random weights, the same at each call, in evaluation mode."""
        import torch

        cls: type[Model] = discovery.load_class(self.model_spec(task))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = cls(self.make_config())
            with torch.no_grad():
                for parameter in model.parameters():  # biases and norms, too, must matter
                    parameter.add_(0.1 * torch.randn_like(parameter))
        return model.eval()

    @classmethod
    def specs(cls) -> "list[ModelSpec]":
        """The model classes that the plugin declares for the architecture."""
        return [
            record
            for record in discovery.records(cls.plugin)
            if isinstance(record, ModelSpec) and record.architecture == cls.architecture
        ]

    def main_task(self) -> str:
        """The task that is loaded unless another is asked for."""
        tasks = [spec.task for spec in self.specs()]
        default = self.config_spec().default_task
        return default if default in tasks else tasks[0]

    def config_spec(self) -> ConfigSpec:
        """The plugin's record of the configuration."""
        spec: ConfigSpec = self._spec(ConfigSpec, "configuration (registry_configs)")
        return spec

    def tokenizer_spec(self) -> TokenizerSpec:
        """The plugin's record of the tokenizer."""
        spec: TokenizerSpec = self._spec(TokenizerSpec, "tokenizer (registry_tokenizers)")
        return spec

    def model_spec(self, task: str) -> ModelSpec:
        """The plugin's record of the model class for a task."""
        return next(spec for spec in self.specs() if spec.task == task)

    def _spec(self, kind: Any, words: str) -> Any:
        for record in discovery.records(self.plugin):
            if isinstance(record, kind) and record.architecture == self.architecture:
                return record
        return pytest.fail(f"The plugin {self.plugin!r} declares no {words} for {self.architecture!r}.")
