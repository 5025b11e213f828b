"""The contract which the registry's kit asks of every plugin."""

from pathlib import Path

import torch
from torch import Tensor

from registry.testing import Conformance
from registry_vit.processing import ViTProcessor


class TestViT(Conformance):
    plugin = "vit"
    config = {
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 40,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "image_size": 12,
        "patch_size": 4,
    }
    unsupported = {
        "padding": "all images of a batch have one size",
        "left-padding": "all images of a batch have one size",
    }

    def make_tokenizer(self, directory: Path) -> ViTProcessor:
        return ViTProcessor(size={"height": 12, "width": 12}, resample=3)

    def make_inputs(self, task: str) -> dict[str, Tensor]:
        return {"pixel_values": torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(1))}
