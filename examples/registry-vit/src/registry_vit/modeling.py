"""ViT, the vision transformer (Dosovitskiy et al., 2020), bottom up.

An image is cut into patches, which are the tokens of an encoder; a token before them sums the image up.  Modules and
parameters have the names of the published files.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from registry.errors import InputError
from registry.loading.model import Model
from registry.nn.activations import ACTIVATION_FUNCTIONS
from registry.nn.attention import attention, eager_attention
from registry.nn.losses import sequence_loss
from registry.nn.outputs import ClassificationOutput, EncoderOutput
from registry.weights.names import Layout

from .config import ViTConfig

# --- Embeddings -------------------------------------------------------------------------------------------------------


class ViTPatchEmbeddings(nn.Module):
    """A linear projection of each patch."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.projection = nn.Conv2d(
            config.num_channels, config.hidden_size, kernel_size=config.patch_size, stride=config.patch_size
        )

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Embed images ``(batch, channels, height, width)``; returns ``(batch, features, rows, columns)``."""
        channels = self.projection.weight.shape[1]
        shape = tuple(pixel_values.shape)
        if len(shape) != 4 or shape[1] != channels:
            raise InputError(
                f"pixel_values must have the shape (batch, {channels}, height, width), not {shape}.",
                hint="loaded.processor(images) makes them.",
            )
        return self.projection(pixel_values.to(self.projection.weight.dtype))


class ViTEmbeddings(nn.Module):
    """Patches behind a token of their own, each with its position."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        positions = config.patches_per_side**2 + 1
        self.image_size = config.image_size
        self.cls_token = nn.Parameter(torch.empty(1, 1, config.hidden_size))
        self.position_embeddings = nn.Parameter(torch.empty(1, positions, config.hidden_size))
        self.patch_embeddings = ViTPatchEmbeddings(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, pixel_values: Tensor, *, interpolate_pos_encoding: bool = False) -> Tensor:
        """Embed images ``(batch, channels, height, width)``.

        Args:
            pixel_values: The images.
            interpolate_pos_encoding: Whether images may have another size than those of the training.

        Returns:
            ``(batch, 1 + patches, width)``.

        Raises:
            InputError: The images have another size.
        """
        size = pixel_values.shape[-2:]
        patches = self.patch_embeddings(pixel_values)
        trained = (self.image_size, self.image_size)
        if size != trained and not interpolate_pos_encoding:
            raise InputError(
                f"The model was trained with images of {trained[0]} x {trained[1]} pixels, not {size[0]} x {size[1]}.",
                hint="loaded.processor resizes images; interpolate_pos_encoding=True takes any size.",
            )
        positions = self.position_embeddings if size == trained else self._resized(*patches.shape[-2:])
        start = self.cls_token.expand(len(patches), -1, -1)
        return self.dropout(torch.cat((start, patches.flatten(2).transpose(1, 2)), dim=1) + positions)

    def _resized(self, rows: int, columns: int) -> Tensor:
        """Positions for another number of patches, between those of the training (section 3.2)."""
        first, grid = self.position_embeddings[:, :1], self.position_embeddings[:, 1:]
        side = int(grid.shape[1] ** 0.5)
        grid = grid.transpose(1, 2).reshape(1, -1, side, side)
        grid = F.interpolate(grid, size=(rows, columns), mode="bicubic", align_corners=False)
        return torch.cat((first, grid.flatten(2).transpose(1, 2)), dim=1)


# --- Layers -----------------------------------------------------------------------------------------------------------


class ViTSelfAttention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.head_width = width // config.num_attention_heads
        self.query = nn.Linear(width, width, bias=config.qkv_bias)
        self.key = nn.Linear(width, width, bias=config.qkv_bias)
        self.value = nn.Linear(width, width, bias=config.qkv_bias)
        self.dropout = config.attention_probs_dropout_prob

    def forward(self, x: Tensor, weights: list[Tensor] | None) -> Tensor:
        """Mix the tokens of ``x``, ``(batch, tokens, width)``; attention weights are appended to ``weights``."""
        query, key, value = (  # each (batch, tokens, heads, width of a head)
            project(x).unflatten(-1, (-1, self.head_width)) for project in (self.query, self.key, self.value)
        )
        dropout = self.dropout if self.training else 0.0
        if weights is None:
            return attention(query, key, value, dropout=dropout).flatten(-2)
        mixed, found = eager_attention(query, key, value, dropout=dropout)
        weights.append(found)
        return mixed.flatten(-2)


class ViTProjection(nn.Module):
    """A linear layer, and dropout."""

    def __init__(self, config: ViTConfig, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor) -> Tensor:
        """Project ``(..., given width)`` to ``(..., width)``."""
        return self.dropout(self.dense(x))


class ViTAttention(nn.Module):
    """Self-attention, and the projection after it."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.attention = ViTSelfAttention(config)
        self.output = ViTProjection(config, config.hidden_size)

    def forward(self, x: Tensor, weights: list[Tensor] | None) -> Tensor:
        """Transform ``x``, ``(batch, tokens, width)``."""
        return self.output(self.attention(x, weights))


class ViTIntermediate(nn.Module):
    """First half of the feed-forward network: projection up and activation."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACTIVATION_FUNCTIONS[config.hidden_act]

    def forward(self, x: Tensor) -> Tensor:
        """Project ``(..., width)`` to ``(..., intermediate width)``."""
        return self.activation(self.dense(x))


class ViTLayer(nn.Module):
    """Attention, then a feed-forward network, each normalized before and added after (pre-norm)."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.attention = ViTAttention(config)
        self.intermediate = ViTIntermediate(config)
        self.output = ViTProjection(config, config.intermediate_size)
        self.layernorm_before = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.layernorm_after = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor, weights: list[Tensor] | None = None) -> Tensor:
        """Transform ``x``, ``(batch, tokens, width)``; attention weights are appended to ``weights``."""
        x = x + self.attention(self.layernorm_before(x), weights)
        return x + self.output(self.intermediate(self.layernorm_after(x)))


class ViTEncoder(nn.Module):
    """The layers, one after the other."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(ViTLayer(config) for _ in range(config.num_hidden_layers))

    def forward(self, x: Tensor, weights: list[Tensor] | None) -> list[Tensor]:
        """The input of each layer, and the output of the last one, all ``(batch, tokens, width)``."""
        states = [x]
        for layer in self.layer:
            states.append(layer(states[-1], weights))
        return states


class ViTPooler(nn.Module):
    """A layer on the token that sums the image up."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.pooler_output_size or config.hidden_size)
        self.activation = ACTIVATION_FUNCTIONS[config.pooler_act]

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``(batch, tokens, width)``; returns ``(batch, width)``."""
        return self.activation(self.dense(x[:, 0]))


# --- Models -----------------------------------------------------------------------------------------------------------


class ViTPreTrainedModel(Model):
    """What both models share: names and initialization."""

    config_class = ViTConfig
    layout = Layout(prefix="vit.", parts=("vit.pooler.", "classifier."))
    block_classes = (ViTLayer,)

    def init_module(self, module: nn.Module) -> None:
        """Initialize one module's own parameters."""
        std = self.config.initializer_range
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.trunc_normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, ViTEmbeddings):
            nn.init.trunc_normal_(module.cls_token, std=std)
            nn.init.trunc_normal_(module.position_embeddings, std=std)


class ViTModel(ViTPreTrainedModel):
    """ViT without a head; without its pooler, if ``add_pooling_layer`` is false."""

    def __init__(self, config: ViTConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = ViTEmbeddings(config)
        self.encoder = ViTEncoder(config)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.pooler = ViTPooler(config) if add_pooling_layer else None
        self.init_weights()

    def forward(
        self,
        pixel_values: Tensor,
        *,
        interpolate_pos_encoding: bool = False,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> EncoderOutput:
        """Features of patches, and of images.

        Args:
            pixel_values: Images as the processor makes them, ``(batch, channels, height, width)``.
            interpolate_pos_encoding: Whether images may have another size than those of the training; positions are
                then interpolated.
            output_hidden_states: Whether to return the input of each layer, and the output of the last, too.
            output_attentions: Whether to return attention weights, too.

        Returns:
            Hidden states, ``(batch, 1 + patches, width)``, the token of the image first, and ``(batch, width)`` of it.

        Raises:
            InputError: The images have another shape.
        """
        weights: list[Tensor] | None = [] if output_attentions else None
        x = self.embeddings(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding)
        states = self.encoder(x, weights)
        last = self.layernorm(states[-1])
        pooled = None if self.pooler is None else self.pooler(last)
        return EncoderOutput(
            last,
            pooled,
            tuple(states) if output_hidden_states else None,
            None if weights is None else tuple(weights),
        )


class ViTForImageClassification(ViTPreTrainedModel):
    """ViT with a classifier of images."""

    def __init__(self, config: ViTConfig, num_labels: int | None = None) -> None:
        config = config.with_labels(num_labels)
        super().__init__(config)
        self.vit = ViTModel(config, add_pooling_layer=False)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels).apply(self.init_module)

    def forward(  # noqa: D417  # the others are those of ViTModel
        self,
        pixel_values: Tensor,
        *,
        labels: Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> ClassificationOutput:
        """Logits of the classes of each image.

        Takes the arguments of ``ViTModel``, and these.

        Args:
            labels: Class numbers, ``(batch,)``, the negative ones ignored; with one label, the numbers to predict.
                ``problem_type`` of the configuration may ask for others.

        Returns:
            Logits, ``(batch, classes)``, and with labels the loss.
        """
        encoded = self.vit(
            pixel_values,
            interpolate_pos_encoding=interpolate_pos_encoding,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            return_dict=True,
        )
        logits = self.classifier(encoded.last_hidden_state[:, 0])
        loss = None if labels is None else sequence_loss(logits, labels, self.config.problem_type)
        return ClassificationOutput(loss, logits, encoded.hidden_states, encoded.attentions)
