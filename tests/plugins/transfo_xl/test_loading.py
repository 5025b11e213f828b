"""Files of Transformer-XL: the published names, with and without heads, tied and not."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import registry
from plugins.transfo_xl.modeling import (
    TransfoXLForSequenceClassification,
    TransfoXLLMHeadModel,
    TransfoXLModel,
)
from plugins.transfo_xl.tokenization import TransfoXLTokenizer
from registry.errors import UntrainedWarning, WeightsMismatchError

HUB = {
    "adaptive": True, "architectures": ["TransfoXLLMHeadModel"], "attn_type": 0, "clamp_len": 12, "cutoffs": [7, 20],
    "d_embed": 32, "d_head": 8, "d_inner": 40, "d_model": 32, "div_val": 2, "dropatt": 0.0, "dropout": 0.1,
    "eos_token_id": 0, "ext_len": 0, "init": "normal", "init_range": 0.01, "init_std": 0.02, "mem_len": 10,
    "model_type": "transfo-xl", "n_head": 4, "n_layer": 3, "pre_lnorm": False, "proj_init_std": 0.01,
    "same_length": True, "sample_softmax": -1, "task_specific_params": {"text-generation": {"do_sample": True}},
    "tgt_len": 8, "tie_projs": [False, True, True], "tie_weight": True, "untie_r": True, "vocab_size": 50,
}  # fmt: skip
"""The keys of the hub's file, with the sizes of our small model."""


def folder(path: Path, state: dict[str, Tensor], config: dict[str, Any]) -> Path:
    path.mkdir()
    torch.save(state, path / "pytorch_model.bin")
    (path / "config.json").write_text(json.dumps(config))
    return path


def assert_same(model: Any, original: Any) -> None:
    for name, tensor in original.state_dict().items():
        assert model.state_dict()[name].equal(tensor), name


def test_a_folder_of_the_hub_loads_and_saves(make, ids, tmp_path: Path) -> None:
    original = make()
    state = {**original.state_dict(), "transformer.pos_emb.inv_freq": torch.rand(16)}
    hub = folder(tmp_path / "hub", state, HUB)
    (hub / "vocab.txt").write_text("<eos>\n" + "".join(f"w{n}\n" for n in range(48)) + "<unk>\n")
    loaded = registry.load(hub)
    assert isinstance(loaded.model, TransfoXLLMHeadModel)
    assert loaded.report.dropped == ("transformer.pos_emb.inv_freq",)
    assert loaded.config.eos_token_id == 0
    assert dict(loaded.config.extra) == {"task_specific_params": HUB["task_specific_params"]}
    assert_same(loaded.model, original)
    again = registry.load(loaded.save(tmp_path / "again"))
    assert_same(again.model, original)
    assert again.config == loaded.config
    assert again.tokenizer.get_vocab() == loaded.tokenizer.get_vocab()
    written = json.loads((tmp_path / "again" / "config.json").read_text())
    assert {key: written[key] for key in HUB} == HUB


def test_a_saved_file_holds_what_is_tied_once(make, tmp_path: Path) -> None:
    from safetensors import safe_open

    for kind in ({}, {"div_val": 1, "d_embed": 24}, {"untie_r": False}, {"tie_weight": False}):
        original = make(**kind)
        saved = registry.save(original, tmp_path / str(len(list(tmp_path.iterdir()))))
        with safe_open(saved / "model.safetensors", "pt") as file:
            assert len(list(file.keys())) == len(list(original.parameters()))
        assert_same(registry.load_model(saved), original)


def test_the_reference_reads_what_we_save(make, reference, ids, tmp_path: Path) -> None:
    original = make()
    original.save_pretrained(tmp_path / "m", format="torch")
    with torch.no_grad():
        theirs = reference.TransfoXLLMHeadModel.from_pretrained(str(tmp_path / "m")).eval()
        assert theirs.config.n_token == 50
        torch.testing.assert_close(theirs(ids)[0], original(ids).logits, atol=1e-5, rtol=1e-6)


def test_we_read_what_the_reference_saves(make, theirs, tmp_path: Path) -> None:
    original = make()
    other = theirs(original)
    path = folder(tmp_path / "m", other.state_dict(), {})
    other.config.to_json_file(path / "config.json") if hasattr(other.config, "to_json_file") else (
        path / "config.json"
    ).write_text(other.config.to_json_string())
    loaded = TransfoXLLMHeadModel.from_pretrained(path)
    assert_same(loaded, original)
    assert loaded.config.cutoffs == (7, 20), "pytorch-pretrained-bert adds no word to them"


@pytest.mark.parametrize("prefixed", [True, False])
@pytest.mark.parametrize("cls", [TransfoXLModel, TransfoXLLMHeadModel, TransfoXLForSequenceClassification])
def test_a_bare_checkpoint_fills_the_backbone_of_every_class(make, cls: Any, prefixed: bool, tmp_path: Path) -> None:
    bare = make(TransfoXLModel)
    state = {("transformer." if prefixed else "") + name: tensor for name, tensor in bare.state_dict().items()}
    with pytest.warns(UntrainedWarning, match="newly") if cls is not TransfoXLModel else nullcontext():
        loaded = cls.from_pretrained(folder(tmp_path / "m", state, HUB))
    assert_same(loaded if cls is TransfoXLModel else loaded.transformer, bare)
    new = set(loaded.load_report.new)
    if cls is TransfoXLLMHeadModel:
        assert new == {"crit.cluster_weight", "crit.cluster_bias", "crit.out_projs.0"} | {
            f"crit.out_layers.{number}.bias" for number in range(3)
        }
        assert loaded.crit.out_layers[1].weight is loaded.transformer.word_emb.emb_layers[1].weight
    else:
        assert new == ({"score.weight"} if cls is TransfoXLForSequenceClassification else set())


def test_a_head_checkpoint_fills_the_bare_model(make, tmp_path: Path) -> None:
    original = make()
    loaded = TransfoXLModel.from_pretrained(folder(tmp_path / "m", original.state_dict(), HUB))
    assert_same(loaded, original.transformer)
    assert set(loaded.load_report.dropped) == {name for name in original.state_dict() if name.startswith("crit.")}


BROKEN: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "crit.cluster_bias": lambda state: state.pop("crit.cluster_bias"),
    "tied, but not equal": lambda state: state.update({"crit.out_projs.1": state["crit.out_projs.1"] + 1}),
    r"emb_projs\.0": lambda state: state.pop("transformer.word_emb.emb_projs.0"),
    r"layers\.9": lambda state: state.update({"transformer.layers.9.dec_attn.r_net.weight": torch.ones(1)}),
}


@pytest.mark.parametrize("message", BROKEN)
def test_whatever_does_not_fit_is_an_error_that_says_so(make, message: str, tmp_path: Path) -> None:
    state = dict(make().state_dict())
    BROKEN[message](state)
    with pytest.raises(WeightsMismatchError, match=message):
        TransfoXLLMHeadModel.from_pretrained(folder(tmp_path / "m", state, HUB))


def test_lengths_and_labels_are_options_of_loading(make, tmp_path: Path) -> None:
    path = folder(tmp_path / "m", make().state_dict(), HUB)
    model = registry.load_model(path, mem_len=40, same_length=False, n_token=50)
    assert (model.mem_len, model.same_length) == (40, False)
    assert registry.load_model(path, "sequence-classification", num_labels=5).score.out_features == 5


def test_the_zoo_has_the_classes() -> None:
    from registry import zoo

    assert zoo.TransfoXLTokenizer is TransfoXLTokenizer
    assert zoo.TransfoXLLMHeadModel is TransfoXLLMHeadModel
