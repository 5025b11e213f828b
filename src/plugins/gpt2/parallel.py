"""How GPT-2 is divided over processes."""

from registry.sharding.plans import ParallelPlan

PLAN = ParallelPlan(
    blocks=("transformer.h.*",),
    tensor={
        "transformer.wte": "vocabulary",
        "transformer.h.*.attn.c_attn": "colwise:3",
        "transformer.h.*.attn.c_proj": "rowwise",
        "transformer.h.*.mlp.c_fc": "colwise",
        "transformer.h.*.mlp.c_proj": "rowwise",
        "lm_head": "scores",
    },
    divisible=("n_head",),
)
