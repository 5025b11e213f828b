"""Folders: what transformers saves loads here, what we save loads there, whole or in parts; and names."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from torch.testing import assert_close

import registry
from registry.errors import ArchitectureMismatchError, WeightsMismatchError
from registry.loading.meta import build
from registry_llama.cards import CARDS
from registry_llama.config import LlamaConfig
from registry_llama.modeling import LlamaForCausalLM, LlamaModel

SIZES: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
LLAMA_3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "tied": {"tie_word_embeddings": True},
    "scaled": {"rope_scaling": LLAMA_3, "rope_theta": 500_000.0},
    "linear": {"rope_scaling": {"rope_type": "linear", "factor": 2.0}},
    "dynamic": {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
    "yarn": {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}},
    "biases": {"attention_bias": True, "mlp_bias": True, "head_dim": 8},
}
PUBLISHED: dict[str, dict[str, Any]] = {  # as the published configurations have them
    "tinyllama-1.1b-chat-v1.0": {
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 22,
        "num_key_value_heads": 4,
        "rms_norm_eps": 1e-05,
    },
    "smollm2-135m": {
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "max_position_embeddings": 8192,
        "rope_theta": 100_000,
        "rms_norm_eps": 1e-05,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 0,
    },
}
FORMATS = ("safetensors", "torch")

each_variant = pytest.mark.parametrize("variant", VARIANTS)


def fresh(variant: str = "plain", cls: Any = LlamaForCausalLM) -> Any:
    torch.manual_seed(0)
    return cls(LlamaConfig(**SIZES, **VARIANTS[variant], initializer_range=0.1)).eval()


def ids() -> Tensor:
    return torch.randint(0, 61, (2, 30), generator=torch.Generator().manual_seed(1))


def numbers(model: Any) -> Tensor:
    with torch.inference_mode():
        found: Tensor = model(ids())[0] if "Causal" not in type(model).__name__ else model(ids()).logits
    return found


# --- Both directions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("format", FORMATS)
@each_variant
def test_what_we_save_loads_in_transformers(variant: str, format: Any, sharded: bool, tmp_path: Path) -> None:
    model = fresh(variant)
    registry.save(model, tmp_path / "m", format=format, max_shard_size=8000 if sharded else None)
    index = {"safetensors": "model.safetensors.index.json", "torch": "pytorch_model.bin.index.json"}[format]
    assert (tmp_path / "m" / index).is_file() == sharded
    theirs, info = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "m", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert_close(numbers(model), numbers(theirs.eval()), atol=1e-5, rtol=0)


@pytest.mark.parametrize("shards", ["5GB", "8KB"])
@each_variant
def test_what_transformers_saves_loads_here(variant: str, shards: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, **VARIANTS[variant])).eval()
    theirs.save_pretrained(tmp_path / "m", max_shard_size=shards)
    assert (tmp_path / "m" / "model.safetensors.index.json").is_file() == (shards == "8KB")
    loaded = registry.load(tmp_path / "m")
    assert type(loaded.model) is LlamaForCausalLM
    report = loaded.report
    assert report.new == report.missing == report.unexpected == ()
    assert_close(numbers(loaded.model), numbers(theirs), atol=1e-5, rtol=0)


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("format", FORMATS)
@each_variant
def test_what_we_save_loads_here(variant: str, format: Any, sharded: bool, tmp_path: Path) -> None:
    model = fresh(variant)
    registry.save(model, tmp_path / "m", format=format, max_shard_size=8000 if sharded else None)
    again = registry.load_model(tmp_path / "m")
    assert again.config == model.config
    assert_close(numbers(again), numbers(model), atol=0, rtol=0)
    assert list(again.state_dict()) == list(model.state_dict())


def test_a_tied_head_is_saved_once(tmp_path: Path) -> None:
    model = fresh("tied")
    registry.save(model, tmp_path / "m")
    report = registry.load_model(tmp_path / "m").load_report
    assert report is not None
    assert "lm_head.weight" in report.tied
    assert sum(file.stat().st_size for file in (tmp_path / "m").glob("*.safetensors")) < 4 * 61 * 24 * 2 + 4 * sum(
        parameter.numel() for parameter in model.model.parameters()
    )


def test_a_file_may_hold_a_tied_head_twice_if_it_is_the_same(tmp_path: Path) -> None:
    model = fresh("tied")
    registry.save(model, tmp_path / "m")
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert_close(
        numbers(LlamaForCausalLM.from_pretrained(tmp_path / "m", state_dict=state)), numbers(model), atol=0, rtol=0
    )
    state["lm_head.weight"][0, 0] += 1
    with pytest.raises(WeightsMismatchError, match="tied, but not equal"):
        LlamaForCausalLM.from_pretrained(tmp_path / "m", state_dict=state)


def test_heads_and_trunks_share_their_files(tmp_path: Path) -> None:
    head, bare = fresh(), fresh(cls=LlamaModel)
    registry.save(head, tmp_path / "head")
    registry.save(bare, tmp_path / "bare")
    trunk = LlamaModel.from_pretrained(tmp_path / "head")
    assert_close(numbers(trunk), numbers(head.model), atol=0, rtol=0)
    assert trunk.load_report is not None
    assert trunk.load_report.dropped == ("lm_head.weight",)
    new = LlamaForCausalLM.from_pretrained(tmp_path / "bare", allow_missing="lm_head.*")
    assert new.load_report is not None
    assert new.load_report.new == ("lm_head.weight",)
    assert type(registry.load_model(tmp_path / "bare")) is LlamaModel


def test_buffers_of_2023_are_left_out(tmp_path: Path) -> None:
    model = fresh()
    model.config.to_json_file(tmp_path / "config.json")
    buffers = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.zeros(3) for i in range(2)}
    torch.save({**model.state_dict(), **buffers}, tmp_path / "pytorch_model.bin")
    report = registry.load_model(tmp_path).load_report
    assert report is not None
    assert set(report.dropped) == set(buffers)


def test_weights_in_half_precision_are_loaded_as_asked(tmp_path: Path) -> None:
    registry.save(fresh().to(torch.bfloat16), tmp_path / "m")
    assert json.loads((tmp_path / "m" / "config.json").read_text())["dtype"] == "bfloat16"
    for dtype in (torch.float32, torch.bfloat16):
        model = registry.load_model(tmp_path / "m", dtype=dtype)
        assert {parameter.dtype for parameter in model.parameters()} == {dtype}


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    transformers.GPT2Config().save_pretrained(tmp_path)
    with pytest.raises(ArchitectureMismatchError, match="gpt2"):
        LlamaForCausalLM.from_pretrained(tmp_path)


# --- Names ------------------------------------------------------------------------------------------------------------


def test_the_published_names_are_known() -> None:
    assert set(PUBLISHED) == {card.name for card in CARDS} <= set(registry.list_models(architecture="llama"))
    for card in CARDS:
        assert registry.info(card.aliases[0]) == registry.info(card.name) == card
        assert card.license == "Apache-2.0"
        assert all("@" in file.urls[0] for file in card.files), "of one commit"
        assert all(file.sha256 and file.size for file in card.files if file.role in ("config", "weights"))


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_number_of_parameters_is_that_of_the_model(name: str) -> None:
    model = build(lambda: LlamaForCausalLM(LlamaConfig(**PUBLISHED[name])))
    found = sum(parameter.numel() for parameter in model.parameters())
    assert registry.info(name).num_parameters == found
    assert abs(model.config.num_backbone_parameters() / found - 1) < 0.1


LARGE = {
    "Llama 2, 70 billion": ((32000, 8192, 80, 64, 8, 28672), 68_976_648_192),
    "Llama 3.1, 405 billion": ((128256, 16384, 126, 128, 8, 53248), 405_853_388_800),
}
"""The sizes of the largest published models, and their numbers of parameters, which are far above those of others."""


@pytest.mark.parametrize("name", LARGE)
def test_the_largest_published_models_are_no_damaged_files(name: str) -> None:
    (vocabulary, width, layers, heads, shared, inner), parameters = LARGE[name]
    config = LlamaConfig.from_dict(
        {
            "model_type": "llama",
            "vocab_size": vocabulary,
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": shared,
            "intermediate_size": inner,
        }
    )
    model = build(lambda: LlamaForCausalLM(config))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_layers_can_be_had_by_name() -> None:
    block = registry.layer("llama", "block")(LlamaConfig(**SIZES))
    assert sum(parameter.numel() for parameter in block.parameters()) == 24 * (24 + 12 + 12 + 24 + 3 * 40 + 2)
