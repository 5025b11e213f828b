"""T5: an encoder and a decoder (Raffel et al., 2020, section 2.1), and a class for each task.

Names are those of the published files; T5 1.1 and Flan-T5 differ by their configuration alone.  All blocks of a stack
share one bias of relative positions.
"""

from functools import partial
from typing import Any, ClassVar

from attrs import evolve
from torch import Tensor, nn

from registry.loading.model import Model
from registry.nn.activations import ACTIVATION_FUNCTIONS
from registry.nn.attention import CausalState
from registry.nn.feed_forward import FeedForward, GatedFeedForward
from registry.nn.packing import Rows
from registry.nn.seq2seq.attention import CrossState
from registry.nn.seq2seq.head import Seq2SeqLM
from registry.nn.seq2seq.layers import Attention, CrossAttention, RelativeBias
from registry.nn.seq2seq.models import EncoderDecoder, EncoderOnly, HiddenStates
from registry.weights.names import Layout

from .config import GATED, T5Config
from .parallel import PLAN
from .weights import TIES, UNTIED


class T5Attention(Attention):
    """Attention without a scale of the scores."""

    def __init__(self, config: T5Config) -> None:
        how: Any = {"bias": False, "dropout": config.dropout_rate, "scale": 1.0, "names": ("q", "k", "v", "o")}
        super().__init__(config.d_model, config.num_heads, config.d_kv, **how)
        vars(self.q)["initial_std"] = (config.d_model * config.d_kv) ** -0.5  # as the scale does elsewhere


class T5CrossAttention(CrossAttention, T5Attention):
    """Attention to the encoded text."""


class T5BiasedAttention(T5Attention):
    """The attention of a first block, with a bias for each class of distances."""

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        classes, farthest = config.relative_attention_num_buckets, config.relative_attention_max_distance
        self.relative_attention_bias = RelativeBias(classes, config.num_heads, farthest)


def feed_forward(config: T5Config) -> FeedForward:
    """The feed-forward network, which has a gate in T5 1.1."""
    how: Any = {"width": config.d_model, "inner": config.d_ff, "bias": False, "dropout": config.dropout_rate}
    name = config.feed_forward_proj.removeprefix(GATED)
    if name == config.feed_forward_proj:
        return FeedForward(activation=ACTIVATION_FUNCTIONS[name], names=("wi", "wo"), **how)
    name = "gelu_new" if name == "gelu" else name  # which "gated-gelu" means
    return GatedFeedForward(activation=ACTIVATION_FUNCTIONS[name], names=("wi_0", "wi_1", "wo"), **how)


class T5Layer(nn.Module):
    """A module, by its published name, normalized before and added after (pre-norm)."""

    def __init__(self, config: T5Config, **named: nn.Module) -> None:
        super().__init__()
        ((self.name, module),) = named.items()
        self.add_module(self.name, module)
        self.layer_norm = nn.RMSNorm(config.d_model, eps=config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)

    def forward(self, x: Tensor, *attend: Any) -> Tensor:
        """Transform ``(..., width)``."""
        return x + self.dropout(getattr(self, self.name)(self.layer_norm(x), *attend))


class T5Block(nn.Module):
    """Layers that attend, then a feed-forward network."""

    def __init__(self, config: T5Config, **kinds: type[T5Attention]) -> None:
        super().__init__()
        attentions = [T5Layer(config, **{name: kind(config)}) for name, kind in kinds.items()]
        self.layer = nn.ModuleList([*attentions, T5Layer(config, DenseReluDense=feed_forward(config))])

    def forward(self, x: Tensor, *attends: Any) -> Tensor:
        """Transform ``(..., width)``, with a way to attend for each layer that does."""
        for layer, attend in zip(self.layer, attends, strict=False):
            x = layer(x, attend)
        return self.layer[-1](x)


class T5Stack(nn.Module):
    """Blocks, of which the first has the bias, and a last normalization."""

    further: ClassVar[dict[str, type[T5Attention]]] = {}

    def __init__(self, config: T5Config, layers: int) -> None:
        super().__init__()
        kinds = [T5BiasedAttention, *[T5Attention] * (layers - 1)]
        self.num_layers = layers
        self.block: Any = nn.ModuleList(T5Block(config, SelfAttention=kind, **self.further) for kind in kinds)
        self.final_layer_norm = nn.RMSNorm(config.d_model, eps=config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)


class T5Encoder(T5Stack):
    """Reads texts."""

    def forward(self, x: Tensor, rows: Rows, shown: HiddenStates) -> Tensor:
        """Transform embeddings, ``(batch, tokens, width)``, to packed rows."""
        bias = self.block[0].layer[0].SelfAttention.relative_attention_bias.both_ways(x.shape[1])
        attend = partial(rows.attend, bias=bias)
        x = self.dropout(rows.pack(x))
        for block in self.block:
            x = block(shown(x), attend)
        return self.dropout(self.final_layer_norm(x))


class T5Decoder(T5Stack):
    """Reads what there is of answers."""

    further = {"EncDecAttention": T5CrossAttention}  # noqa: RUF012  # read only

    def forward(self, x: Tensor, state: CausalState, cross: CrossState, shown: HiddenStates) -> Tensor:
        """Transform embeddings, ``(batch, tokens, width)``."""
        bias = self.block[0].layer[0].SelfAttention.relative_attention_bias.backwards(x.shape[1], state.length)
        x = self.dropout(x)
        for number, block in enumerate(self.block):
            x = block(shown(x), state.attend_in(number, bias=bias), cross.attend_in(number))
        return self.dropout(self.final_layer_norm(x))


class T5PreTrainedModel(Model):
    """Base class of all T5 models."""

    config_class: ClassVar[type[T5Config]] = T5Config
    layout = UNTIED
    block_classes: ClassVar[tuple[type[nn.Module], ...]] = (T5Block,)
    parallel_plan = PLAN

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = T5Encoder(config, config.num_layers)
        self.init_weights()

    @classmethod
    def layout_of(cls, config: T5Config) -> Layout:
        """How the weights of a model with this configuration are named, and which are tied."""
        return evolve(cls.layout, ties=TIES) if config.is_tied else cls.layout

    def init_module(self, module: nn.Module) -> None:
        """Initialize the parameters that ``module`` itself owns."""
        factor = self.config.initializer_factor
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=factor * vars(module).get("initial_std", module.in_features**-0.5))
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=factor * (1.0 if module is self.shared else self.config.d_model**-0.5))
        if isinstance(module, nn.RMSNorm):
            nn.init.constant_(module.weight, factor)


class T5EncoderModel(EncoderOnly, T5PreTrainedModel):
    """The encoder alone."""


class T5Model(EncoderDecoder, T5PreTrainedModel):
    """Encoder and decoder."""

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.decoder = T5Decoder(config, config.num_decoder_layers or config.num_layers)
        self.decoder.apply(self.init_module)


class T5ForConditionalGeneration(Seq2SeqLM, T5Model):
    """T5 with a language model head."""

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        vars(self.lm_head)["initial_std"] = 1.0
        if config.is_tied:
            self.lm_head.weight = self.shared.weight
        self.init_module(self.lm_head)

    def predict(self, x: Tensor) -> Tensor:
        """Logits, ``(..., vocabulary)``; T5 1.0 scales features first, since the embedding has a variance of 1."""
        return self.lm_head(x * self.config.d_model**-0.5 if self.config.scales else x)
