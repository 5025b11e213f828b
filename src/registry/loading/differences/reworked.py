"""Names that libraries leave in a state dict whose layers they changed: adapters, quantization, pruning.

Such weights belong together: to drop what is unexpected among them, or to initialize what is missing, would give
another model.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from registry.formatting import first_of

_ORIGINAL = "Take the model from which it was made, or have the library that wrote it restore"


class Rework(NamedTuple):
    """A way in which a library changes the layers of a model."""

    names: str
    """A pattern of the names that it leaves; the first match counts."""
    what: str
    """What they are, after "are names of"."""
    remedy: str


REWORKS = (
    Rework(
        r"(.*\.)?(lora_|base_layer\.|modules_to_save\.|ia3_|hada_|vera_|oft_|boft_).*|base_model\.model\..*",
        "an adapter of PEFT around its base model",
        "Merge it where it was trained, and save that: peft_model.merge_and_unload().save_pretrained(DIRECTORY).",
    ),
    Rework(
        r".*\.(SCB|weight_format|(nested_)?absmax|(nested_)?quant_map|quant_state\..+)",
        "weights quantized by bitsandbytes",
        f"{_ORIGINAL} it: model.dequantize().save_pretrained(DIRECTORY), with transformers.",
    ),
    Rework(
        r".*\.(qweight|qzeros|g_idx|weight_packed|weight_scale|input_scale)",
        "weights quantized by GPTQ, AWQ or compressed-tensors",
        f"{_ORIGINAL} floating-point weights.",
    ),
    Rework(
        r".*\._packed_params.*|.*\.zero_point",
        "layers quantized by torch",
        "Save the model before it is quantized, and quantize it again after loading.",
    ),
    Rework(
        r".*\.(weight|bias)_(orig|mask)",
        "weights with a mask of torch.nn.utils.prune",
        'Make it permanent before saving: torch.nn.utils.prune.remove(module, "weight"), for each module.',
    ),
    Rework(
        r"(.*\.)?parametrizations\..*|.*\.weight_[guv]",
        "parametrized weights (weight or spectral normalization)",
        'Make them plain before saving: torch.nn.utils.parametrize.remove_parametrizations(module, "weight").',
    ),
    Rework(
        r"(.*\.)?_?flat_param(_\d+)?",
        "flat parameters of FSDP",
        "Gather them before saving: FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT).",
    ),
)
"""The ways that are recognized, the surest first."""


def rework_of(names: Iterable[str]) -> str | None:
    """The advice for names that a model lacks, where they are those of a library; None where they are not."""
    unexpected = list(names)
    for rework in REWORKS:
        found = [name for name in unexpected if re.fullmatch(rework.names, name)]
        if found:
            named = f"{first_of(found, 2)} are names of {rework.what}"
            return f"{named}: to drop them would leave another model. {rework.remedy}"
    return None
