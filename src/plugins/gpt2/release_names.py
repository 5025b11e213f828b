"""The names of GPT-2's weights in OpenAI's TensorFlow checkpoints; imported when one is read."""

from registry.weights.names import NameTable, squeezed

BLOCK, OURS = "model/h{i}", "transformer.h.{i}"

TENSORFLOW = NameTable(
    ("model/wte", "transformer.wte.weight"),
    ("model/wpe", "transformer.wpe.weight"),
    (f"{BLOCK}/ln_1/g", f"{OURS}.ln_1.weight"),
    (f"{BLOCK}/ln_1/b", f"{OURS}.ln_1.bias"),
    (f"{BLOCK}/attn/c_attn/w", f"{OURS}.attn.c_attn.weight", squeezed),
    (f"{BLOCK}/attn/c_attn/b", f"{OURS}.attn.c_attn.bias"),
    (f"{BLOCK}/attn/c_proj/w", f"{OURS}.attn.c_proj.weight", squeezed),
    (f"{BLOCK}/attn/c_proj/b", f"{OURS}.attn.c_proj.bias"),
    (f"{BLOCK}/ln_2/g", f"{OURS}.ln_2.weight"),
    (f"{BLOCK}/ln_2/b", f"{OURS}.ln_2.bias"),
    (f"{BLOCK}/mlp/c_fc/w", f"{OURS}.mlp.c_fc.weight", squeezed),
    (f"{BLOCK}/mlp/c_fc/b", f"{OURS}.mlp.c_fc.bias"),
    (f"{BLOCK}/mlp/c_proj/w", f"{OURS}.mlp.c_proj.weight", squeezed),
    (f"{BLOCK}/mlp/c_proj/b", f"{OURS}.mlp.c_proj.bias"),
    ("model/ln_f/g", "transformer.ln_f.weight"),
    ("model/ln_f/b", "transformer.ln_f.bias"),
    # Optimizer states: TensorFlow's Adam.
    dropped=("{name}/Adam", "{name}/Adam_1", "beta1_power", "beta2_power", "global_step"),
)
"""From the names of OpenAI's release (openai/gpt-2, model.py)."""
