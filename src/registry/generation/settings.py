"""Defaults of generation that come with a model, in ``generation_config.json``.

The keys, and what they mean, are those of transformers.  Keys that change what is generated and are not supported here
raise an error when the model generates, by name; the others are kept as they are.
"""

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from registry.errors import ConfigError

SAMPLING = frozenset(("temperature", "top_k", "top_p", "min_p", "typical_p"))
"""Options of sampling alone."""
BEAMS = frozenset(("num_beams", "length_penalty", "early_stopping"))
"""Options of beam search alone."""
COMMON = frozenset(
    (
        "max_new_tokens",
        "min_new_tokens",
        "min_length",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "repetition_penalty",
        "no_repeat_ngram_size",
        "bad_words_ids",
        "suppress_tokens",
        "eos_token_id",
        "pad_token_id",
        "num_return_sequences",
        "stop_strings",
        "max_time",
    )
)
"""Options of every way to generate."""
NEUTRAL: Mapping[str, Any] = {
    "begin_suppress_tokens": None,
    "constraints": None,
    "diversity_penalty": 0.0,
    "dola_layers": None,
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "exponential_decay_length_penalty": None,
    "force_words_ids": None,
    "guidance_scale": 1.0,
    "num_beam_groups": 1,
    "penalty_alpha": None,
    "remove_invalid_values": False,
    "renormalize_logits": False,
    "sequence_bias": None,
    "top_h": None,
    "watermarking_config": None,
}
"""Key that changes what is generated, and is not obeyed here -> the value at which it changes nothing."""
OFF: Mapping[str, Any] = {
    "top_p": 1.0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "top_k": 0,
    "min_new_tokens": 0,
    "min_length": 0,
    "no_repeat_ngram_size": 0,
    "suppress_tokens": [],
    "bad_words_ids": [],
    "stop_strings": [],
}
"""Option -> the value, other than null, at which it changes nothing."""
TOP_K = 50
"""``top_k`` of a file that samples and does not say: what transformers takes, and drops when it writes."""


KEYS = SAMPLING | BEAMS | COMMON | NEUTRAL.keys() | {"do_sample", "max_length", "bos_token_id", "use_cache"}
"""All keys that a program may set."""

WITHOUT = "Without it: remove {0!r} from that file, or in Python: del model.generation_config[{0!r}]."
"""The hint of errors."""

MOST_AT_ONCE = 1000
"""Beams, and sequences for each prompt, that a file may ask for: each takes memory."""


def _is_whole(value: object, most: int = 2**63 - 1) -> bool:
    return type(value) is int and 0 <= value <= most


def _is_number(value: object) -> bool:
    return _is_whole(value) or (type(value) is float and isfinite(value))


def _are_ids(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_whole, value))


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


Kind = tuple[str, Callable[[Any], bool]]
WHOLE: Kind = "a whole number", _is_whole
AT_ONCE: Kind = f"a whole number up to {MOST_AT_ONCE}", lambda value: _is_whole(value, MOST_AT_ONCE)
NUMBER: Kind = "a number", _is_number
IDS: Kind = "an id, or a list of ids", lambda value: _is_whole(value) or _are_ids(value)
KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(("max_new_tokens", "max_length", "min_new_tokens", "min_length"), WHOLE),
    **dict.fromkeys(("no_repeat_ngram_size", "top_k", "pad_token_id", "decoder_start_token_id"), WHOLE),
    "forced_bos_token_id": WHOLE,
    **dict.fromkeys(("eos_token_id", "forced_eos_token_id"), IDS),
    **dict.fromkeys(("num_beams", "num_return_sequences"), AT_ONCE),
    **dict.fromkeys(("temperature", "top_p", "min_p", "typical_p", "repetition_penalty", "max_time"), NUMBER),
    "length_penalty": ("a number", lambda value: type(value) in (int, float) and _is_number(abs(value))),
    "early_stopping": ("true, false or never", lambda value: type(value) is bool or value == "never"),
    "do_sample": ("true or false", lambda value: type(value) is bool),
    "suppress_tokens": ("a list of ids", _are_ids),
    "bad_words_ids": ("a list of lists of ids", lambda value: isinstance(value, list) and all(map(_are_ids, value))),
    "stop_strings": ("a text, or a list of texts", lambda value: isinstance(value, str) or _are_texts(value)),
}
"""Option of a file -> the values that it may have, as text and as a test."""


def settings_of(config: Mapping[str, Any], given: Mapping[str, Any], prompt_tokens: int) -> dict[str, Any]:
    """The options to generate with.

    What the caller gives goes first; options of the file that have no effect with them are dropped.

    Args:
        config: What ``generation_config.json`` says.
        given: What the caller says, as far as it is not None.
        prompt_tokens: Tokens of a prompt, which ``max_length`` of the file includes.

    Raises:
        ConfigError: The file asks for what is not supported, and the caller does not say otherwise; or it holds
            what no option can be.
    """
    for key, (allowed, accepts) in KINDS.items():
        if config.get(key) is not None and not accepts(config[key]):
            raise ConfigError(
                f"generation_config.json holds {key}={config[key]!r:.80}, where {allowed} is needed.",
                hint=WITHOUT.format(key),
            )
    refused = [key for key, value in NEUTRAL.items() if config.get(key, value) not in (value, None)]
    if refused:
        raise ConfigError(
            f"generation_config.json requests {refused[0]}={config[refused[0]]!r}, which is not supported.",
            hint=WITHOUT.format(refused[0]),
        )
    file = {key: config[key] for key in COMMON | BEAMS if config.get(key) is not None}
    if "max_new_tokens" not in file and config.get("max_length") is not None:
        file["max_new_tokens"] = max(1, config["max_length"] - prompt_tokens)
    if config.get("do_sample"):
        file |= {"temperature": 1.0, "top_k": TOP_K}
        file |= {key: config[key] for key in SAMPLING if config.get(key) is not None}
    file = {key: value for key, value in file.items() if value != OFF.get(key)}
    if "min_new_tokens" in file:
        file.pop("min_length", None)  # as transformers does
    file = {key: value for key, value in file.items() if key not in _excluded(given)}
    if file.get("num_beams", 1) != 1 and "temperature" in file:
        raise ConfigError(
            "generation_config.json asks for beam search with sampling (num_beams and do_sample), which is not "
            "supported.",
            hint="Give num_beams=1 to sample, or temperature=0 for beam search.",
        )
    return {**file, **given}


def _excluded(given: Mapping[str, Any]) -> frozenset[str]:
    """Options of the file that have no effect with those that the caller gives."""
    least = frozenset(("min_new_tokens", "min_length"))
    return _excluded_ways(given) | (frozenset() if least.isdisjoint(given) else least)


def _excluded_ways(given: Mapping[str, Any]) -> frozenset[str]:
    """Options of the file for another way to generate than the caller asks for."""
    if given.get("num_beams", 1) != 1 or given.get("temperature") == 0:
        return SAMPLING
    return BEAMS if not SAMPLING.isdisjoint(given) or given.get("num_beams") == 1 else frozenset()
