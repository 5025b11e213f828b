"""What a sentence-transformers directory says of vectors: pooling, further layers, the longest text, prompts.

``modules.json`` lists the modules in their order; each has a directory with its own ``config.json``.  The names of
their classes are compared, and never imported.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import field, frozen

from registry.errors import ConfigError, MissingFileError, UnsupportedError, WeightsMismatchError
from registry.files.atomic import Writer, content_writer
from registry.files.filenames import (
    CONFIG_NAME,
    SAFE_WEIGHTS_NAME,
    SENTENCE_CONFIG_NAME,
    SENTENCE_MODULES_NAME,
    SENTENCE_TOKENS_NAME,
    WEIGHTS_NAME,
)
from registry.files.strict_json import read_json_array, read_json_object

if TYPE_CHECKING:
    from torch import Tensor

Find: TypeAlias = Callable[[str], Path | None]
"""Finds a file of the model by its name, which may be in a subdirectory; None where there is none."""

POOLING_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""Key of an older pooling configuration -> the mode that it switches on; vectors of several modes are joined."""
MODES = frozenset(POOLING_KEYS.values())
ACTIVATIONS = frozenset(("Tanh", "Identity", "ReLU", "GELU", "Sigmoid", "SiLU"))
"""Activations of a dense layer, by the names of torch's modules."""
SUBDIRECTORY = re.compile(r"[\w-][\w.-]*")
"""Directories of modules: names from a file, which lead nowhere else."""


@frozen
class Dense:
    """A linear layer with an activation, after pooling."""

    path: str
    """Its directory."""
    activation: str
    """The name of a module of torch."""
    tensors: "Mapping[str, Tensor]" = field(eq=False, repr=False)
    """``linear.weight``, ``(out, in)``, and ``linear.bias``, ``(out,)``, unless it has none."""


@frozen(kw_only=True)
class SentenceModules:
    """How the hidden states of a text become its vector."""

    pooling: tuple[str, ...] = ("mean",)
    """Modes of pooling, whose vectors are joined."""
    pools_prompt: bool = True
    """Whether the tokens of a prompt count."""
    layers: tuple[Dense, ...] = ()
    """Layers after pooling."""
    normalizes: bool = False
    """Whether vectors are scaled to length 1 in the end."""
    max_tokens: int | None = None
    """Tokens of the longest text, special ones included; None for those of the tokenizer."""
    lowercases: bool = False
    """Whether texts are lower-cased before they are tokenized."""
    prompts: Mapping[str, str] = field(factory=dict, hash=False)
    """Texts that are put before those which are embedded, by their names."""
    default_prompt: str | None = None
    """The name of the prompt where none is asked for."""
    files: Mapping[str, bytes] = field(factory=dict, eq=False, repr=False)
    """The JSON files that say all this, by their names: saving writes them back."""

    def writers(self) -> dict[str, Writer]:
        """What writes the files into a saved directory, by their names."""
        from registry.weights.write import weight_writers  # loading needs none of it

        found = {name: content_writer(content) for name, content in self.files.items()}
        for dense in self.layers:
            (weights,) = weight_writers(dense.tensors, ()).values()
            found[f"{dense.path}/{SAFE_WEIGHTS_NAME}"] = weights
        return found


def read_modules(find: Find) -> SentenceModules | None:
    """What the files of a model say; None for a model without ``modules.json``.

    Raises:
        UnsupportedError: A module, or what is asked of one, is not supported.
        ConfigError: A file is damaged.
        MissingFileError: The file of a module is missing.
    """
    files: dict[str, bytes] = {}

    def find_and_keep(name: str) -> Path | None:
        path = find(name)
        if path is not None and name.endswith(".json"):
            files[name] = path.read_bytes()
        return path

    listing = find_and_keep(SENTENCE_MODULES_NAME)
    return None if listing is None else _read(listing, find_and_keep, files)


def _read(listing: Path, find: Find, files: Mapping[str, bytes]) -> SentenceModules:
    modules = read_json_array(listing)
    if not all(_is_module(module) for module in modules):
        raise ConfigError(f"{listing} must list modules, each with a type and a path.")
    found: dict[str, Any] = {"layers": (), **_of_texts(find)}
    for number, module in enumerate(modules):
        kind, path = module["type"].rpartition(".")[2], module["path"]
        if number == 0 and kind == "Transformer" and path in ("", "."):
            continue
        if kind not in _READERS or number == 0 or found.get("normalizes") or not SUBDIRECTORY.fullmatch(path):
            raise UnsupportedError(
                f"{listing} lists the module {kind} in {path or '.'!r} as number {number}, which is not supported.",
                hint="Supported are: Transformer, then Pooling, Dense and, in the end, Normalize.",
            )
        _READERS[kind](found, find, path)
    return SentenceModules(**found, files=files)


def _is_module(module: Any) -> bool:
    return isinstance(module, dict) and all(isinstance(module.get(key), str) for key in ("type", "path"))


def _of_texts(find: Find) -> dict[str, Any]:
    """What the files next to ``modules.json`` say of texts."""
    found: dict[str, Any] = {}
    if (path := find(SENTENCE_TOKENS_NAME)) is not None:
        keys = read_json_object(path)
        found = {"max_tokens": keys.get("max_seq_length"), "lowercases": bool(keys.get("do_lower_case", False))}
        if found["max_tokens"] is not None and not (type(found["max_tokens"]) is int and found["max_tokens"] > 0):
            raise ConfigError(
                f"{path} holds max_seq_length={found['max_tokens']!r:.80}, which is not a number of tokens."
            )
    if (path := find(SENTENCE_CONFIG_NAME)) is not None:
        keys = read_json_object(path)
        prompts, name = keys.get("prompts") or {}, keys.get("default_prompt_name")
        if not (isinstance(prompts, dict) and all(isinstance(text, str) for text in prompts.values())):
            raise ConfigError(f"{path} must map the names of prompts to their texts.")
        if name is not None and not isinstance(name, str):
            raise ConfigError(f"{path} holds default_prompt_name={name!r:.80}, which is not a name.")
        found |= {"prompts": dict(prompts), "default_prompt": name}
    return found


def _pooling(found: dict[str, Any], find: Find, path: str) -> None:
    keys = _config(find, path)
    older = tuple(mode for key, mode in POOLING_KEYS.items() if keys.get(key))
    modes = keys.get("pooling_mode", older or "mean")
    listed = modes if isinstance(modes, (list, tuple)) else [modes]
    unknown = [mode for mode in listed if not isinstance(mode, str) or mode not in MODES]
    if unknown or not listed:
        asked = f"the pooling {unknown[0]!r:.80}" if unknown else "no pooling"
        raise UnsupportedError(f"{path}/{CONFIG_NAME} asks for {asked}, which is not supported.")
    found["pooling"] = tuple(listed)
    found["pools_prompt"] = bool(keys.get("include_prompt", True))


def _dense(found: dict[str, Any], find: Find, path: str) -> None:
    keys = _config(find, path)
    activation = str(keys.get("activation_function", "torch.nn.modules.activation.Tanh")).rpartition(".")[2]
    names = [keys.get(key, "sentence_embedding") for key in ("module_input_name", "module_output_name")]
    if activation not in ACTIVATIONS or names != ["sentence_embedding"] * 2 or keys.get("use_residual"):
        raise UnsupportedError(
            f"{path}/{CONFIG_NAME} asks for a dense layer that is not supported.",
            hint=f"Supported are layers of vectors without a residual, with an activation of {sorted(ACTIVATIONS)}.",
        )
    weights = find(f"{path}/{SAFE_WEIGHTS_NAME}") or find(f"{path}/{WEIGHTS_NAME}")
    if weights is None:
        raise MissingFileError(
            f"{path} has neither {SAFE_WEIGHTS_NAME} nor {WEIGHTS_NAME}, which {SENTENCE_MODULES_NAME} needs."
        )
    from registry.weights import safetensors  # few directories have such a layer
    from registry.weights.torch import reader

    read = safetensors.read if weights.suffix == ".safetensors" else reader.read
    found["layers"] += (Dense(path, activation, _checked(dict(read(weights)), weights)),)


def _checked(tensors: "Mapping[str, Tensor]", path: Path) -> "Mapping[str, Tensor]":
    """The tensors of a dense layer.  Raises WeightsMismatchError."""
    weight, bias = tensors.get("linear.weight"), tensors.get("linear.bias")
    if (
        weight is None
        or weight.ndim != 2
        or (bias is not None and bias.shape != weight.shape[:1])
        or not all(tensor is None or tensor.is_floating_point() for tensor in (weight, bias))
    ):
        raise WeightsMismatchError(
            f"{path} holds no dense layer: the matrix linear.weight, and linear.bias with a number for each of its "
            f"rows."
        )
    return tensors


def _normalize(found: dict[str, Any], find: Find, path: str) -> None:
    find(f"{path}/{CONFIG_NAME}")  # newer versions write one, which says nothing and is kept
    found["normalizes"] = True


def _config(find: Find, path: str) -> Mapping[str, Any]:
    file = find(f"{path}/{CONFIG_NAME}")
    if file is None:
        raise MissingFileError(f"{path}/{CONFIG_NAME} is missing, which {SENTENCE_MODULES_NAME} needs.")
    return read_json_object(file)


_READERS = {"Pooling": _pooling, "Dense": _dense, "Normalize": _normalize}
