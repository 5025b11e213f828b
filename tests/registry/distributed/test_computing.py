"""Divided models compute, generate and train as one process does, with the tools that users have."""

from pathlib import Path
from typing import Any

import pytest
import torch

import registry
from registry.generation.perplexity import evaluate
from registry.testing.on_ranks import numbers
from registry.testing.ranks import RankPool, function

RANKED = str(Path(__file__).with_name("ranked.py"))
IDS = torch.tensor([[5, 6, 7, 8, 9, 10], [11, 12, 13, 14, 15, 16]])
BATCH = {"input_ids": IDS, "labels": IDS}


@pytest.mark.parametrize("name", ["gpt2", "xl"])
@pytest.mark.parametrize("way", ["tp", "fsdp"])
def test_generation_is_that_of_one_process(models: Path, name: str, way: str, registry_ranks: RankPool) -> None:
    options: list[dict[str, Any]] = [
        {"max_new_tokens": 18},
        {"max_new_tokens": 6, "num_beams": 3, "eos_token_id": 3},
        {"max_new_tokens": 6, "temperature": 1.0, "top_k": 20, "num_return_sequences": 2},
    ]
    model = registry.load_model(models / name)
    torch.manual_seed(4)
    wanted = [model.generate(IDS[:, :4], **each).tolist() for each in options]
    for found in registry_ranks.run(f"{RANKED}:generated", str(models / name), way, IDS[:, :4], options, 4):
        assert found == wanted


def test_processes_that_share_layers_draw_the_same_tokens_with_any_seed(models: Path, registry_ranks: RankPool) -> None:
    options = [{"max_new_tokens": 12, "temperature": 2.0}]
    one, other = registry_ranks.run(f"{RANKED}:generated", str(models / "gpt2"), "tp", IDS[:, :2], options, -1)
    assert one == other


def test_texts_that_end_at_different_steps_do_not_hang(models: Path, registry_ranks: RankPool) -> None:
    free = registry.load_model(models / "gpt2").generate(torch.tensor([[5, 6]]), max_new_tokens=8)[0].tolist()
    one, other = registry_ranks.run(f"{RANKED}:ends_apart", str(models / "gpt2"), "fsdp")
    assert one[:4] == free[:4]
    assert set(one[4:]) == {free[3]}
    assert other == free


@pytest.mark.parametrize("way", ["tp", "fsdp"])
def test_perplexity_and_vectors_are_those_of_one_process(models: Path, way: str, registry_ranks: RankPool) -> None:
    ids = list(range(5, 60))
    for name in ("gpt2", "xl"):
        wanted = evaluate(registry.load_model(models / name), ids).loss
        assert (
            registry_ranks.run(f"{RANKED}:evaluated", str(models / name), way, ids)
            == [pytest.approx(wanted, abs=1e-5)] * 2
        )
    texts = ["the cat", "the cat sat on the mat", "mat"]
    vectors = registry.load(models / "base").embed(texts)
    for found in registry_ranks.run(f"{RANKED}:embedded", str(models / "base"), way, texts):
        torch.testing.assert_close(found, vectors, atol=1e-5, rtol=0)


def test_training_after_inference_is_training(models: Path, registry_ranks: RankPool) -> None:
    """Also where the optimizer is made after the model has computed."""
    wanted = numbers(registry.load_model(models / "gpt2"), {"input_ids": IDS}, {"labels": IDS})["losses"]
    for way in ("tp", "fsdp"):
        for found in registry_ranks.run(f"{RANKED}:inference_first", str(models / "gpt2"), way, BATCH):
            assert found["losses"] == pytest.approx(wanted, abs=1e-5)


def test_processes_that_shard_parameters_average_over_their_batches(models: Path, registry_ranks: RankPool) -> None:
    """Of other lengths, with other padding, and of other clusters of words."""
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    padded = [{**BATCH, "attention_mask": mask}, {"input_ids": IDS[:, :4], "labels": IDS[:, :4]}]
    apart = [{"input_ids": ids, "labels": ids} for ids in (IDS, IDS[:, :5] + 40)]
    for name, batches in (("bert", padded), ("xl", apart)):
        model = registry.load_model(models / name)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        wanted = []
        for _ in range(3):
            losses = [model(**batch).loss for batch in batches]
            (sum(losses) / 2).backward()
            optimizer.step()
            optimizer.zero_grad()
            wanted.append([loss.item() for loss in losses])
        found = registry_ranks.run(f"{RANKED}:own_batches", str(models / name), "fsdp", batches)
        torch.testing.assert_close(torch.tensor(found).t(), torch.tensor(wanted), atol=1e-5, rtol=0)


@pytest.mark.parametrize("way", ["tp", "fsdp"])
@pytest.mark.parametrize(
    ("how", "tolerance"), [("fused", 1e-5), ("foreach", 1e-5), ("recomputed", 1e-5), ("autocast", 0.02)]
)
def test_tools_of_training_work(models: Path, way: str, how: str, tolerance: float, registry_ranks: RankPool) -> None:
    wanted = function(f"{RANKED}:trained")(models / "gpt2", None, BATCH, how)
    for found in registry_ranks.run(f"{RANKED}:trained", str(models / "gpt2"), way, BATCH, how):
        assert found == pytest.approx(wanted, abs=tolerance)


def test_a_plan_that_cuts_across_queries_and_keys_shows_in_the_numbers(models: Path, registry_ranks: RankPool) -> None:
    """Nothing else could notice it: which is why the conformance kit compares numbers."""
    wanted = registry.load_model(models / "gpt2")(IDS).logits
    for found in registry_ranks.run(f"{RANKED}:divided_across", str(models / "gpt2"), {"input_ids": IDS}):
        assert (found - wanted).abs().max() > 0.01


def test_dropout_with_seeds_apart_is_refused(models: Path, registry_ranks: RankPool) -> None:
    for kind, message in registry_ranks.run(f"{RANKED}:seeds_apart", str(models / "gpt2"), BATCH):
        assert kind == "ParallelError"
        assert "random numbers" in message
