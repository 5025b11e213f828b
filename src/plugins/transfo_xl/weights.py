"""The names of Transformer-XL's weights, as in the files of 2019, and their ties, which the configuration decides."""

from collections.abc import Iterator

import attrs

from registry.weights.names import Layout, NameTable

from .config import TransfoXLConfig

LAYOUT = Layout(
    prefix="transformer.",
    parts=("crit.", "score."),
    names=NameTable(
        dropped=("transformer.pos_emb.inv_freq",),  # the frequencies of positions, which are computed here
    ),
)

BIASES = ("r_w_bias", "r_r_bias")
"""Biases of queries, u and v of the paper; with ``untie_r`` false, all layers share one of each."""


def layout_of(config: TransfoXLConfig) -> Layout:
    """The layout with the ties of one configuration; of each group, the name in the backbone is first."""
    return attrs.evolve(LAYOUT, ties=tuple(_ties(config)))


def _ties(config: TransfoXLConfig) -> Iterator[tuple[str, ...]]:
    if config.tie_weight:
        for number in range(len(config.tables)):
            yield f"transformer.word_emb.emb_layers.{number}.weight", f"crit.out_layers.{number}.weight"
    if config.projects:
        yield from _tied_projections(config)
    if not config.untie_r:
        for bias in BIASES:
            layers = [f"transformer.layers.{number}.dec_attn.{bias}" for number in range(config.n_layer)]
            yield f"transformer.{bias}", *layers


def _tied_projections(config: TransfoXLConfig) -> Iterator[tuple[str, ...]]:
    tied = [number for number, shared in enumerate(config.tie_projs) if shared]
    if config.div_val > 1:
        for number in tied:
            yield f"transformer.word_emb.emb_projs.{number}", f"crit.out_projs.{number}"
    elif tied:  # one table has one projection, for which every cluster of the softmax has a name
        yield "transformer.word_emb.emb_projs.0", *[f"crit.out_projs.{number}" for number in tied]
