"""Keywords and names of other libraries, each with the word to use here: one table for all doors, and for generate."""

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
_TENSOR = "leave it out: vectors are a tensor, and .numpy() of it is an array"
_NO_NEED = "leave it out"

FOREIGN: Mapping[str, str] = MappingProxyType(
    {
        "assistant_model": _NO_SUCH,
        "cache_position": "leave it out: it follows from past_key_values",
        "constraints": _NO_SUCH,
        "convert_to_numpy": _TENSOR,
        "convert_to_tensor": _TENSOR,
        "diversity_penalty": _NO_SUCH,
        "encoder_hidden_states": "leave it out: no model here attends to an encoder",
        "filename_prefix": "leave it out, or give save_vocabulary the path of a file",
        "force_words_ids": _NO_SUCH,
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
        "head_mask": "leave it out: heads are removed with torch.nn.utils.prune, or not at all",
        "ignore_mismatched_sizes": "give the sizes that fit, as in num_labels=3, or allow_missing= for parts to be "
        "newly initialized",
        "load_in_4bit": _QUANTIZED,
        "load_in_8bit": _QUANTIZED,
        "legacy_format": _NO_NEED,
        "lm_labels": "write labels=",
        "local_files_only": "write offline=True",
        "low_cpu_mem_usage": _ALWAYS,
        "max_length": "write max_new_tokens= for generate, which counts no prompt; a tokenizer takes it in its call",
        "masked_lm_labels": "write labels=",
        "max_memory": 'write device=, as in device="cuda"',
        "mirror": "write the URL of the mirror into the variable HF_ENDPOINT",
        "model_max_length": "write max_len=",
        "normalize_embeddings": "write normalize=True",
        "num_beam_groups": _NO_SUCH,
        "offload_folder": 'write device=, as in device="cuda"',
        "output_all_encoded_layers": "write output_hidden_states=True, which gives the embeddings as well",
        "output_loading_info": "read model.load_report",
        "output_logits": "write return_dict=True: the result has the scores",
        "output_scores": "write return_dict=True: the result has the scores",
        "pad_to_max_length": 'write padding="max_length"',
        "past": "write past_key_values=",
        "penalty_alpha": _NO_SUCH,
        "prompt_name": "write prompt=, which takes the name of a prompt or the prompt itself",
        "proxies": "write the proxy into the variable HTTPS_PROXY",
        "push_to_hub": "save the directory, then run `hf upload`",
        "quantization_config": _QUANTIZED,
        "resume_download": "leave it out: downloads always continue",
        "return_dict_in_generate": "write return_dict=True",
        "safe_serialization": 'leave it out for safetensors; write format="torch" for a pytorch_model.bin',
        "save_directory": "give the directory as the first argument",
        "seed": "write generator=torch.Generator().manual_seed(0)",
        "sentences": "give the texts as the first argument",
        "show_progress_bar": "leave it out; `registry embed` shows one",
        "streamer": "write on_token=",
        "subfolder": "give the path of the subdirectory in a local copy",
        "synced_gpus": _NO_NEED,
        "text_target": 'write tokenizer(texts)["input_ids"]',
        "token": _LOGIN,
        "torch_dtype": 'write dtype=, as in dtype="float16"',
        "tp_plan": "leave it out: models are loaded on one device",
        "truncation_strategy": 'write truncation=, as in truncation="only_first"',
        "trust_remote_code": "leave it out: no code of a repository is executed; architectures are plugins, which "
        "pip installs",
        "use_auth_token": _LOGIN,
        "use_fast": "leave it out: each architecture has one tokenizer",
        "use_safetensors": "leave it out: safetensors files are preferred, and pickled code is never executed",
        "verbose": _NO_NEED,
        "variant": "leave it out, or give the path of the file",
    }
)
"""Keyword of another library -> what to do here."""

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "AutoConfig": "registry.load_config(name)",
        "AutoModel": 'registry.load_model(name, "base")',
        "AutoModelFor*": "registry.load_model(name, task)",
        "AutoTokenizer": "registry.load_tokenizer(name)",
        "*Adam": "torch.optim.AdamW, with clip_grad_norm_ and a schedule of torch.optim.lr_scheduler",
        "*Corpus": "from plugins.<architecture>.corpus import ...",
        "*TokenizerFast": "the name without Fast",
        "BasicTokenizer": "from plugins.<architecture>.tokenization import BasicTokenizer",
        "FullTokenizer": "the tokenizer of the architecture",
        "SentenceTransformer": "registry.load(name).embed(texts)",
        "WordpieceTokenizer": "from plugins.<architecture>.tokenization import WordpieceTokenizer",
        "load_tf_weights_in_*": "Class.from_pretrained(path, from_tf=True)",
        "pipeline": "registry.load(name), and its methods generate and embed",
    }
)
"""Class or function of another library, or a pattern of several, -> the code to write here."""


_ADAPTED = "peft.get_peft_model(model, config); registry.load reads the directory of an adapter"

ATTRIBUTES: Mapping[str, str] = MappingProxyType(
    {
        "*_adapter": _ADAPTED,
        "*_adapters": _ADAPTED,
        "add_special": 'special=["<eos>"], before the vocabulary is built',
        "add_symbol": "a mapping of tokens to ids as the first argument of the class",
        "added_tokens_decoder": "added_tokens, by their texts",
        "added_tokens_encoder": "get_added_vocab()",
        "as_target_tokenizer": "a call with the target texts",
        "backend_tokenizer": "the tokenizer itself, which needs no other",
        "batch_encode_plus": "tokenizer(texts)",
        "bpe": "tokenizer.tokenize(text)",
        "compute_transition_scores": "generate(input_ids, return_dict=True).log_probs",
        "convert_to_tensors": 'tokenizer(texts, padding=True, return_tensors="pt")',
        "data": "dict(batch)",
        "encode": "loaded.embed(texts) for vectors, loaded.tokenizer.encode(text) for ids",
        "encode_batch": "tokenizer(texts)",
        "encode_plus": "tokenizer(text)",
        "encodings": "batch.tokens(row), batch.word_ids(row) and the other methods of a batch",
        "generate_batch": "generate(input_ids, attention_mask=mask), with prompts that are padded",
        "get_*coder": "model.base_model",
        "get_extended_attention_mask": "the mask of the tokens as it is, with 0 at padding",
        "get_memory_footprint": "sum(parameter.nbytes for parameter in model.parameters())",
        "get_head_mask": "torch.nn.utils.prune, on the weights of the heads",
        "init_*_weights": "init_weights()",
        "init_bias": "init_weights()",
        "init_mems": "a first call without mems=",
        "init_weight": "init_weights()",
        "max_len_sentences_pair": "max_len - num_special_tokens_to_add(pair=True)",
        "max_len_single_sentence": "max_len - num_special_tokens_to_add()",
        "post_init": "init_weights()",
        "prepare_for_model": "tokenizer(text, text_pair)",
        "prepare_seq2seq_batch": "tokenizer(texts)",
        "prune_heads": "torch.nn.utils.prune, on the weights of the heads",
        "push_to_hub": "registry.save(loaded, directory), then `hf upload`",
        "sample_softmax": "generate(input_ids, temperature=1.0)",
        "save_config": "config.to_json_file(path)",
        "save_pretrained": "config.to_json_file(path)",
        "set_attn_implementation": "torch.nn.attention.sdpa_kernel(backend) around the call",
        "set_num_special_tokens": "resize_token_embeddings(number)",
        "to_bettertransformer": "the model itself, whose attention is torch's scaled_dot_product_attention",
        "to_diff_dict": "to_dict(); pipelines of transformers are made by registry.integrations.pipelines",
        "train_new_from_iterator": "the library tokenizers, and then registry.load_tokenizer(directory)",
        "update": "config.replace(field=value), or set the field",
        "use_return_dict": "return_dict",
    }
)
"""Attribute or method of another library's objects, or a pattern of several, -> what to write here."""


def instead_of(name: str) -> str:
    """A sentence with the code to write instead of a name of another library; empty for all other names."""
    return _advice(name, NAMES)


def instead_of_attribute(name: str) -> str:
    """The same for an attribute of a model, a tokenizer, a batch, a configuration, or what ``load`` returns."""
    return _advice(name, ATTRIBUTES)


def _advice(name: str, table: Mapping[str, str]) -> str:
    code = table.get(name) or next((table[key] for key in table if _fits(name, key)), None)
    return "" if code is None else f" It is a name of another library; here, write {code}."


def _fits(name: str, pattern: str) -> bool:
    """Whether a name fits a pattern with at most one ``*``."""
    start, star, end = pattern.partition("*")
    return bool(star) and name.startswith(start) and name.endswith(end)


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
