"""PEFT adapts models of all architectures, and its directories load here, as they do in transformers."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.testing import assert_close

import registry
from registry.errors import SaveError, UnsupportedError
from registry.nn.linear import Conv1D
from registry.zoo import (
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    GPT2Model,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    TransfoXLConfig,
    TransfoXLForSequenceClassification,
    TransfoXLLMHeadModel,
)

peft = pytest.importorskip("peft", reason="the extra `integrations` is not installed")
pytestmark = [
    pytest.mark.integrations,
    # PEFT's own: of Conv1D, for which it sets what it then warns of, of the base model's configuration on the hub, and
    # of a modification that it makes for itself
    pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to", "ignore:Could not find a config file"),
]

NO_DROPOUT = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
GPT: dict[str, Any] = {"vocab_size": 61, "n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 2, **NO_DROPOUT}
BERT = BertConfig(
    vocab_size=61,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    max_position_embeddings=16,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    initializer_range=0.3,
    num_labels=3,
)
GPT1 = OpenAIGPTConfig(**GPT, initializer_range=0.3)
GPT2 = GPT2Config(**GPT, initializer_range=0.3, num_labels=3, pad_token_id=0)
XL = TransfoXLConfig(
    vocab_size=61, cutoffs=[20, 40], d_model=16, d_embed=16, n_head=2, d_head=8, d_inner=24, n_layer=2, div_val=2,
    mem_len=8, tgt_len=8, dropout=0.0, dropatt=0.0, init_std=0.3, num_labels=3,
)  # fmt: skip

IDS = torch.randint(1, 61, (4, 8), generator=torch.Generator().manual_seed(1))
MASK = (torch.arange(8) < torch.tensor([8, 5, 7, 5])[:, None]).long()
SPANS = {"start_positions": torch.tensor([1, 0, 3, 2]), "end_positions": torch.tensor([2, 1, 3, 4])}
CLASSES = {"labels": torch.tensor([0, 2, 1, 0])}

CASES: dict[str, tuple[type, Any, str | None, list[str], dict[str, Tensor]]] = {
    "BERT, SEQ_CLS": (BertForSequenceClassification, BERT, "SEQ_CLS", ["query", "value"], CLASSES),
    "BERT, TOKEN_CLS": (BertForTokenClassification, BERT, "TOKEN_CLS", ["query", "dense"], {"labels": IDS % 3}),
    "BERT, QUESTION_ANS": (BertForQuestionAnswering, BERT, "QUESTION_ANS", ["query", "key"], SPANS),
    "BERT, FEATURE_EXTRACTION": (BertModel, BERT, "FEATURE_EXTRACTION", ["query", "value"], {}),
    "BERT": (BertForMaskedLM, BERT, None, ["query", "position_embeddings", "intermediate.dense"], {"labels": IDS}),
    "GPT, CAUSAL_LM": (OpenAIGPTLMHeadModel, GPT1, "CAUSAL_LM", ["c_attn", "c_proj", "c_fc"], {"labels": IDS}),
    "GPT-2, CAUSAL_LM": (GPT2LMHeadModel, GPT2, "CAUSAL_LM", ["c_attn", "c_proj", "c_fc"], {"labels": IDS}),
    "GPT-2": (GPT2LMHeadModel, GPT2, None, ["c_attn"], {"labels": IDS}),
    "GPT-2, SEQ_CLS": (GPT2ForSequenceClassification, GPT2, "SEQ_CLS", ["c_attn", "mlp.c_proj"], CLASSES),
    "GPT-2, FEATURE_EXTRACTION": (GPT2Model, GPT2, "FEATURE_EXTRACTION", ["c_attn"], {}),
    "Transformer-XL, CAUSAL_LM": (
        TransfoXLLMHeadModel,
        XL,
        "CAUSAL_LM",
        ["qkv_net", "r_net", "o_net"],
        {"labels": IDS},
    ),
    "Transformer-XL": (TransfoXLLMHeadModel, XL, None, ["qkv_net", "CoreNet.0", "CoreNet.3"], {"labels": IDS}),
    "Transformer-XL, SEQ_CLS": (TransfoXLForSequenceClassification, XL, "SEQ_CLS", ["qkv_net"], CLASSES),
}
"""Class, configuration, PEFT's task, the adapted layers, and labels."""

each_case = pytest.mark.parametrize("case", CASES)


def saved_base(case: str, directory: Path) -> Any:
    """A model with random weights, saved and loaded: PEFT notes where it was loaded from."""
    cls, config, *_ = CASES[case]
    torch.manual_seed(0)
    registry.save(cls(config), directory)
    return cls.from_pretrained(directory)


def adapted(base: nn.Module, task: str | None, layers: list[str], **options: Any) -> Any:
    settings = {"r": 2, "lora_alpha": 6, "init_lora_weights": False, **options}
    torch.manual_seed(1)
    return peft.get_peft_model(base, peft.LoraConfig(task_type=task, target_modules=layers, **settings))


def numbers(model: nn.Module, **further: Any) -> Tensor:
    """What a model computes of the batch, as one tensor."""
    model.eval()
    with torch.no_grad():
        output = model(input_ids=IDS, attention_mask=MASK, **further)
    return torch.cat(
        [value.flatten() for name, value in output.items() if isinstance(value, Tensor) and name != "loss"]
    )


def train(model: Any, labels: dict[str, Tensor]) -> None:
    """A step with a gradient for every parameter that wants one."""
    model.train()
    output = model(input_ids=IDS, attention_mask=MASK, **labels)
    loss = output.loss if labels else output.last_hidden_state.square().mean()
    loss.backward()
    wanted = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert [name for name, parameter in wanted.items() if parameter.grad is None or not parameter.grad.any()] == []
    torch.optim.SGD(wanted.values(), lr=0.1).step()


@each_case
def test_lora_trains_saves_reloads_and_merges_to_equal_numbers(case: str, tmp_path: Path) -> None:
    cls, _, task, layers, labels = CASES[case]
    base = saved_base(case, tmp_path / "base")
    untouched = copy.deepcopy(base)
    model = adapted(base, task, layers)
    before = numbers(model)
    train(model, labels)
    after = numbers(model)
    assert not torch.allclose(before, after)

    model.save_pretrained(tmp_path / "adapter")
    again = peft.PeftModel.from_pretrained(untouched, tmp_path / "adapter")
    assert_close(numbers(again), after, atol=0, rtol=0)
    loaded = registry.load_model(tmp_path / "adapter")  # by the name of the base model in the adapter's file
    assert type(loaded) is cls
    assert_close(numbers(loaded), after, atol=2e-5, rtol=1e-4)

    merged = model.merge_and_unload()
    assert type(merged) is cls
    assert_close(numbers(merged), after, atol=2e-5, rtol=1e-4)
    assert_close(merged.state_dict(), loaded.state_dict(), atol=0, rtol=0)
    assert_close(numbers(cls.from_pretrained(registry.save(merged, tmp_path / "merged"))), numbers(merged))


def test_the_memory_of_transformer_xl_is_projected_through_an_adapter(tmp_path: Path) -> None:
    base = saved_base("Transformer-XL", tmp_path / "base")
    plain = numbers(base, mems=base(IDS).mems)
    model = adapted(base, "CAUSAL_LM", ["qkv_net"])
    mems = model(input_ids=IDS).mems
    with_adapter = numbers(model, mems=mems)
    merged = model.merge_and_unload()
    assert_close(numbers(merged, mems=merged(IDS).mems), with_adapter, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(plain, with_adapter)


@pytest.mark.parametrize("case", ["GPT-2, CAUSAL_LM", "GPT, CAUSAL_LM", "Transformer-XL, CAUSAL_LM"])
def test_an_adapted_model_generates_what_the_merged_one_does(case: str, tmp_path: Path) -> None:
    _, _, task, layers, _ = CASES[case]
    model = adapted(saved_base(case, tmp_path / "base"), task, layers).eval()
    found = model.generate(input_ids=IDS, max_new_tokens=6)
    expected = model.merge_and_unload().generate(IDS, max_new_tokens=6)
    assert found.tolist() == expected.tolist()


# --- Between the libraries --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "theirs"),
    [("BERT, SEQ_CLS", "BertForSequenceClassification"), ("GPT-2, CAUSAL_LM", "GPT2LMHeadModel")],
)
def test_an_adapter_goes_to_the_model_of_transformers_and_back(case: str, theirs: str, tmp_path: Path) -> None:
    cls, _, task, layers, labels = CASES[case]
    base = saved_base(case, tmp_path / "base")
    their_base = getattr(transformers, theirs).from_pretrained(tmp_path / "base")
    ours = adapted(base, task, layers)
    train(ours, labels)
    ours.save_pretrained(tmp_path / "ours")
    there = peft.PeftModel.from_pretrained(their_base, tmp_path / "ours").eval()
    with torch.no_grad():
        difference = (
            there(input_ids=IDS, attention_mask=MASK).logits - ours.eval()(input_ids=IDS, attention_mask=MASK).logits
        )
    assert difference[MASK.bool() if difference.dim() == 3 else slice(None)].abs().max() < 1e-5

    theirs_adapted = adapted(getattr(transformers, theirs).from_pretrained(tmp_path / "base"), task, layers, r=3)
    theirs_adapted.save_pretrained(tmp_path / "theirs")
    back = registry.load_model(tmp_path / "theirs")
    assert type(back) is cls
    with torch.no_grad():
        difference = (
            theirs_adapted.eval()(input_ids=IDS, attention_mask=MASK).logits - back(IDS, attention_mask=MASK).logits
        )
    assert difference[MASK.bool() if difference.dim() == 3 else slice(None)].abs().max() < 1e-5


def test_patterns_scaling_and_biases_of_adapters_load_as_peft_merges_them(tmp_path: Path) -> None:
    base = saved_base("BERT", tmp_path / "base")
    options = {
        "r": 4,
        "rank_pattern": {"layer.0.attention.self.query": 2},
        "alpha_pattern": {"attention.self.value": 9, "^bert.encoder.layer.1.output.dense": 3},
        "use_rslora": True,
        "bias": "all",
        "lora_dropout": 0.1,
        "modules_to_save": ["cls.predictions.transform"],
    }
    model = adapted(base, None, ["query", "value", "output.dense"], **options)
    train(model, {"labels": IDS})
    model.save_pretrained(tmp_path / "adapter")
    loaded = registry.load_model(tmp_path / "adapter")
    assert_close(numbers(loaded), numbers(model), atol=2e-5, rtol=1e-4)
    assert_close(loaded.state_dict(), model.merge_and_unload().state_dict(), atol=0, rtol=0)
    assert "adapter" in loaded.load_report.source
    assert str(tmp_path / "base") in loaded.load_report.source


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "DoRA": ({"use_dora": True}, "use_dora"),
    "biases of LoRA": ({"lora_bias": True}, "lora_bias"),
    "PiSSA": ({"init_lora_weights": "pissa"}, "began as 'pissa'"),
    "a tied matrix": ({"target_modules": ["word_embeddings"]}, "word_embeddings.weight' alone, which is tied"),
}


@pytest.mark.filterwarnings(
    "ignore:.*tied:UserWarning", "ignore:Setting `save_embedding_layers`", "ignore:Adapter .default."
)
@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_added_to_the_weights_is_refused_with_the_line_that_loads_it(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    model = adapted(saved_base("BERT", tmp_path / "base"), None, **{"layers": ["query"], **renamed(options)})
    expected = numbers(model)
    model.save_pretrained(tmp_path / "adapter")
    with pytest.raises(UnsupportedError, match=message) as caught:
        registry.load_model(tmp_path / "adapter")
    line = caught.value.hint.partition(": ")[2].partition(", with the task")[0]
    again = eval(line, {"PeftModel": peft.PeftModel, "registry": registry})
    assert_close(numbers(again), expected, atol=1e-6, rtol=1e-5)


def renamed(options: dict[str, Any]) -> dict[str, Any]:
    return {{"target_modules": "layers"}.get(name, name): value for name, value in options.items()}


def test_another_kind_of_adapter_is_refused_and_runs_in_peft(tmp_path: Path) -> None:
    base = saved_base("BERT", tmp_path / "base")
    model = peft.get_peft_model(base, peft.IA3Config(target_modules=["query"], feedforward_modules=[]))
    train(model, {"labels": IDS})
    model.save_pretrained(tmp_path / "adapter")
    with pytest.raises(UnsupportedError, match="of the kind 'IA3'"):
        registry.load(tmp_path / "adapter")


def test_an_adapted_model_is_saved_once_it_is_merged(tmp_path: Path) -> None:
    model = adapted(saved_base("BERT", tmp_path / "base"), None, ["query"])
    with pytest.raises(SaveError, match="adapter") as caught:
        registry.save(model, tmp_path / "saved")
    assert "merge_and_unload" in str(caught.value)


def test_all_linear_layers_are_found(tmp_path: Path) -> None:
    model = adapted(saved_base("GPT-2", tmp_path / "base"), "CAUSAL_LM", "all-linear")
    found = [name for name, layer in model.named_modules() if hasattr(layer, "lora_A")]
    assert len(found) == 2 * 4 + 1  # the head, too: PEFT leaves it out of classes of transformers alone


# --- Prompts ----------------------------------------------------------------------------------------------------------


PROMPTS = {
    "prompt tuning, SEQ_CLS": ("BERT, SEQ_CLS", peft.PromptTuningConfig),
    "p-tuning, SEQ_CLS": ("BERT, SEQ_CLS", peft.PromptEncoderConfig),
    "prompt tuning, CAUSAL_LM": ("GPT-2, CAUSAL_LM", peft.PromptTuningConfig),
    "prefix tuning, CAUSAL_LM": ("GPT-2, CAUSAL_LM", peft.PrefixTuningConfig),
    "prefix tuning of GPT": ("GPT, CAUSAL_LM", peft.PrefixTuningConfig),
}


@pytest.mark.parametrize(("case", "kind"), PROMPTS.values(), ids=PROMPTS)
def test_prompts_are_trained_and_reloaded(case: str, kind: Any, tmp_path: Path) -> None:
    _, _, task, _, labels = CASES[case]
    base = saved_base(case, tmp_path / "base")
    torch.manual_seed(1)
    model = peft.get_peft_model(base, kind(task_type=task, num_virtual_tokens=3))
    before = numbers(model)
    train(model, labels)
    model.save_pretrained(tmp_path / "adapter")
    with pytest.raises(UnsupportedError, match="where only LORA"):
        registry.load(tmp_path / "adapter")
    again = peft.PeftModel.from_pretrained(saved_base(case, tmp_path / "same"), tmp_path / "adapter")
    assert_close(numbers(again), numbers(model), atol=1e-6, rtol=1e-5)
    assert not torch.allclose(numbers(model), before)


def test_prefix_tuning_computes_what_it_does_with_transformers(tmp_path: Path) -> None:
    base = saved_base("GPT-2, CAUSAL_LM", tmp_path / "base")
    logits = []
    for one in (base, transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "base")):
        torch.manual_seed(1)
        model = peft.get_peft_model(one, peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)).eval()
        with torch.no_grad():
            logits.append(model(input_ids=IDS).logits)
    assert_close(logits[0], logits[1], atol=1e-5, rtol=1e-4)


def test_prompts_are_not_dropped_in_silence(tmp_path: Path) -> None:
    base = saved_base("GPT-2, CAUSAL_LM", tmp_path / "base")
    model = peft.get_peft_model(base, peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    with pytest.raises(UnsupportedError, match="virtual tokens"):
        model.generate(input_ids=IDS, max_new_tokens=2)
    assert base.generate(IDS, max_new_tokens=2).shape == (4, 10)
    bert = saved_base("BERT, SEQ_CLS", tmp_path / "bert")
    model = peft.get_peft_model(bert, peft.PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3))
    with pytest.raises(ValueError, match="does not support past key values"):
        model(input_ids=IDS)


# --- The layer --------------------------------------------------------------------------------------------------------


def test_conv1d_is_one_for_those_who_look_for_that_of_transformers() -> None:
    theirs = transformers.pytorch_utils.Conv1D
    torch.manual_seed(0)
    layer = Conv1D(3, 5)
    other = theirs(5, 3)
    other.load_state_dict(layer.state_dict())
    assert isinstance(layer, theirs)
    assert isinstance(layer, Conv1D)
    assert type(layer) is Conv1D
    assert (layer.nx, layer.nf) == (other.nx, other.nf)
    assert_close(layer(torch.ones(2, 3)), other(torch.ones(2, 3)))
    assert repr(layer) == "Conv1D(in_features=3, out_features=5)"
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(copied) is Conv1D
        assert_close(copied.state_dict(), layer.state_dict())
    parametrize.register_parametrization(layer, "weight", nn.Identity())  # sets the class of the instance
    assert isinstance(layer, Conv1D)
    assert_close(layer(torch.ones(2, 3)), other(torch.ones(2, 3)))
    parametrize.remove_parametrizations(layer, "weight")  # and sets it back
    assert type(pickle.loads(pickle.dumps(layer))) is Conv1D
