"""How GPT-2 is divided over processes."""

from registry.sharding.plans import plan_of_fused_blocks

PLAN = plan_of_fused_blocks(embedding="transformer.wte")
