"""The configuration of ViT."""

from typing import Any, ClassVar

from attrs import Attribute, frozen

from registry.config import Config
from registry.config.fields import ACTIVATIONS, choice, divisor, optional_size, problem_type, rate, scale, size
from registry.errors import ConfigError


@frozen(kw_only=True)
class ViTConfig(Config):
    """Sizes and rates of a vision transformer (Dosovitskiy et al., 2020); the defaults are ViT-Base of 16 pixels.

    Sizes count features, pixels or layers; rates are probabilities.
    """

    architecture: ClassVar[str] = "vit"
    model_type: ClassVar[str] = "vit"
    required_keys: ClassVar[tuple[str, ...]] = ("image_size", "patch_size")

    hidden_size: int = size(768, most=1_000_000)
    """Features per patch; the heads split it evenly."""
    num_hidden_layers: int = size(12, most=10_000)
    """Layers, one after the other."""
    num_attention_heads: int = divisor(12, of="hidden_size", most=100_000)
    """Attention heads of each layer."""
    intermediate_size: int = size(3072)
    """Features inside the feed-forward network of a layer."""
    hidden_act: str = choice("gelu", ACTIVATIONS)
    """Activation of the feed-forward networks."""
    hidden_dropout_prob: float = rate(0.0)
    """Dropout of embeddings, and of what every sub-layer adds."""
    attention_probs_dropout_prob: float = rate(0.0)
    """Dropout of attention weights."""
    initializer_range: float = scale(0.02)
    """Standard deviation of the truncated normal distribution that initializes weights."""
    layer_norm_eps: float = scale(1e-12)
    """Added to the variance in layer normalization."""
    image_size: int = size(224, most=100_000)
    """Pixels of a side of an image."""
    patch_size: int = size(16, most=100_000)
    """Pixels of a side of a patch."""
    num_channels: int = size(3, most=10_000)
    """Colors of a pixel."""
    qkv_bias: bool = choice(True, (True, False))
    """Whether the projections of queries, keys and values have a bias."""
    pooler_output_size: int | None = optional_size(None, most=1_000_000)
    """Features of the pooled output; ``hidden_size`` when null."""
    pooler_act: str = choice("tanh", ACTIVATIONS)
    """Activation of the pooler."""
    problem_type: str | None = problem_type()
    """What a classifier predicts: numbers, one label of each image, or several; null for what labels show."""

    @patch_size.validator
    def _patches_are_in_images(self, _attribute: "Attribute[Any]", patch: int) -> None:
        if type(patch) is int and type(self.image_size) is int and patch > self.image_size:
            raise ConfigError(f"patch_size ({patch}) must not be above image_size ({self.image_size}).")

    @property
    def patches_per_side(self) -> int:
        """Patches in a row, and in a column."""
        return self.image_size // self.patch_size

    def num_backbone_parameters(self) -> int:
        """Parameters of embeddings and layers, biases and normalizations excluded."""
        embedded = self.num_channels * self.patch_size**2 + self.patches_per_side**2 + 1
        layer = 4 * self.hidden_size + 2 * self.intermediate_size
        return self.hidden_size * (embedded + self.num_hidden_layers * layer)
