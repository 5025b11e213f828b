"""The configuration in the keys of a GGUF file, by the names that transformers has for them."""

import struct
from collections.abc import Mapping
from math import isclose, pi
from typing import Any

from registry.errors import ConfigError, UnsupportedError
from registry.records import Paths

from .reading import GGUF
from .reading import read as read_header

KEYS: Mapping[str, Mapping[str, str]] = {
    "llama": {
        "hidden_size": "embedding_length",
        "intermediate_size": "feed_forward_length",
        "num_hidden_layers": "block_count",
        "num_attention_heads": "attention.head_count",
        "max_position_embeddings": "context_length",
        "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    },
    "gpt2": {
        "n_embd": "embedding_length",
        "n_inner": "feed_forward_length",
        "n_layer": "block_count",
        "n_head": "attention.head_count",
        "n_positions": "context_length",
        "layer_norm_epsilon": "attention.layer_norm_epsilon",
    },
}
"""For each architecture its fields, and the key of each."""
OPTIONAL = {
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "rope_theta": "rope.freq_base",
}
"""Fields of Llama that a file may lack."""
SPECIAL = ("bos", "eos")
MOST_FREQUENCIES, MOST_BASE = 4096, 1e12
LLAMA_3 = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}


def read(paths: Paths) -> dict[str, Any]:
    """The keys of a configuration.

    Raises:
        ConfigError: A key is missing.
        UnsupportedError: The architecture is another one, or computes something that it does not compute here.
        WeightsError: Whatever ``reading.read`` raises.
    """
    found = read_header(paths)
    if found.architecture not in KEYS:
        raise UnsupportedError(
            f"{found.path} holds a model of the architecture {found.architecture!r:.80}; read are {', '.join(KEYS)}."
        )
    ids = {f"{word}_token_id": found.keys.get(f"tokenizer.ggml.{word}_token_id") for word in SPECIAL}
    fields = {field: _needed(found, key) for field, key in KEYS[found.architecture].items()}
    embedding = found.tensors.get("token_embd.weight")
    if embedding is None:
        raise ConfigError(f"{found.path} has no tensor 'token_embd.weight', whose rows are the vocabulary.")
    of_llama = _of_llama(found) if found.architecture == "llama" else {}
    return {
        "model_type": found.architecture,
        "vocab_size": embedding.header.shape[0],
        **{key: _shortest(value) for key, value in {**fields, **of_llama, **ids}.items() if value is not None},
    }


def _needed(found: GGUF, key: str) -> Any:
    value = found.get(key)
    if value is None:
        raise ConfigError(f"{found.path} lacks the key {found.architecture}.{key}.")
    return value


def _of_llama(found: GGUF) -> dict[str, Any]:
    """The fields that Llama has beyond its sizes."""
    if found.get("expert_count"):
        raise UnsupportedError(f"{found.path} has experts, which Llama has not.")
    return {
        **{field: found.get(key) for field, key in OPTIONAL.items()},
        "rope_scaling": _scaling(found),
        "attention_bias": "blk.0.attn_q.bias" in found.tensors,
        "mlp_bias": "blk.0.ffn_up.bias" in found.tensors,
        "tie_word_embeddings": "output.weight" not in found.tensors,
    }


# --- Positions --------------------------------------------------------------------------------------------------------


def _scaling(found: GGUF) -> dict[str, Any] | None:
    """How positions are scaled: linearly, or by factors that are a tensor of the file."""
    kind = found.get("rope.scaling.type", "none")
    if "rope_freqs.weight" in found.tensors and kind == "none":
        return _of_factors(found)
    if kind == "linear":
        return {"rope_type": "linear", "factor": _shortest(_needed(found, "rope.scaling.factor"))}
    if kind != "none":
        raise UnsupportedError(f"{found.path} scales positions by {kind!r:.40}, which is not understood.")
    return None


def _of_factors(found: GGUF) -> dict[str, Any]:
    """Llama 3's scaling, whose factors for the frequencies a file has in place of the numbers that they follow from.

    The largest is the factor of the low frequencies.  The other numbers are those of all models of Meta; that the
    factors follow from them is tested.
    """
    stored, base = found.tensors["rope_freqs.weight"], found.get("rope.freq_base", 10_000.0)
    count = stored.header.shape[0]
    unusual = UnsupportedError(f"{found.path} has factors of frequencies that are not those of Llama 3.")
    if stored.header.dtype != "float32" or stored.header.shape != (count,) or count > MOST_FREQUENCIES:
        raise unusual
    with found.path.open("rb") as file:
        file.seek(stored.offset)
        factors = struct.unpack(f"<{count}f", file.read(stored.header.nbytes))
    for context in (8192, found.get("rope.scaling.original_context_length")):
        if type(base) is not float or not 1 < base < MOST_BASE or type(context) is not int or not max(factors) >= 1:
            continue
        scaling = {**LLAMA_3, "factor": float(f"{max(factors):.6g}"), "original_max_position_embeddings": context}
        wanted = [_factor(base ** (-number / count), scaling) for number in range(count)]
        if all(isclose(factor, other, rel_tol=1e-4) for factor, other in zip(factors, wanted, strict=True)):
            return scaling
    raise unusual


def _factor(frequency: float, scaling: Mapping[str, Any]) -> float:
    """What a frequency is divided by, after Llama 3's rule: all, nothing, or in between."""
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    turns = scaling["original_max_position_embeddings"] * frequency / (2 * pi)
    share = min(max((turns - low) / (high - low), 0.0), 1.0)
    return float(1 / ((1 - share) / scaling["factor"] + share))


def _shortest(value: Any) -> Any:
    """The shortest decimal number that is this one in single precision: 1e-05, and not 9.999999747378752e-06."""
    if not isinstance(value, float):
        return value
    shorter = (float(f"{value:.{digits}g}") for digits in range(1, 9))
    return next((number for number in shorter if struct.pack("f", number) == struct.pack("f", value)), value)
