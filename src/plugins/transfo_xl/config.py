"""The configuration of Transformer-XL."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any, ClassVar

from attrs import Attribute, Factory, field, frozen

from registry.config import Config
from registry.config.fields import any_token, choice, count, problem_type, rate, scale, size
from registry.errors import ConfigError


def _tuple(value: Any) -> tuple[Any, ...]:
    """A JSON list as a tuple."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ConfigError(f"cutoffs and tie_projs must be lists, not {value!r}.")
    return tuple(value)


def _projections_are_shared(config: "TransfoXLConfig") -> tuple[bool, ...]:
    return (False, *[config.proj_share_all_but_first] * len(config.cutoffs))


@frozen(kw_only=True)
class TransfoXLConfig(Config):
    """Sizes and rates of a Transformer-XL (Dai et al., 2019); the defaults are the large model for WikiText-103.

    Sizes count features, tokens or layers; rates are probabilities.  ``n_token`` is an older name of ``vocab_size``.
    """

    architecture: ClassVar[str] = "transfo_xl"
    model_type: ClassVar[str] = "transfo-xl"
    aliases: ClassVar[dict[str, str]] = {"n_token": "vocab_size"}
    general_names: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"hidden_size": "d_model", "num_attention_heads": "n_head", "num_hidden_layers": "n_layer"}
    )
    most_parameters: ClassVar[int] = 20_000_000_000
    task_fields: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType(
        {"sequence-classification": ("problem_type",)}
    )

    vocab_size: int = size(267_735)
    """Words, the most frequent first."""
    cutoffs: tuple[int, ...] = field(default=(20_000, 40_000, 200_000), converter=_tuple)
    """The first id of each cluster of words but the first; without any, all words are one cluster."""
    d_model: int = size(1024, most=1_000_000)
    """Features per token."""
    d_embed: int = size(1024, most=1_000_000)
    """Features of the words of the first cluster, before they are projected to ``d_model``."""
    n_head: int = size(16, most=100_000)
    """Attention heads of each layer."""
    d_head: int = size(64, most=1_000_000)
    """Features of each head."""
    d_inner: int = size(4096)
    """Features inside the feed-forward network of a layer."""
    div_val: int = size(4, most=1_000_000)
    """The number of times that words of a cluster have fewer features than those of the one before; with 1, all
    clusters share one table."""
    pre_lnorm: bool = choice(False, (False, True))
    """Whether sub-layers normalize their input, and not their output."""
    n_layer: int = size(18, most=10_000)
    """Layers, one after the other."""
    tgt_len: int = size(128)
    """Tokens of a segment."""
    ext_len: int = count(0)
    """Tokens at the end of a segment that the next one reads again, and that the memory therefore leaves out."""
    mem_len: int = count(1600)
    """Tokens of the memory."""
    clamp_len: int = count(1000)
    """The largest distance, as which larger ones count; 0 for no limit."""
    same_length: bool = choice(True, (True, False))
    """Whether each token attends to ``mem_len`` tokens, itself included, and not to more."""
    attn_type: int = choice(0, (0,))
    """The relative positions of the paper; no published model has one of the three other kinds."""
    sample_softmax: int = choice(-1, (-1, 0))
    """The softmax is not sampled; the code for that in pytorch-pretrained-bert never ran."""
    adaptive: bool = choice(True, (True,))
    """Embedding and softmax are adaptive (Grave et al., 2017); nothing else is known."""
    tie_weight: bool = choice(True, (True, False))
    """Whether the softmax shares the tables of the embedding."""
    proj_share_all_but_first: bool = choice(True, (True, False))
    """The default of ``tie_projs``: whether all clusters but the first share their projection."""
    tie_projs: tuple[bool, ...] = field(default=Factory(_projections_are_shared, takes_self=True), converter=_tuple)
    """For each cluster, whether embedding and softmax share one projection."""
    dropout: float = rate(0.1)
    """Dropout of embeddings, of distances, inside and behind sub-layers, and of the last hidden states."""
    dropatt: float = rate(0.0)
    """Dropout of attention weights."""
    untie_r: bool = choice(True, (True, False))
    """Whether each layer has its own biases ``r_w_bias`` and ``r_r_bias`` (u and v in the paper)."""
    init: str = choice("normal", ("normal", "uniform"))
    """The distribution of newly initialized weights."""
    init_range: float = scale(0.01)
    """The bound of a uniform distribution, on both sides of zero."""
    init_std: float = scale(0.02)
    """Standard deviation of a normal one."""
    proj_init_std: float = scale(0.01)
    """Standard deviation of newly initialized projections."""
    layer_norm_epsilon: float = scale(1e-12)
    """Added to the variance in layer normalization.  pytorch-pretrained-bert has no such field, and 1e-12 in its code,
    with which the published model was converted and its perplexity of 18.2 was measured; libraries that later wrote
    1e-5 say so in their files."""
    problem_type: str | None = problem_type()
    """What a classifier of texts predicts: numbers, one label of each text, or several; null for what labels show."""
    pad_token_id: int | None = any_token(None)
    """The token of padding, which a classifier of texts does not take for the last; null where there is none."""
    eos_token_id: int | None = field(default=None)
    """The token that ends a text; null where none is known."""

    def __init__(self, *, n_token: int | None = None, **fields: Any) -> None:
        if n_token is not None and fields.setdefault("vocab_size", n_token) != n_token:
            raise ConfigError(f"n_token ({n_token}) and vocab_size ({fields['vocab_size']}) must be equal.")
        self.__attrs_init__(**fields)  # type: ignore[attr-defined]  # attrs makes it

    @cutoffs.validator
    def _cutoffs_cut(self, _attribute: "Attribute[Any]", cutoffs: Any) -> None:
        numbers = (0, *cutoffs, self.vocab_size)
        if any(type(number) is not int for number in numbers) or any(low >= high for low, high in pairwise(numbers)):
            raise ConfigError(
                f"cutoffs must be a list of increasing whole numbers between 0 and vocab_size ({self.vocab_size}), "
                f"not {cutoffs!r}."
            )

    @div_val.validator
    def _every_cluster_has_features(self, _attribute: "Attribute[int]", div_val: int) -> None:
        if isinstance(div_val, int) and self.d_embed < div_val ** len(self.cutoffs):
            raise ConfigError(
                f"div_val ({div_val}) leaves none of the {self.d_embed} features of d_embed for the last of "
                f"{len(self.cutoffs) + 1} clusters."
            )

    @tie_projs.validator
    def _one_for_each_cluster(self, _attribute: "Attribute[Any]", ties: Any) -> None:
        if not all(type(tie) is bool for tie in ties) or len(ties) != len(self.cutoffs) + 1:
            raise ConfigError(
                f"tie_projs must hold true or false for each of the {len(self.cutoffs) + 1} clusters that "
                f"{len(self.cutoffs)} cutoffs make, not {ties!r}.",
                hint="Where cutoffs are changed, give tie_projs as well.",
            )

    @eos_token_id.validator
    def _end_is_a_token(self, _attribute: "Attribute[Any]", token: Any) -> None:
        if token is not None and (type(token) is not int or not 0 <= token < self.vocab_size):
            raise ConfigError(f"eos_token_id must be null, or a number below {self.vocab_size}, not {token!r}.")

    @property
    def n_token(self) -> int:
        """Words; the name of ``vocab_size`` in pytorch-pretrained-bert."""
        return self.vocab_size

    @property
    def clusters(self) -> tuple[tuple[int, int], ...]:
        """The range of ids of each cluster: its first, and the first one after it."""
        return tuple(pairwise((0, *self.cutoffs, self.vocab_size)))

    @property
    def tables(self) -> tuple[tuple[int, int], ...]:
        """Words and features of each table of embeddings."""
        if self.div_val == 1:
            return ((self.vocab_size, self.d_embed),)
        return tuple(
            (stop - start, self.d_embed // self.div_val**number) for number, (start, stop) in enumerate(self.clusters)
        )

    @property
    def projects(self) -> bool:
        """Whether embeddings are projected to ``d_model``; with ``div_val`` always."""
        return self.div_val > 1 or self.d_embed != self.d_model

    def num_backbone_parameters(self) -> int:
        """Parameters of tables, projections and layers, without biases and normalizations."""
        attention = 5 * self.n_head * self.d_head
        embedded = sum(words * width + width * self.d_model for words, width in self.tables)
        return embedded + self.n_layer * self.d_model * (attention + 2 * self.d_inner)

    def to_dict(self) -> dict[str, Any]:
        """All keys as a published file has them, with both names of the vocabulary's size."""
        return {**super().to_dict(), "n_token": self.vocab_size}
