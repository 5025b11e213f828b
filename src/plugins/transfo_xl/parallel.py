"""How Transformer-XL is divided over processes."""

from registry.sharding.plans import ParallelPlan

PLAN = ParallelPlan(
    blocks=("transformer.layers.*",),
    tensor={
        "transformer.word_emb.emb_layers.*": "vocabulary",
        "transformer.layers.*.dec_attn": "heads",
        "transformer.layers.*.dec_attn.qkv_net": "colwise:3",
        "transformer.layers.*.dec_attn.r_net": "colwise",
        "transformer.layers.*.dec_attn.o_net": "rowwise",
        "transformer.layers.*.pos_ff.CoreNet.0": "colwise",
        "transformer.layers.*.pos_ff.CoreNet.3": "rowwise",
        "crit.out_layers.*": "scores",
    },
    divisible=("n_head",),
)
