"""Outputs are records with the names which users of transformers know."""

import copy
import inspect
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.parallel.distributed import _find_tensors
from torch.testing import assert_close
from torch.utils import _pytree as pytree
from transformers import modeling_outputs
from transformers.models.bert.modeling_bert import BertForPreTrainingOutput
from transformers.models.gpt2.modeling_gpt2 import GPT2DoubleHeadsModelOutput
from transformers.models.xlnet.modeling_xlnet import XLNetLMHeadModelOutput, XLNetModelOutput

from plugins.bert.modeling import BertPreTrainedModel
from registry.nn import outputs
from registry.nn.outputs import ClassificationOutput, EncoderOutput, Output
from registry.zoo import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    TransfoXLConfig,
    TransfoXLLMHeadModel,
)

THEIRS = {
    outputs.EncoderOutput: modeling_outputs.BaseModelOutputWithPooling,
    outputs.DecoderOutput: modeling_outputs.BaseModelOutputWithPast,
    outputs.CausalLMOutput: modeling_outputs.CausalLMOutputWithPast,
    outputs.DoubleHeadsOutput: GPT2DoubleHeadsModelOutput,
    outputs.Seq2SeqOutput: modeling_outputs.Seq2SeqModelOutput,
    outputs.Seq2SeqLMOutput: modeling_outputs.Seq2SeqLMOutput,
    outputs.PretrainingOutput: BertForPreTrainingOutput,
    outputs.MaskedLMOutput: modeling_outputs.MaskedLMOutput,
    outputs.ClassificationOutput: modeling_outputs.SequenceClassifierOutput,
    outputs.QuestionAnsweringOutput: modeling_outputs.QuestionAnsweringModelOutput,
    outputs.MemoryOutput: XLNetModelOutput,
    outputs.MemoryLMOutput: XLNetLMHeadModelOutput,
}
RENAMED = {"cache": "past_key_values"}
"""Fields that newer versions of transformers (5.24) name otherwise than those before."""
OURS_ALONE = {"losses"}
"""Fields that they do not have: the loss of each token, as pytorch-pretrained-bert's Transformer-XL gave it."""
CLASSES = [value for value in vars(outputs).values() if hasattr(value, "field_names")]
ONE, TWO, THREE = torch.tensor(1.0), torch.tensor([2.0]), (torch.tensor([3.0]),)


def test_every_kind_of_output_is_compared_here() -> None:
    assert set(CLASSES) == set(THEIRS)


@pytest.mark.parametrize("cls", CLASSES)
def test_fields_have_the_names_and_the_order_of_transformers(cls: type[Output]) -> None:
    shared = tuple(name for name in cls.field_names if name not in OURS_ALONE)
    assert shared == tuple(RENAMED.get(name, name) for name in THEIRS[cls].__dataclass_fields__)


def test_what_is_not_there_is_none_as_an_attribute_and_absent_everywhere_else() -> None:
    output = ClassificationOutput(None, TWO, hidden_states=THREE)
    assert output.loss is output.attentions is None
    assert tuple(output) == output.to_tuple() == output[:] == tuple(output.values()) == (TWO, THREE)
    assert output[0] is output["logits"] is output.get("logits") is TWO
    assert output[-1] is output["hidden_states"] is THREE
    assert output[1:] == (THREE,)
    assert dict(output) == {**output} == dict(output.items()) == {"logits": TWO, "hidden_states": THREE}
    assert (len(output), "logits" in output, "loss" in output) == (2, True, False)
    assert output.get("loss") is None
    logits, hidden_states = output
    assert (logits, hidden_states) == (TWO, THREE)
    with pytest.raises(KeyError, match="this ClassificationOutput has logits, hidden_states"):
        output["loss"]
    with pytest.raises(IndexError):
        output[2]
    assert repr(output) == f"ClassificationOutput(logits={TWO!r}, hidden_states={THREE!r})"


def test_it_is_a_dictionary_so_that_libraries_look_inside() -> None:
    output = ClassificationOutput(ONE, TWO)
    assert isinstance(output, dict)
    again = type(output)({name: value + 1 for name, value in output.items()})  # accelerate and lightning do this
    assert dict(again) == {"loss": 2.0, "logits": 3.0}
    assert [*_find_tensors(output)] == [ONE, TWO]  # DistributedDataParallel looks for what the loss depends on
    assert dict(pickle.loads(pickle.dumps(output))) == dict(copy.deepcopy(output)) == dict(output)


def test_a_field_that_is_set_keeps_its_position() -> None:
    output = ClassificationOutput(logits=TWO)
    output.loss, output["hidden_states"] = ONE, THREE
    assert tuple(output) == (ONE, TWO, THREE)
    output.logits = None  # type: ignore[assignment]
    assert [*output.keys()] == ["loss", "hidden_states"]
    with pytest.raises(KeyError, match="has the fields loss, logits"):
        output["scores"] = TWO
    for wrong in (lambda: ClassificationOutput(score=ONE), lambda: ClassificationOutput(ONE, loss=TWO)):  # type: ignore[call-arg,misc]
        with pytest.raises(TypeError, match="has the fields loss, logits"):
            wrong()
    with pytest.raises(TypeError):
        ClassificationOutput(ONE, TWO, None, None, None)  # type: ignore[call-arg]


@pytest.mark.parametrize("cls", CLASSES)
def test_it_is_a_node_of_pytrees(cls: type[Output]) -> None:
    output = cls(**dict.fromkeys(cls.field_names[:2], ONE))
    leaves, tree = pytree.tree_flatten(output)
    assert leaves == [ONE, ONE]
    doubled = pytree.tree_map(lambda x: 2 * x, output)
    assert type(doubled) is cls
    assert dict(doubled) == dict.fromkeys(cls.field_names[:2], 2.0)
    assert pytree.treespec_loads(pytree.treespec_dumps(tree)) == tree
    paths = [pytree.keystr(path) for path, _ in pytree.tree_flatten_with_path(output)[0]]
    assert paths == [f"[{name!r}]" for name in cls.field_names[:2]]


# --- The output of a model --------------------------------------------------------------------------------------------


@pytest.fixture
def model() -> Any:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8)
    return BertForSequenceClassification(config).eval()


IDS = torch.tensor([[1, 2, 3], [4, 5, 6]])


def test_the_configuration_says_what_the_caller_does_not(model: Any) -> None:
    assert [*model(IDS).keys()] == [*("logits",)]
    model.config.output_hidden_states = model.config.output_attentions = True
    assert [*model(IDS).keys()] == [*("logits", "hidden_states", "attentions")]
    assert [*model(IDS, output_hidden_states=False, output_attentions=None).keys()] == [*("logits", "attentions")]
    assert model.bert(IDS).attentions is not None


def test_a_plain_tuple_is_given_where_it_is_asked_for(model: Any) -> None:
    labels = torch.tensor([0, 1])
    expected = model(IDS, labels=labels)
    for found in (model(IDS, labels=labels, return_dict=False), model.forward(IDS, labels=labels, return_dict=False)):
        assert type(found) is tuple
        assert_close(found, expected.to_tuple())
    model.config.return_dict = False
    assert type(model(IDS)) is type(model.bert(IDS)) is tuple
    assert [*model(IDS, return_dict=True).keys()] == [*("logits",)]


def test_a_model_without_a_cache_returns_none() -> None:
    for model in (
        GPT2LMHeadModel(GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=2, n_positions=8)),
        TransfoXLLMHeadModel(TransfoXLConfig(vocab_size=9, cutoffs=(), d_model=8, d_embed=8, n_head=2, d_head=4)),
    ):
        names = set(model(IDS).keys()) - set(model(IDS, use_cache=False).keys())
        assert names in ({"past_key_values"}, {"mems"})
        model.config.use_cache = False
        assert not names & set(model(IDS).keys())
        assert names <= set(model(IDS, use_cache=True).keys())
        assert model.eval().generate(IDS, max_new_tokens=2).shape == (2, 5)  # which needs none of the output


def test_the_arguments_of_forward_can_be_looked_up(model: Any) -> None:
    """Trainers hand over the columns that forward names, and take further keywords for a sign of their own losses."""
    parameters = inspect.signature(model.forward).parameters
    assert {"input_ids", "attention_mask", "inputs_embeds", "labels"} <= set(parameters)
    assert not [name for name, parameter in parameters.items() if parameter.kind is parameter.VAR_KEYWORD]


def test_the_configuration_is_asked_whatever_the_order_of_base_classes() -> None:
    class Doubled(nn.Module):
        config: Any

        def forward(self, x: torch.Tensor, *, output_attentions: bool | None = None) -> EncoderOutput:
            return EncoderOutput(2 * x, attentions=(x,) if output_attentions else None)

    class Mine(BertPreTrainedModel, Doubled):
        """Its forward is that of the second class."""

    class Again(Mine):
        def forward(self, x: torch.Tensor, **options: Any) -> EncoderOutput:
            return super().forward(3 * x, **options)

    config = BertConfig(output_attentions=True)
    for cls, factor in ((Mine, 2), (Again, 6)):
        found = cls(config)(ONE)
        assert_close(dict(found), {"last_hidden_state": factor * ONE, "attentions": (factor / 2 * ONE,)})


def test_what_is_exported_and_compiled_has_the_kind_of_output_that_it_had(model: Any, tmp_path: Path) -> None:
    exported = torch.export.export(model, (IDS,))
    torch.export.save(exported, tmp_path / "model.pt2")
    for again in (
        torch.export.load(tmp_path / "model.pt2").module(),
        torch.compile(model, fullgraph=True, backend="eager"),
    ):
        found = again(IDS)
        assert type(found) is ClassificationOutput
        assert_close(dict(found), dict(model(IDS)))
