"""``Suite``, the base class of all suites: what an author declares about an architecture."""

from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

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
        "exact-text": "decoding restores the text, character by character",
        "special-tokens": "special tokens are recognized anywhere in a text",
        "offsets": "the tokenizer returns the offsets of tokens in the text",
        "padding": "forward takes attention_mask, and padding on the right changes no result",
        "left-padding": "padding on the left changes no result either",
        "cache": "a model that generates continues from a cache, with the results that it has without one",
    }
)
"""Capabilities of most architectures; one without says so in ``unsupported``, with the reason."""

CAUSAL_TASKS = ("causal-lm", "double-heads")
ANSWERING_TASKS = ("seq2seq-lm",)

Check = TypeVar("Check", bound=Callable[..., Any])
SpecT = TypeVar("SpecT", ConfigSpec, TokenizerSpec)


def needs(*capabilities: str) -> Callable[[Check], Check]:
    """Mark a check to be skipped where one of the capabilities is unsupported, with the author's reason."""

    def mark(check: Check) -> Check:
        vars(check)["needs"] = capabilities
        return check

    return mark


def of_loading(check: Check) -> Check:
    """Mark a check that reports why a plugin cannot be loaded; the other checks then end in an error of setup."""
    vars(check)["of_loading"] = True
    return check


class Suite:
    """The base class of all suites: what a subclass declares about its architecture."""

    plugin: ClassVar[str]
    """The name of the entry point; the plugin must be installed (``pip install -e .``)."""
    architecture: ClassVar[str]
    """The architecture under test; default: the plugin's name."""
    config: ClassVar[Mapping[str, Any]]
    """The keys of a tiny configuration: two layers, and dropout rates above zero where the architecture has any."""
    unsupported: ClassVar[Mapping[str, str]] = {}
    """Names of ``CAPABILITIES`` that the architecture does not have, each with the reason."""
    texts: ClassVar[tuple[str, ...]] = ("hello world", "the cat sat on the mat .")
    """Ordinary texts, written as the tokenizer decodes them."""
    most_modules: ClassVar[int] = 40
    """Modules that importing the plugin and calling its hooks may add to ``sys.modules``."""
    most_seconds: ClassVar[float] = 2.0
    """CPU seconds that importing the plugin and calling its hooks may take."""
    tolerance: ClassVar[float] = 1e-5
    """Largest absolute difference between two computations of the same number."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "plugin" in vars(cls) and "architecture" not in vars(cls):
            cls.architecture = cls.plugin
        for capability, reason in cls.unsupported.items():
            if capability not in CAPABILITIES:
                raise ValueError(
                    f"{cls.__name__}.unsupported names {capability!r}.{did_you_mean(capability, CAPABILITIES)} "
                    f"Capabilities are: {', '.join(CAPABILITIES)}."
                )
            if not isinstance(reason, str) or len(reason.split()) < 2:
                raise ValueError(f"{cls.__name__}.unsupported must give a reason for {capability!r}.")

    # --- What a subclass may define

    def make_tokenizer(self, directory: Path) -> "Tokenizer":
        """A tiny tokenizer with no more ids than the tiny configuration embeds; or another processor, if it has one.

        Args:
            directory: An empty directory for files that the tokenizer needs.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define make_tokenizer(self, directory), or say why not: "
            f'unsupported = {{"tokenizer": "..."}}.'
        )

    def make_inputs(self, task: str) -> "dict[str, Tensor]":
        """The arguments of ``forward``: ids ``(3, 9)``, or ``(3, 2, 9)`` for a task with choices.

        A class whose ``forward`` takes ``decoder_input_ids`` is given those as well, ``(3, 6)``.  The first axis of
        tensors that are not ids of a text, such as ``pixel_values``, is the batch.
        """
        from registry.testing.inputs import random_inputs

        forward = signature(discovery.load_class(self.model_spec(task)).forward)
        return random_inputs(self.make_config(), task, decodes="decoder_input_ids" in forward.parameters)

    def make_labels(self, task: str, inputs: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
        """The additional arguments that make ``forward`` return a loss; empty for a task without one."""
        from registry.testing.inputs import labels_for

        return labels_for(task, inputs, self.make_config())

    def write_checkpoint(self, format: str, model: "Model", directory: Path) -> None:
        """Write weights in a format that only this plugin reads; needed if it declares a ``WeightLoaderSpec``.

        Args:
            format: The format's name, ``WeightLoaderSpec.format``.
            model: The model whose weights are written.
            directory: Where; it holds the configuration.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define write_checkpoint(self, format, model, directory), since the plugin "
            f"declares a loader for the format {format!r}."
        )

    # --- What the suites use

    def assert_close(self, what: str, found: "Tensor", wanted: "Tensor") -> None:
        """Fail unless two tensors have one shape and differ by at most ``tolerance``; ``what`` names them."""
        import torch

        same_kind = (found.shape, found.dtype, found.device) == (wanted.shape, wanted.dtype, wanted.device)
        if same_kind and found.is_floating_point() and torch.allclose(found, wanted, rtol=0, atol=self.tolerance):
            return
        from torch.testing import assert_close  # which imports DTensor: a second that only a failure is worth

        assert_close(found, wanted, atol=self.tolerance, rtol=0, msg=lambda details: f"{what}: {details}")

    def make_config(self, **changes: Any) -> "Config":
        """The tiny configuration, read as from a file; ``changes`` replace keys."""
        cls: type[Config] = discovery.load_class(self.config_spec())
        return cls.from_dict({**self.config, **changes})

    def make_model(self, task: str) -> "Model":
        """A tiny model in evaluation mode, with the same random weights at each call."""
        import torch

        from registry.testing.inputs import seeded

        cls: type[Model] = discovery.load_class(self.model_spec(task))
        with seeded():
            model = cls(self.make_config())
            with torch.no_grad():
                for parameter in model.parameters():  # so that biases and norms are not 0 and 1
                    parameter.add_(0.1 * torch.randn_like(parameter))
        return model.eval()

    @classmethod
    def declares(cls, *kinds: type) -> bool:
        """Whether the plugin declares a record of one of these kinds for the architecture."""
        found = (record for record in discovery.records(cls.plugin) if isinstance(record, kinds))
        return any(getattr(record, "architecture", None) in ("*", cls.architecture) for record in found)

    @classmethod
    def has_processor(cls) -> bool:
        """Whether the plugin has a tokenizer, or another processor, to be tested."""
        return "tokenizer" not in cls.unsupported and (cls.declares(TokenizerSpec) or cls.declares(ConfigSpec))

    def processor_is_tokenizer(self) -> bool:
        """Whether the processor, if there is one, is a tokenizer."""
        from registry.tokenization.base import Tokenizer

        spec = self._own(TokenizerSpec) or discovery.architecture(self.architecture).tokenizer
        return spec is None or issubclass(discovery.load_class(spec), Tokenizer)

    @classmethod
    def specs(cls) -> "list[ModelSpec]":
        """The model classes that the plugin declares for the architecture."""
        return [
            record
            for record in discovery.records(cls.plugin)
            if isinstance(record, ModelSpec) and record.architecture == cls.architecture
        ]

    def main_task(self) -> str:
        """The task that is loaded by default."""
        tasks = [spec.task for spec in self.specs()] or list(discovery.architecture(self.architecture).models)
        default = self.config_spec().default_task
        return default if default in tasks else tasks[0]

    def config_spec(self) -> ConfigSpec:
        """The record of the configuration: the plugin's, or that of the architecture to which it adds."""
        spec = self._own(ConfigSpec) or discovery.architecture(self.architecture).config
        return spec or self._missing("configuration (registry_configs)")

    def tokenizer_spec(self) -> TokenizerSpec:
        """The record of the tokenizer: the plugin's, or that of the architecture to which it adds."""
        spec = self._own(TokenizerSpec) or discovery.architecture(self.architecture).tokenizer
        return spec or self._missing("tokenizer (registry_tokenizers)")

    def model_spec(self, task: str) -> ModelSpec:
        """The record of the model class for a task: the plugin's, or that of the architecture to which it adds."""
        own = next((spec for spec in self.specs() if spec.task == task), None)
        return own or discovery.architecture(self.architecture).models[task]

    def _own(self, kind: type[SpecT]) -> SpecT | None:
        for record in discovery.records(self.plugin):
            if isinstance(record, kind) and record.architecture == self.architecture:
                return record
        return None

    def _missing(self, noun: str) -> NoReturn:
        pytest.fail(f"The plugin {self.plugin!r} declares no {noun} for {self.architecture!r}, nor does another.")
