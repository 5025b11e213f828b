"""How T5 is divided over processes: by heads, of which each has a bias, and by features inside."""

from registry.sharding.plans import ParallelPlan

BIAS = "*.block.0.layer.0.SelfAttention.relative_attention_bias"
PLAN = ParallelPlan(
    blocks=(BIAS, "encoder.block.*", "decoder.block.*"),  # a bias is used outside of its block
    tensor={
        "shared": "vocabulary",
        BIAS: "colwise",
        **{f"*.block.*.layer.*.*Attention.{name}": "colwise" for name in "qkv"},
        "*.block.*.layer.*.*Attention.o": "rowwise",
        "*.block.*.layer.*.DenseReluDense.wi*": "colwise",
        "*.block.*.layer.*.DenseReluDense.wo": "rowwise",
        "lm_head": "scores",
    },
    divisible=("num_heads",),
)
