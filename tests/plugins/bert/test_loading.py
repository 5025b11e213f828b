"""The rules of loading, on BERT: every spelling that published files have, into every class."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import registry
from plugins.bert.config import BertConfig
from plugins.bert.finetuning import (
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from plugins.bert.modeling import BertForMaskedLM, BertForNextSentencePrediction, BertForPreTraining, BertModel
from registry.errors import UntrainedWarning, WeightsMismatchError

HEADS = (
    BertForPreTraining,
    BertForMaskedLM,
    BertForNextSentencePrediction,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertForMultipleChoice,
    BertForQuestionAnswering,
)
State = dict[str, Tensor]


@pytest.fixture
def config(sizes: dict[str, int]) -> BertConfig:
    return BertConfig(**sizes)


def fresh(cls: Any, config: BertConfig) -> Any:
    torch.manual_seed(1)
    model = cls(config)
    model.init_weights()
    with torch.no_grad():  # no parameter may look like another, nor like a fresh one
        for parameter in model.parameters():
            parameter.normal_()
    return model.eval()


def load(cls: Any, config: BertConfig, state: State, folder: Path, **options: Any) -> Any:
    """Load ``state`` from a file, as a user would."""
    folder.mkdir(exist_ok=True)
    config.to_json_file(folder / "config.json")
    torch.save(state, folder / "pytorch_model.bin")
    return cls.from_pretrained(folder, **options)


def untrained(new: bool) -> Any:
    """The warning of newly initialized parts, where there are some."""
    return pytest.warns(UntrainedWarning, match="newly initialized") if new else nullcontext()


def older_names(state: State) -> State:
    return {
        k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
        for k, v in state.items()
    }


def without_prefix(state: State) -> State:
    return {name.removeprefix("bert."): tensor for name, tensor in state.items()}


def wrapped(state: State) -> State:
    return {f"module.{name}": tensor for name, tensor in state.items()}


def with_foreign_buffers(state: State) -> State:
    prefix = "bert." if any(name.startswith("bert.") for name in state) else ""
    return {
        **state,
        f"{prefix}embeddings.position_ids": torch.arange(64)[None],
        f"{prefix}embeddings.token_type_ids": torch.zeros(1, 64, dtype=torch.long),
    }


def untied_copy(state: State) -> State:
    """As safetensors of other libraries hold it: the tied matrix twice, each with memory of its own."""
    return {name: tensor.clone() for name, tensor in state.items()}


def decoder_left_out(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if name != "cls.predictions.decoder.weight"}


def decoder_bias_beside_bias(state: State) -> State:
    return {**state, "cls.predictions.decoder.bias": state["cls.predictions.bias"].clone()}


def only_decoder_bias(state: State) -> State:
    return {("cls.predictions.decoder.bias" if k == "cls.predictions.bias" else k): v for k, v in state.items()}


def only_decoder_weight(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if name != "bert.embeddings.word_embeddings.weight"}


SPELLINGS: tuple[Callable[[State], State], ...] = (dict, older_names, wrapped, with_foreign_buffers)
TIES: tuple[Callable[[State], State], ...] = (
    dict, untied_copy, decoder_left_out, decoder_bias_beside_bias, only_decoder_bias, only_decoder_weight,
)  # fmt: skip


def same(model: Any, expected: Any) -> bool:
    state = expected.state_dict()
    return all(tensor.equal(state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("tie", TIES)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_pretraining_checkpoint_loads_in_every_spelling(
    config: BertConfig, tmp_path: Path, spelling: Callable[[State], State], tie: Callable[[State], State]
) -> None:
    model = fresh(BertForPreTraining, config)
    loaded = load(BertForPreTraining, config, spelling(tie(dict(model.state_dict()))), tmp_path / "m")
    assert same(loaded, model)
    assert loaded.cls.predictions.decoder.weight is loaded.bert.embeddings.word_embeddings.weight
    report = loaded.load_report
    assert report.new == report.missing == report.unexpected == ()


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("prefixed", [True, False])
@pytest.mark.parametrize("cls", [BertModel, *HEADS])
def test_a_bare_checkpoint_fills_the_trunk_of_every_class(
    cls: Any, prefixed: bool, spelling: Callable[[State], State], config: BertConfig, tmp_path: Path
) -> None:
    bare = fresh(BertModel, config)
    state = dict(bare.state_dict())
    if prefixed:
        state = {f"bert.{name}": tensor for name, tensor in state.items()}
    with untrained(cls is not BertModel):
        loaded = load(cls, config, spelling(state), tmp_path / "m")
    trunk = loaded if cls is BertModel else loaded.bert
    assert same(trunk, bare)
    expected_new = {name for name in loaded.state_dict() if cls is not BertModel and not name.startswith("bert.")}
    expected_new -= {"cls.predictions.decoder.weight"}  # tied to the trunk, and therefore there
    assert set(loaded.load_report.new) == expected_new
    assert not any(parameter.is_meta for parameter in loaded.parameters())


@pytest.mark.parametrize("head", HEADS)
def test_a_head_checkpoint_fills_the_bare_model(head: Any, config: BertConfig, tmp_path: Path) -> None:
    model = fresh(head, config)
    has_pooler = "bert.pooler.dense.weight" in model.state_dict()
    with untrained(not has_pooler):
        loaded = load(BertModel, config, dict(model.state_dict()), tmp_path / "m")
    mine = loaded.state_dict()
    assert all(tensor.equal(mine[name]) for name, tensor in model.bert.state_dict().items())
    assert loaded.load_report.unexpected == ()
    assert bool(loaded.load_report.new) != has_pooler
    assert all(name.startswith("pooler.") for name in loaded.load_report.new)


def test_new_parts_are_initialised_as_for_training(config: BertConfig, tmp_path: Path) -> None:
    state = dict(fresh(BertModel, config).state_dict())
    torch.manual_seed(0)
    with untrained(True):
        loaded = load(BertForPreTraining, config.replace(initializer_range=0.5), state, tmp_path / "m")
    predictions = loaded.cls.predictions
    assert 0.3 < predictions.transform.dense.weight.std() < 0.7
    assert predictions.transform.dense.bias.eq(0).all()
    assert predictions.transform.LayerNorm.weight.eq(1).all()
    assert predictions.bias.eq(0).all()
    assert "cls.seq_relationship.weight" in loaded.load_report.new


def test_half_a_part_is_an_error(config: BertConfig, tmp_path: Path) -> None:
    state = dict(fresh(BertForPreTraining, config).state_dict())
    del state["cls.seq_relationship.bias"]
    with pytest.raises(WeightsMismatchError, match=r"cls\.seq_relationship\.bias"):
        load(BertForPreTraining, config, state, tmp_path / "m")
    loaded = load(BertForPreTraining, config, state, tmp_path / "m", allow_missing=["cls.seq_relationship.*"])
    assert loaded.load_report.missing == ("cls.seq_relationship.bias",)
    assert loaded.cls.seq_relationship.bias.eq(0).all()


def test_surplus_weights_are_an_error_unless_allowed(config: BertConfig, tmp_path: Path) -> None:
    state = {**fresh(BertModel, config).state_dict(), "encoder.layer.5.output.dense.bias": torch.zeros(24)}
    with pytest.raises(WeightsMismatchError, match=r"encoder\.layer\.5"):
        load(BertModel, config, state, tmp_path / "m")
    loaded = load(BertModel, config, state, tmp_path / "m", allow_unexpected=["*encoder.layer.5.*"])
    assert len(loaded.load_report.unexpected) == 1


def test_tied_names_with_different_values_are_an_error(config: BertConfig, tmp_path: Path) -> None:
    state = untied_copy(dict(fresh(BertForPreTraining, config).state_dict()))
    state["cls.predictions.decoder.weight"][0, 0] += 1
    with pytest.raises(WeightsMismatchError, match=r"cls\.predictions\.decoder\.weight"):
        load(BertForPreTraining, config, state, tmp_path / "m")


def test_old_and_new_names_for_one_weight_are_an_error(config: BertConfig, tmp_path: Path) -> None:
    state = dict(fresh(BertModel, config).state_dict())
    state["embeddings.LayerNorm.gamma"] = state["embeddings.LayerNorm.weight"].clone()
    with pytest.raises(WeightsMismatchError, match=r"LayerNorm\.gamma"):
        load(BertModel, config, state, tmp_path / "m")


def test_a_checkpoint_of_which_nothing_fits_is_an_error_that_shows_both_sides(
    config: BertConfig, tmp_path: Path
) -> None:
    state = {f"h.{i}.attn.c_attn.weight": torch.zeros(24, 72) for i in range(3)}
    with pytest.raises(WeightsMismatchError) as caught:
        load(BertModel, config, state, tmp_path / "m")
    assert "h.0.attn.c_attn.weight" in str(caught.value)
    assert "embeddings.word_embeddings.weight" in str(caught.value)


def test_a_head_of_another_size_is_an_error_or_new_when_allowed(config: BertConfig, tmp_path: Path) -> None:
    state = dict(fresh(BertForSequenceClassification, config).state_dict())
    with pytest.raises(WeightsMismatchError, match=r"classifier\.weight"):
        load(BertForSequenceClassification, config, state, tmp_path / "m", num_labels=7)
    loaded = load(
        BertForSequenceClassification, config, state, tmp_path / "m", num_labels=7, allow_missing=["classifier.*"]
    )
    assert loaded.classifier.weight.shape == (7, 24)


def test_the_report_tells_what_was_renamed_dropped_and_tied(config: BertConfig, tmp_path: Path) -> None:
    state = with_foreign_buffers(older_names(decoder_left_out(dict(fresh(BertForPreTraining, config).state_dict()))))
    report = load(BertForMaskedLM, config, state, tmp_path / "m").load_report
    assert ("bert.embeddings.LayerNorm.gamma", "bert.embeddings.LayerNorm.weight") in report.renamed
    assert {"bert.embeddings.position_ids", "bert.pooler.dense.weight", "cls.seq_relationship.bias"} <= set(
        report.dropped
    )
    assert "cls.predictions.decoder.weight" in report.tied
    assert str(tmp_path / "m") in report.source
    assert report.seconds > 0
    assert "renamed" in str(report)


def test_the_older_name_of_the_configuration_is_found(config: BertConfig, tmp_path: Path) -> None:
    model = fresh(BertForPreTraining, config)
    keys = {k: v for k, v in config.to_dict().items() if k not in ("model_type", "id2label", "label2id")}
    (tmp_path / "bert_config.json").write_text(registry.config.config.config_text(keys))
    torch.save(dict(model.state_dict()), tmp_path / "pytorch_model.bin")
    assert same(BertForPreTraining.from_pretrained(tmp_path), model)


def test_layers_of_a_loaded_model_are_plain_ones_that_are_enabled(
    config: BertConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """oneDNN makes its large products, as ``tests/registry/nn/test_onednn.py`` shows; here: that loading enables it."""
    monkeypatch.setattr("registry.nn.onednn.is_faster", lambda: True)
    loaded = load(BertForMaskedLM, config, dict(fresh(BertForMaskedLM, config).state_dict()), tmp_path / "m")
    layers = [layer for layer in loaded.modules() if type(layer) is nn.Linear]
    assert len(layers) == 6 * config.num_hidden_layers + 2
    assert all("forward" in vars(layer) for layer in layers)
    assert not any("forward" in vars(layer) for layer in loaded.double().modules())
    state = dict(fresh(BertForMaskedLM, config).state_dict())
    half = load(BertForMaskedLM, config, state, tmp_path / "m", dtype=torch.bfloat16)
    assert not any("forward" in vars(layer) for layer in half.modules())
    monkeypatch.setattr("registry.nn.onednn.is_faster", lambda: False)
    loaded = load(BertForMaskedLM, config, state, tmp_path / "m")
    assert not any("forward" in vars(layer) for layer in loaded.modules())
