"""Keywords of other libraries, each with the word to use here: one table for all doors, and for generate."""

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import wraps
from types import MappingProxyType
from typing import Any, TypeVar, cast

from registry.errors import UnknownOptionError, did_you_mean

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_LOGIN = "write the token into the variable HF_TOKEN, or run `hf auth login`"
_ALWAYS = "leave it out: models are always loaded that way"
_QUANTIZED = "load the model, then quantize it with torchao or another library"
_NO_SUCH = "leave it out: generate has greedy decoding, sampling and beam search"

FOREIGN: Mapping[str, str] = MappingProxyType(
    {
        "assistant_model": _NO_SUCH,
        "attn_implementation": "leave it out: attention is torch's scaled_dot_product_attention",
        "auth_token": _LOGIN,
        "cache_folder": "write cache_dir=",
        "code_revision": "leave it out: no code of a repository is executed",
        "config": "change fields of the configuration by keyword, as in num_labels=3; `Class(config)` is a new model",
        "device_map": 'write device=, as in device="cuda"',
        "do_sample": "write temperature=1.0 to sample; without it decoding is greedy",
        "force_download": "call `registry.pull(name, update=True)` first",
        "from_flax": "convert the weights with the library that wrote them, to safetensors",
        "generation_config": "give its values as keywords, or set them in model.generation_config",
        "ignore_mismatched_sizes": "give the sizes that fit, as in num_labels=3, or allow_missing= for parts to be "
        "newly initialized",
        "load_in_4bit": _QUANTIZED,
        "load_in_8bit": _QUANTIZED,
        "local_files_only": "write offline=True",
        "low_cpu_mem_usage": _ALWAYS,
        "max_length": "write max_new_tokens= for generate, which counts no prompt; a tokenizer takes it in its call",
        "max_memory": 'write device=, as in device="cuda"',
        "min_length": "write min_new_tokens=, which counts no prompt",
        "mirror": "write the URL of the mirror into the variable HF_ENDPOINT",
        "model_max_length": "write max_len=",
        "num_beam_groups": _NO_SUCH,
        "offload_folder": 'write device=, as in device="cuda"',
        "output_loading_info": "read model.load_report",
        "output_scores": "write return_dict=True: the result has the scores",
        "penalty_alpha": _NO_SUCH,
        "proxies": "write the proxy into the variable HTTPS_PROXY",
        "quantization_config": _QUANTIZED,
        "resume_download": "leave it out: downloads always continue",
        "return_dict_in_generate": "write return_dict=True",
        "seed": "write generator=torch.Generator().manual_seed(0)",
        "streamer": "write on_token=",
        "subfolder": "give the path of the subdirectory in a local copy",
        "synced_gpus": "leave it out",
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


def refusing_foreign(function: FunctionT) -> FunctionT:
    """The same function, which refuses keywords that it does not have as every door does: with the word to use here."""
    known = inspect.signature(function).parameters

    @wraps(function)
    def checked(*arguments: Any, **keywords: Any) -> Any:
        if not keywords.keys() <= known.keys():
            refuse_unknown(keywords, known, f"{function.__name__} does not take")
        return function(*arguments, **keywords)

    return cast("FunctionT", checked)


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
