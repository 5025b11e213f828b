"""How Llama is divided over processes."""

from registry.sharding.plans import ParallelPlan

PLAN = ParallelPlan(
    blocks=("model.layers.*",),
    tensor={
        "model.embed_tokens": "vocabulary",
        "model.layers.*.self_attn.q_proj": "colwise",
        "model.layers.*.self_attn.k_proj": "colwise",
        "model.layers.*.self_attn.v_proj": "colwise",
        "model.layers.*.self_attn.o_proj": "rowwise",
        "model.layers.*.mlp.gate_proj": "colwise",
        "model.layers.*.mlp.up_proj": "colwise",
        "model.layers.*.mlp.down_proj": "rowwise",
        "lm_head": "scores",
    },
    divisible=("num_attention_heads", "key_value_heads"),
)

SHARDED = ParallelPlan(blocks=("model.layers.*",))
"""For relatives whose layers processes do not share: experts, and norms of heads, whose gradient needs all heads."""
