"""``pipeline``: transformers' pipelines, with models and tokenizers of the registry."""

from typing import TYPE_CHECKING, Any

import torch
import transformers
from torch import Tensor, nn
from transformers.utils.generic import ModelOutput

from registry.generation.settings import settings_of

if TYPE_CHECKING:
    from registry.loading.loaded import Pretrained
    from registry.loading.model import Model


def pipeline(task: str, loaded: "Pretrained", **options: Any) -> Any:
    """A pipeline of transformers with the model and the tokenizer of ``registry.load``.

    Args:
        task: A task of transformers: ``"fill-mask"``, ``"feature-extraction"``, ``"text-classification"``,
            ``"token-classification"``, ``"text-generation"``.
        loaded: The model and its tokenizer.
        options: Those of ``transformers.pipeline``; options of generation are transformers', too.

    Returns:
        The pipeline.

    Raises:
        MissingTokenizerError: The model has no vocabulary.
    """
    own: Any = type(loaded.model)
    cls = type(own.__name__, (_Answering,), {})  # pipelines know models by the name of the class
    make: Any = transformers.pipeline  # whose types know models of transformers alone
    return make(task, model=cls(loaded.model), tokenizer=loaded.tokenizer, **options)


class _Answering(nn.Module):
    """A model that answers, and generates, by transformers' words."""

    input_modalities = output_modalities = ("text",)

    def __init__(self, model: "Model") -> None:
        super().__init__()
        self.model = model
        self.config = model.config

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    @property
    def generation_config(self) -> transformers.GenerationConfig:
        return transformers.GenerationConfig(**self.model.generation_config)  # type: ignore[no-untyped-call]

    def can_generate(self) -> bool:
        return self.model.can_generate()

    def forward(self, **inputs: Any) -> ModelOutput:
        return ModelOutput(**self.model(**inputs))  # type: ignore[no-untyped-call]

    def generate(self, input_ids: Tensor, attention_mask: Tensor | None = None, **options: Any) -> Tensor:
        asked = options.pop("generation_config", None) or transformers.GenerationConfig()  # type: ignore[no-untyped-call]
        config = {**self.model.generation_config, **asked.to_diff_dict()}
        config |= {key: options.pop(key) for key in vars(asked).keys() & options.keys()}
        settings = {"temperature": 0.0, **settings_of(config, {}, input_ids.shape[1])}
        found: Tensor = self.model.generate(input_ids, attention_mask=attention_mask, **settings, **options)
        return found
