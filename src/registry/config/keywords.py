"""Keywords of other libraries, each with the word to use here: one table for models, tokenizers and configurations."""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from registry.errors import UnknownOptionError, did_you_mean

_LOGIN = "write the token into the variable HF_TOKEN, or run `hf auth login`"
_ALWAYS = "leave it out: models are always loaded that way"
_QUANTIZED = "load the model, then quantize it with torchao or another library"
_IN_CALL = "give it to the call, as in `model(input_ids, output_attentions=True)`"

FOREIGN: Mapping[str, str] = MappingProxyType(
    {
        "attn_implementation": "leave it out: attention is torch's scaled_dot_product_attention",
        "auth_token": _LOGIN,
        "cache_folder": "write cache_dir=",
        "code_revision": "leave it out: no code of a repository is executed",
        "config": "change fields of the configuration by keyword, as in num_labels=3; `Class(config)` is a new model",
        "device_map": 'write device=, as in device="cuda"',
        "force_download": "call `registry.pull(name, update=True)` first",
        "from_flax": "convert the weights with the library that wrote them, to safetensors",
        "ignore_mismatched_sizes": "give the sizes that fit, as in num_labels=3, or allow_missing= for parts to be "
        "newly initialized",
        "load_in_4bit": _QUANTIZED,
        "load_in_8bit": _QUANTIZED,
        "local_files_only": "write offline=True",
        "low_cpu_mem_usage": _ALWAYS,
        "max_memory": 'write device=, as in device="cuda"',
        "mirror": "write the URL of the mirror into the variable HF_ENDPOINT",
        "model_max_length": "write max_len=",
        "offload_folder": 'write device=, as in device="cuda"',
        "output_attentions": _IN_CALL,
        "output_hidden_states": _IN_CALL,
        "output_loading_info": "read model.load_report",
        "pretrained_model_name_or_path": "give the name as the first argument",
        "proxies": "write the proxy into the variable HTTPS_PROXY",
        "quantization_config": _QUANTIZED,
        "resume_download": "leave it out: downloads always continue",
        "return_dict": "leave it out: outputs can be read by name and by number",
        "subfolder": "give the path of the subdirectory in a local copy",
        "token": _LOGIN,
        "torch_dtype": 'write dtype=, as in dtype="float16"',
        "tp_plan": "leave it out: models are loaded on one device",
        "trust_remote_code": "leave it out: no code of a repository is executed; architectures are plugins, which "
        "pip installs",
        "use_auth_token": _LOGIN,
        "use_fast": "leave it out: each architecture has one tokenizer",
        "use_safetensors": "leave it out: safetensors files are preferred, and pickled code is never executed",
        "variant": "leave it out, or give the path of the file",
    }
)
"""Keyword of another library -> what to do here."""


def refuse_unknown(keywords: Iterable[str], known: Collection[str], owners: str) -> None:
    """Raise UnknownOptionError for the first of ``keywords`` that is not known.

    Args:
        keywords: The keywords.
        known: Those that something takes.
        owners: The subject and verb of the message: ``"No model has"``.
    """
    for key in keywords:
        if key not in known:
            hint = f"Known keywords are: {', '.join(sorted(known))}."
            raise unknown_keyword(key, f"{owners} the keyword {key!r}.", known, hint)


def unknown_keyword(key: str, message: str, known: Collection[str], hint: str) -> UnknownOptionError:
    """The error for a keyword that nothing takes: with the word to use here where another library has the keyword.

    Args:
        key: The keyword.
        message: What does not have it, as a sentence.
        known: The keywords that may have been meant.
        hint: What to do where no other library has the keyword.
    """
    advice = FOREIGN.get(key)
    if advice is not None:
        return UnknownOptionError(message, hint=f"{key}= is a keyword of another library. Here, {advice}.")
    return UnknownOptionError(f"{message}{did_you_mean(key, known)}", hint=hint)
