"""Outputs are tuples with the names which users of transformers know."""

import typing

import pytest
from transformers import modeling_outputs
from transformers.models.bert.modeling_bert import BertForPreTrainingOutput
from transformers.models.gpt2.modeling_gpt2 import GPT2DoubleHeadsModelOutput
from transformers.models.xlnet.modeling_xlnet import XLNetLMHeadModelOutput, XLNetModelOutput

from registry.nn import outputs

THEIRS = {
    outputs.EncoderOutput: modeling_outputs.BaseModelOutputWithPooling,
    outputs.DecoderOutput: modeling_outputs.BaseModelOutputWithPast,
    outputs.CausalLMOutput: modeling_outputs.CausalLMOutputWithPast,
    outputs.DoubleHeadsOutput: GPT2DoubleHeadsModelOutput,
    outputs.PretrainingOutput: BertForPreTrainingOutput,
    outputs.MaskedLMOutput: modeling_outputs.MaskedLMOutput,
    outputs.ClassificationOutput: modeling_outputs.SequenceClassifierOutput,
    outputs.QuestionAnsweringOutput: modeling_outputs.QuestionAnsweringModelOutput,
    outputs.MemoryOutput: XLNetModelOutput,
    outputs.MemoryLMOutput: XLNetLMHeadModelOutput,
}
OURS_ALONE = {"losses"}
"""Fields that they do not have: the loss of each token, as pytorch-pretrained-bert's Transformer-XL gave it."""
CLASSES = [value for value in vars(outputs).values() if hasattr(value, "_fields")]


def test_every_kind_of_output_is_compared_here() -> None:
    assert set(CLASSES) == set(THEIRS)


@pytest.mark.parametrize("cls", CLASSES)
def test_fields_have_the_names_and_the_order_of_transformers(cls: type) -> None:
    shared = tuple(name for name in cls._fields if name not in OURS_ALONE)  # type: ignore[attr-defined]
    assert shared == tuple(THEIRS[cls].__dataclass_fields__)


@pytest.mark.parametrize("cls", CLASSES)
def test_what_is_not_asked_for_is_none(cls: type) -> None:
    needed = [name for name in typing.get_type_hints(cls) if name not in cls._field_defaults]  # type: ignore[attr-defined]
    output = cls(*needed)
    assert output[: len(needed)] == tuple(needed)
    assert set(output[len(needed) :]) == {None}
    assert output.hidden_states is output.attentions is None
