"""Writes models as llama.cpp's converter does (convert_hf_to_gguf.py), with its package ``gguf``."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gguf
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize
from transformers.convert_slow_tokenizer import bytes_to_unicode

LLAMA = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
GPT2 = {
    "transformer.wte": "token_embd",
    "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm",
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


def tiny_llama(**changes: Any) -> Any:
    sizes = {"hidden_size": 256, "intermediate_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = {"vocab_size": 61, "num_hidden_layers": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5}
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**sizes, **config, **changes}))
    return noisy(model)


def tiny_gpt2(**changes: Any) -> Any:
    sizes = {"vocab_size": 61, "n_positions": 64, "n_embd": 256, "n_layer": 2, "n_head": 4, "n_inner": 256}
    torch.manual_seed(0)
    ids = {"bos_token_id": 0, "eos_token_id": 0}
    return noisy(transformers.GPT2LMHeadModel(transformers.GPT2Config(**{**sizes, **ids, **changes})))


def noisy(model: Any) -> Any:
    """The model with norms and biases that are not 1 and 0."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def blocks(kind: Type, shape: tuple[int, ...]) -> Any:
    """Random blocks of a type which the package cannot write, with scales that are small numbers."""
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    count = int(np.prod(shape)) // elements
    random = np.random.default_rng(count)
    found = random.integers(0, 256, (count, size), dtype=np.uint8)
    for at in {Type.Q4_K: (0, 2), Type.Q6_K: (208,)}[kind]:
        found[:, at : at + 2] = random.uniform(1e-4, 1e-3, (count, 1)).astype(np.float16).view(np.uint8)
    return found.reshape(*shape[:-1], -1)


def packed(array: Any, kind: Type) -> Any:
    """An array in a type; random blocks of the types that the package only reads."""
    return blocks(kind, array.shape) if kind in (Type.Q4_K, Type.Q6_K) else quantize(array, kind)


def permuted(array: Any, heads: int) -> Any:
    """The converter's order of the rows of queries and keys."""
    return array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)


def restored(array: Any, heads: int) -> Any:
    return array.reshape(heads, array.shape[0] // heads // 2, 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)


def write(
    model: Any,
    path: Path,
    kind: Type = Type.F32,
    tokens: Callable[[gguf.GGUFWriter], None] | None = None,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> Any:
    """Write a model, and ``more`` tensors; return it with the numbers that the file holds."""
    config = model.config
    of_llama = config.model_type == "llama"
    writer = gguf.GGUFWriter(path, config.model_type)
    writer.add_context_length(config.max_position_embeddings if of_llama else config.n_positions)
    writer.add_vocab_size(config.vocab_size)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    if of_llama:
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_freq_base(getattr(config, "rope_parameters", {"rope_theta": 10_000.0})["rope_theta"])
        writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    else:
        writer.add_feed_forward_length(config.n_inner or 4 * config.n_embd)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    if tokens is not None:
        tokens(writer)
    state = model.state_dict()
    if config.tie_word_embeddings:
        del state["lm_head.weight"]
    for name, tensor in state.items():
        array, stored = written(name, tensor.numpy(), config, kind)
        writer.add_tensor(name_of(name, LLAMA if of_llama else GPT2), stored[0], raw_dtype=stored[1])
        tensor.copy_(torch.from_numpy(array.copy()))
    for name, array in more.items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def written(name: str, array: Any, config: Any, kind: Type) -> tuple[Any, tuple[Any, Type]]:
    """The array that the file holds, and that array as it is in the file."""
    part = name.split(".")[-2]
    heads = {"q_proj": config.num_attention_heads, "k_proj": getattr(config, "num_key_value_heads", None)}.get(part)
    turned = part.startswith("c_") and array.ndim == 2
    if array.ndim < 2 or part == "wpe":
        kind = Type.F32
    array = array.T if turned else permuted(array, heads) if heads else array
    stored = packed(np.ascontiguousarray(array), kind)
    array = dequantize(stored, kind)
    return (array.T if turned else restored(array, heads) if heads else array), (stored, kind)


def name_of(name: str, table: Mapping[str, str]) -> str:
    base, _, last = name.rpartition(".")
    if base in table:
        return f"{table[base]}.{last}"
    number, _, inner = base.split(".", 2)[2].partition(".")
    return f"blk.{number}.{table[inner]}.{last}"


# --- Tokenizers -------------------------------------------------------------------------------------------------------


SENTENCE = " the cat sat on the mat, and the dog sat"


def byte_level(writer: gguf.GGUFWriter, pre: str = "gpt-2") -> None:
    """The 256 bytes as GPT-2 writes them, words of a text that merge from the left, and a token of its own kind."""
    tokens, merges = list(bytes_to_unicode().values()), []
    for word in dict.fromkeys(SENTENCE.replace(" ", " Ġ").split()):
        for length in range(2, len(word) + 1):
            if word[:length] not in tokens:
                tokens.append(word[:length])
                merges.append(f"{word[: length - 1]} {word[length - 1]}")
    tokens.append("<|endoftext|>")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * (len(tokens) - 1) + [gguf.TokenType.CONTROL])
    writer.add_token_merges(merges)
    for add in (writer.add_bos_token_id, writer.add_eos_token_id):
        add(len(tokens) - 1)


def pieces(writer: gguf.GGUFWriter, model: Any, *, space: bool = True) -> None:
    """The pieces of a model of sentencepiece."""
    numbers = range(model.get_piece_size())
    kinds = ((model.is_unknown, 2), (model.is_control, 3), (model.is_byte, 6))
    writer.add_tokenizer_model("llama")
    writer.add_token_list([model.id_to_piece(number) for number in numbers])
    writer.add_token_scores([model.get_score(number) for number in numbers])
    writer.add_token_types([next((kind for holds, kind in kinds if holds(number)), 1) for number in numbers])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_space_prefix(space)
    writer.add_chat_template("{{ messages[0].content }}")
