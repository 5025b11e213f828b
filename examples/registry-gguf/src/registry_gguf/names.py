"""From the names of tensors in GGUF to those of transformers, which the models of the registry have."""

from registry.weights.names import NameTable, transposed

BLOCK = "blk.{i}"

LLAMA = NameTable(
    ("token_embd.weight", "model.embed_tokens.weight"),
    (f"{BLOCK}.attn_norm.weight", "model.layers.{i}.input_layernorm.weight"),
    (f"{BLOCK}.attn_q.{{p}}", "model.layers.{i}.self_attn.q_proj.{p}"),
    (f"{BLOCK}.attn_k.{{p}}", "model.layers.{i}.self_attn.k_proj.{p}"),
    (f"{BLOCK}.attn_v.{{p}}", "model.layers.{i}.self_attn.v_proj.{p}"),
    (f"{BLOCK}.attn_output.{{p}}", "model.layers.{i}.self_attn.o_proj.{p}"),
    (f"{BLOCK}.ffn_norm.weight", "model.layers.{i}.post_attention_layernorm.weight"),
    (f"{BLOCK}.ffn_gate.{{p}}", "model.layers.{i}.mlp.gate_proj.{p}"),
    (f"{BLOCK}.ffn_up.{{p}}", "model.layers.{i}.mlp.up_proj.{p}"),
    (f"{BLOCK}.ffn_down.{{p}}", "model.layers.{i}.mlp.down_proj.{p}"),
    ("output_norm.weight", "model.norm.weight"),
    ("output.weight", "lm_head.weight"),
    dropped=("rope_freqs.weight",),  # which the configuration gives
)

GPT2 = NameTable(
    ("token_embd.weight", "transformer.wte.weight"),
    ("position_embd.weight", "transformer.wpe.weight"),
    (f"{BLOCK}.attn_norm.{{p}}", "transformer.h.{i}.ln_1.{p}"),
    (f"{BLOCK}.attn_qkv.weight", "transformer.h.{i}.attn.c_attn.weight", transposed),
    (f"{BLOCK}.attn_qkv.bias", "transformer.h.{i}.attn.c_attn.bias"),
    (f"{BLOCK}.attn_output.weight", "transformer.h.{i}.attn.c_proj.weight", transposed),
    (f"{BLOCK}.attn_output.bias", "transformer.h.{i}.attn.c_proj.bias"),
    (f"{BLOCK}.ffn_norm.{{p}}", "transformer.h.{i}.ln_2.{p}"),
    (f"{BLOCK}.ffn_up.weight", "transformer.h.{i}.mlp.c_fc.weight", transposed),
    (f"{BLOCK}.ffn_up.bias", "transformer.h.{i}.mlp.c_fc.bias"),
    (f"{BLOCK}.ffn_down.weight", "transformer.h.{i}.mlp.c_proj.weight", transposed),
    (f"{BLOCK}.ffn_down.bias", "transformer.h.{i}.mlp.c_proj.bias"),
    ("output_norm.{p}", "transformer.ln_f.{p}"),
    ("output.weight", "lm_head.weight"),
)
