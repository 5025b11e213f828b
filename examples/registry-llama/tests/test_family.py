"""Mistral, Mixtral, Phi 3, Qwen 2 and 3, beside transformers: numbers, greedy tokens, folders in both directions."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor
from torch.testing import assert_close

import registry
from registry.errors import ConfigError, WeightsMismatchError
from registry.testing import CheckpointSuite, ConfigSuite, ModelSuite, ParallelSuite
from registry.testing.ranks import RankPool
from registry_llama.mixtral.config import MixtralConfig
from registry_llama.qwen.config import Qwen2Config
from registry_llama.qwen_moe.config import Qwen2MoeConfig, Qwen3MoeConfig

SIZES: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 24,
    "intermediate_size": 20,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.15,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
EXPERTS: dict[str, Any] = {"moe_intermediate_size": 12, "num_experts": 5, "num_experts_per_tok": 2}
FAMILY: dict[str, tuple[str, dict[str, Any]]] = {
    "Mistral": ("Mistral", {"sliding_window": 5}),
    "Mistral without a window": ("Mistral", {"sliding_window": None, "head_dim": 8}),
    "Mixtral": ("Mixtral", {"num_local_experts": 11, "num_experts_per_tok": 3}),
    "Phi 3": ("Phi3", {}),
    "Phi 3, tied, with a window": ("Phi3", {"sliding_window": 5, "tie_word_embeddings": True}),
    "Qwen 2": ("Qwen2", {}),
    "Qwen 2, tied, with a window": (
        "Qwen2",
        {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1, "tie_word_embeddings": True},
    ),
    "Qwen 3": ("Qwen3", {"head_dim": 8}),
    "Qwen 2 with experts": (
        "Qwen2Moe",
        {
            **EXPERTS,
            "shared_expert_intermediate_size": 16,
            "num_experts_per_tok": 3,
            "layer_types": ["full_attention"] * 3,
        },
    ),
    "Qwen 2 with experts and a window": (
        "Qwen2Moe",
        {
            **EXPERTS,
            "shared_expert_intermediate_size": 16,
            "norm_topk_prob": True,
            "use_sliding_window": True,
            "sliding_window": 4,
            "max_window_layers": 2,
        },
    ),
    "Qwen 3 with experts": ("Qwen3Moe", {**EXPERTS, "head_dim": 8, "norm_topk_prob": True}),
    "Qwen 3 with experts and a window": (
        "Qwen3Moe",
        {**EXPERTS, "head_dim": 8, "use_sliding_window": True, "sliding_window": 4},
    ),
    "Qwen 3 with a window": (
        "Qwen3",
        {
            "head_dim": 8,
            "use_sliding_window": True,
            "sliding_window": 3,
            "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        },
    ),
}
TOKENS, LENGTHS = 12, (12, 5, 9)

each_member = pytest.mark.parametrize("member", FAMILY)


def published(member: str, folder: Path) -> tuple[Any, Path]:
    """A model of transformers with random weights, and the folder that it writes."""
    name, options = FAMILY[member]
    config = getattr(transformers, f"{name}Config")(**SIZES, **options, attn_implementation="eager")
    torch.manual_seed(3)
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model, folder


def ids() -> Tensor:
    return torch.randint(1, SIZES["vocab_size"], (3, TOKENS), generator=torch.Generator().manual_seed(1))


@each_member
def test_folders_of_transformers_load_with_its_numbers_and_are_saved_as_they_were(member: str, tmp_path: Path) -> None:
    theirs, folder = published(member, tmp_path / "theirs")
    loaded = registry.load(folder)
    report = loaded.report
    assert report.new == report.missing == report.unexpected == report.dropped == ()
    options = {"labels": ids(), "output_hidden_states": True, "output_attentions": True}
    found, expected = loaded.model(ids(), **options), theirs(ids(), **options)
    for field in ("loss", "logits", "hidden_states", "attentions"):
        assert_close(getattr(found, field), getattr(expected, field), atol=1e-5, rtol=0)
    assert_close(loaded.model(ids()).logits, expected.logits, atol=1e-5, rtol=0)  # with the fast attention
    saved = loaded.save(tmp_path / "ours")
    was, now = load_file(folder / "model.safetensors"), load_file(saved / "model.safetensors")
    assert now.keys() == was.keys()
    assert all(now[name].equal(tensor) for name, tensor in was.items())
    again, info = type(theirs).from_pretrained(saved, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert_close(again.eval()(ids()).logits, expected.logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", ["left", "right"])
@each_member
def test_padding_and_what_is_generated_are_those_of_transformers(member: str, side: str, tmp_path: Path) -> None:
    theirs, folder = published(member, tmp_path)
    ours = registry.load_model(folder)
    columns, lengths = torch.arange(TOKENS), torch.tensor(LENGTHS)[:, None]
    mask = columns < lengths if side == "right" else columns >= TOKENS - lengths
    batch = {"input_ids": ids(), "attention_mask": mask.long()}
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    expected = theirs(**batch, position_ids=positions).logits
    assert_close(ours(**batch).logits[mask], expected[mask], atol=1e-5, rtol=0)
    if side == "left":
        told = theirs.generate(**batch, max_new_tokens=12, do_sample=False, pad_token_id=0)
        assert ours.generate(**batch, max_new_tokens=12)[:, TOKENS:].equal(told[:, TOKENS:])


def test_experts_are_gathered_and_missing_ones_named(tmp_path: Path) -> None:
    _, folder = published("Mixtral", tmp_path)
    model = registry.load_model(folder)
    assert model.model.layers[0].mlp.experts.gate_up_proj.shape == (11, 40, 24)
    state = load_file(folder / "model.safetensors")
    lost = "model.layers.1.block_sparse_moe.experts.4.w3.weight"
    with pytest.raises(WeightsMismatchError, match=f"the file lacks {lost}"):
        type(model).from_pretrained(folder, state_dict={name: state[name] for name in state if name != lost})


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (
            lambda: MixtralConfig(num_experts_per_tok=9),
            r"per_tok must be .* from 1 to num_local_experts \(8\), not 9",
        ),
        (lambda: Qwen2MoeConfig(num_experts_per_tok=61), r"from 1 to num_experts \(60\), not 61"),
        (lambda: Qwen3MoeConfig(decoder_sparse_step=2), "decoder_sparse_step must be 1, not 2"),
        (lambda: Qwen3MoeConfig(mlp_only_layers=[0]), r"mlp_only_layers must be empty: .* not \[0\]"),
        (lambda: Qwen2Config(layer_types=["round"]), "for each of num_hidden_layers"),
        (lambda: Qwen2Config(num_key_value_heads=5), r"num_key_value_heads \(5\) must divide"),
    ],
)
def test_what_cannot_be_computed_is_refused(make: Any, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        make()


# --- The kit ----------------------------------------------------------------------------------------------------------

TINY = {
    "vocab_size": 99,
    "hidden_size": 24,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "eos_token_id": 2,
    "pad_token_id": 1,
}


class OfFamily(ConfigSuite, ModelSuite, ParallelSuite):
    plugin = "llama"
    unsupported = {"tokenizer": "it is that of Llama, whose suite tests it"}

    @pytest.mark.another_process
    @pytest.mark.parametrize("way", ["tp", "fsdp"])
    def test_two_processes_compute_what_one_does(
        self, causal_task: str, way: str, registry_ranks: RankPool, registry_directory: Path
    ) -> None:
        """With its head, whose plan has that of the base model in it; the suite of Llama checks both."""
        super().test_two_processes_compute_what_one_does(causal_task, way, registry_ranks, registry_directory)


class TestMistral(OfFamily):
    architecture = "mistral"
    config = {**TINY, "sliding_window": 4}


class OfOtherFiles(OfFamily, CheckpointSuite):
    """One whose files have other tensors than the model."""

    test_it_loads_and_unpickles_in_another_process = None  # it does for Llama, whose plugin this is


class TestMixtral(OfOtherFiles):
    architecture = "mixtral"
    config = {**TINY, "num_local_experts": 3, "num_experts_per_tok": 2}


class TestPhi3(OfOtherFiles):
    architecture = "phi3"
    config = TINY


class TestQwen2(OfFamily):
    architecture = "qwen2"
    config = TINY


class TestQwen3(OfFamily):
    architecture = "qwen3"
    config = {**TINY, "head_dim": 8}


class TestQwen2Moe(OfOtherFiles):
    architecture = "qwen2-moe"
    config = {**TINY, **EXPERTS, "shared_expert_intermediate_size": 16}


class TestQwen3Moe(OfOtherFiles):
    architecture = "qwen3-moe"
    config = {**TINY, **EXPERTS, "head_dim": 8, "norm_topk_prob": True}
