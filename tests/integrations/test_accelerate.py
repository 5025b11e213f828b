"""accelerate: its training loop, its checkpoints, and models that are larger than the memory which they are given."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

import registry
from registry.zoo import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    TransfoXLConfig,
    TransfoXLLMHeadModel,
)

accelerate = pytest.importorskip("accelerate", reason="the extra `integrations` is not installed")
pytestmark = [
    pytest.mark.integrations,
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set"),  # of torch, without an accelerator
]

GPT: dict[str, Any] = {"vocab_size": 61, "n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 2}
CAUSAL: dict[str, tuple[type, Any]] = {
    "GPT": (OpenAIGPTLMHeadModel, OpenAIGPTConfig(**GPT, initializer_range=0.3)),
    "GPT-2": (GPT2LMHeadModel, GPT2Config(**GPT, initializer_range=0.3)),
    "Transformer-XL": (
        TransfoXLLMHeadModel,
        TransfoXLConfig(
            vocab_size=61, cutoffs=[20, 40], d_model=16, d_embed=16, n_head=2, d_head=8, d_inner=24, n_layer=2,
            div_val=2, mem_len=8, tgt_len=8, init_std=0.3,
        ),
    ),
}  # fmt: skip
IDS = torch.randint(1, 61, (2, 8), generator=torch.Generator().manual_seed(1))

each_model = pytest.mark.parametrize("name", CAUSAL)


def made(name: str) -> Any:
    cls, config = CAUSAL[name]
    torch.manual_seed(0)
    return cls(config).eval()


def test_its_training_loop_and_its_checkpoints(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=61, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=16, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    ids = torch.randint(1, 61, (8, 9))
    mask = (torch.arange(9) < torch.tensor([9, 5, 7, 3, 9, 2, 4, 6])[:, None]).long()
    data = torch.utils.data.TensorDataset(ids, mask, torch.arange(8) % 2)
    raw = BertForSequenceClassification(config)
    by_hand = copy.deepcopy(raw)
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    model, optimizer, loader = accelerator.prepare(
        raw, torch.optim.AdamW(raw.parameters(), lr=1e-2), torch.utils.data.DataLoader(data, batch_size=4)
    )
    gathered = []
    for batch_ids, batch_mask, labels in loader:
        with accelerator.accumulate(model):
            output = model(batch_ids, attention_mask=batch_mask, labels=labels)
            accelerator.backward(output.loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        gathered.append(accelerator.gather_for_metrics(output).logits)
    assert torch.cat(gathered).shape == (8, 2)

    step = torch.optim.AdamW(by_hand.parameters(), lr=1e-2)
    by_hand(ids, attention_mask=mask, labels=torch.arange(8) % 2).loss.backward()
    torch.nn.utils.clip_grad_norm_(by_hand.parameters(), 1.0)
    step.step()
    assert_close(model.state_dict(), by_hand.state_dict(), atol=1e-5, rtol=1e-4)

    accelerator.save_state(str(tmp_path / "state"))
    trained = copy.deepcopy(raw.state_dict())
    with torch.no_grad():
        for parameter in raw.parameters():
            parameter.zero_()
    accelerator.load_state(str(tmp_path / "state"))
    assert_close(raw.state_dict(), trained, atol=0, rtol=0)
    saved = registry.save(accelerator.unwrap_model(model), tmp_path / "saved")
    assert_close(registry.load_model(saved).state_dict(), trained, atol=0, rtol=0)


@each_model
def test_a_model_without_memory_is_filled_from_a_directory(name: str, tmp_path: Path) -> None:
    cls, config = CAUSAL[name]
    model = made(name)
    registry.save(model, tmp_path / "saved")
    with accelerate.init_empty_weights():
        empty = cls(config)
    empty.tie_weights()
    filled = accelerate.load_checkpoint_and_dispatch(empty, str(tmp_path / "saved" / "model.safetensors"), {"": "cpu"})
    assert_close(filled.eval()(IDS).logits, model(IDS).logits, atol=0, rtol=0)
    assert filled.generate(IDS, max_new_tokens=5).tolist() == model.generate(IDS, max_new_tokens=5).tolist()


@pytest.mark.parametrize("offload", ["cpu_offload", "disk_offload"])
@each_model
def test_an_offloaded_model_computes_and_generates_the_same(name: str, offload: str, tmp_path: Path) -> None:
    model = made(name)
    logits, loss = model(IDS).logits, model(IDS, labels=IDS).loss
    expected = {
        beams: model.generate(IDS, max_new_tokens=20, num_beams=beams).tolist()  # enough for transposed copies
        for beams in (1, 2)
    }
    kinds = {
        "cpu_offload": lambda one: accelerate.cpu_offload(one, torch.device("cpu")),
        "disk_offload": lambda one: accelerate.disk_offload(one, str(tmp_path / "off"), torch.device("cpu")),
    }
    kinds[offload](model)
    assert next(model.parameters()).is_meta
    assert_close(model(IDS).logits, logits, atol=1e-6, rtol=1e-5)
    assert_close(model(IDS, labels=IDS).loss, loss, atol=1e-6, rtol=1e-5)
    for beams, found in expected.items():
        assert model.generate(IDS, max_new_tokens=20, num_beams=beams).tolist() == found
