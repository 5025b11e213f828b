"""Low-rank adapters (LoRA; Hu et al., 2021) in the files of PEFT: which matrices, and by which factor.

What PEFT adds to a layer while it runs is here added to its weight: the numbers are those of ``merge_and_unload``.
"""

import re
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from attrs import frozen

from registry.config.adapter import AdapterFile
from registry.errors import ConfigError, MissingFileError, UnsupportedError, WeightsMismatchError
from registry.files.filenames import ADAPTER_WEIGHTS_NAMES, SAFE_WEIGHTS_NAME, WEIGHTS_NAME
from registry.formatting import first_of

if TYPE_CHECKING:
    from torch import Tensor

READ = frozenset(
    ("peft_type", "base_model_name_or_path", "revision", "task_type", "auto_mapping")
    + ("r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "init_lora_weights")
)
"""Keys that are read here."""
OF_TRAINING = frozenset(
    ("inference_mode", "lora_dropout", "peft_version", "runtime_config", "megatron_core", "qalora_group_size")
    + ("loftq_config", "eva_config", "corda_config", "lora_ga_config", "ensure_weight_tying", "modules_to_tie")
    + ("target_modules", "exclude_modules", "modules_to_save", "layers_to_transform", "layers_pattern", "bias")
    + ("fan_in_fan_out",)
)
"""Keys that change no number of a trained adapter, or say what the names of its tensors and the layers say, too."""
PLAIN_BEGINNINGS = (True, False, None, "gaussian", "orthogonal", "eva")
"""Values of ``init_lora_weights`` that leave the base model as it is; PiSSA and others change its weights."""

PATTERN = re.compile(r"\^?(\w|\\?\.|\|)+")
"""Regular expressions that are read: names, and nothing that repeats."""

LORA = re.compile(r"(?P<layer>.+)\.lora_(?:(?P<linear>[AB])\.weight|embedding_(?P<table>[AB]))")
"""Names of the tensors of a pair."""

WRAPPERS = re.compile(r"\.base_layer(?=\.)|\.modules_to_save\.\w+(?=\.)")
"""What PEFT puts into the names of tensors that are in place of those of the base model."""

WEIGHTS = {
    ADAPTER_WEIGHTS_NAMES[0]: (SAFE_WEIGHTS_NAME, "registry.weights.safetensors"),
    ADAPTER_WEIGHTS_NAMES[1]: (WEIGHTS_NAME, "registry.weights.torch.reader"),
}
"""File of an adapter -> the name of such a file of a model, and the module that reads its format."""

WITH_PEFT = (
    "Load it with peft: PeftModel.from_pretrained(registry.load_model({base!r}), {directory!r}), with the task of the "
    "adapter where it has one."
)


class LowRank(NamedTuple):
    """The two matrices of an adapted layer, and the factor of their product."""

    a: "Tensor"
    """``(rank, in)``."""
    b: "Tensor"
    """``(out, rank)``."""
    factor: float


@frozen(kw_only=True)
class LoraAdapter:
    """A trained adapter: pairs of matrices for layers, and tensors in place of those of the base model."""

    file: AdapterFile
    pairs: Mapping[str, LowRank]
    """By the name of the weight in the adapted model."""
    replaced: "Mapping[str, Tensor]"
    """By the name of the parameter in the adapted model."""

    def unsupported(self, why: str) -> UnsupportedError:
        """The error for an adapter that cannot be added to weights, with what can be done."""
        return _unsupported(self.file, why)


def read_lora(file: AdapterFile) -> LoraAdapter:
    """The adapter of a file.

    Raises:
        UnsupportedError: It is of another kind, or of a variant that cannot be added to weights.
        ConfigError: Its configuration is impossible.
        MissingFileError: There are no weights.
        WeightsError: The weights are damaged, or could run code, or are not pairs.
    """
    kind, beginning = file.keys.get("peft_type"), file.keys.get("init_lora_weights")
    if kind != "LORA":
        raise _unsupported(file, f"is of the kind {kind!r:.80}, where only LORA can be added to weights")
    if beginning not in PLAIN_BEGINNINGS:
        raise _unsupported(file, f"began as {beginning!r:.80}, which changes the weights of the base model")
    unread = [key[:80] for key, value in file.keys.items() if value and key not in READ | OF_TRAINING]
    if unread:
        raise _unsupported(file, f"uses {first_of(unread)}, which cannot be added to weights")
    halves: dict[str, dict[str, Tensor]] = {}
    replaced: dict[str, Tensor] = {}
    for name, tensor in _tensors(file).items():
        found = LORA.fullmatch(name)
        if found is not None:
            halves.setdefault(found["layer"], {})[found["linear"] or found["table"]] = tensor
        elif "lora_" in name:
            raise _unsupported(file, f"has a tensor {name!r:.200}, which cannot be added to weights")
        elif ".original_module." not in name:  # the base model's own, which PEFT writes as well with bias="all"
            replaced[WRAPPERS.sub("", name)] = tensor
    pairs = {f"{layer}.weight": _pair(layer, sides, file) for layer, sides in halves.items()}
    return LoraAdapter(file=file, pairs=pairs, replaced=replaced)


def _unsupported(file: AdapterFile, why: str) -> UnsupportedError:
    base, directory = file.base.source.asked, str(file.path.parent)
    return UnsupportedError(f"The adapter in {directory} {why}.", hint=WITH_PEFT.format(base=base, directory=directory))


def _tensors(file: AdapterFile) -> "Mapping[str, Tensor]":
    """The tensors of an adapter, by the names that they have in the adapted model."""
    for name, (plain, module) in WEIGHTS.items():
        path = file.files.find(name)
        if path is not None:
            tensors: Mapping[str, Tensor] = import_module(module).load({plain: path})
            return {name.removeprefix("base_model.model."): tensors[name] for name in tensors}
    raise MissingFileError(f"{file.path.parent} holds no weights of its adapter: neither {' nor '.join(WEIGHTS)}.")


def _pair(layer: str, sides: "Mapping[str, Tensor]", file: AdapterFile) -> LowRank:
    """The matrices of a layer, checked.  Raises WeightsMismatchError."""
    a, b = sides.get("A"), sides.get("B")
    rank = _of_layer(layer, "rank_pattern", "r", file)
    if a is None or b is None or a.dim() != 2 or b.dim() != 2 or not a.shape[0] == b.shape[1] == rank:
        shapes = {side: tuple(tensor.shape) for side, tensor in sides.items()}
        raise WeightsMismatchError(
            f"{file.path.parent} holds no pair of matrices of rank {rank:g} for {layer!r}, but {shapes}."
        )
    alpha = _of_layer(layer, "alpha_pattern", "lora_alpha", file)
    return LowRank(a, b, alpha / (rank**0.5 if file.keys.get("use_rslora") else rank))


def _of_layer(layer: str, patterns: str, plain: str, file: AdapterFile) -> float:
    """A number of one layer: that of the first pattern which matches the end of its path, else that of all."""
    own = file.keys.get(patterns) or {}
    if not isinstance(own, dict):
        raise ConfigError(f"{file.path}: {patterns} must map names to numbers, not be {own!r:.80}.")
    for pattern in own:
        if not PATTERN.fullmatch(pattern):
            raise _unsupported(file, f"has a regular expression {pattern!r:.80} in {patterns}, which is not read")
        if re.match(rf"(.*\.)?({pattern})$", layer):
            return _positive(own[pattern], f"{patterns}[{pattern!r}]", file)
    return _positive(file.keys.get(plain), plain, file)


def _positive(number: object, key: str, file: AdapterFile) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float) or number <= 0:
        raise ConfigError(f"{file.path}: {key} must be a number above 0, not {number!r:.80}.")
    return number
