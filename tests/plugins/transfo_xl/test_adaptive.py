"""The adaptive embedding and softmax, compared with their formulas."""

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from plugins.transfo_xl.adaptive import AdaptiveEmbedding, AdaptiveLogSoftmax
from plugins.transfo_xl.config import TransfoXLConfig

KINDS: dict[str, dict[str, Any]] = {
    "fewer features": {"div_val": 2},
    "far fewer features": {"div_val": 4},
    "one table": {"div_val": 1},
    "one table, projected": {"div_val": 1, "d_embed": 20},
    "no cutoffs": {"div_val": 4, "cutoffs": []},
    "clusters of one word": {"cutoffs": [1, 2, 59], "div_val": 2},
}

each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def config_of(kind: dict[str, Any]) -> TransfoXLConfig:
    return TransfoXLConfig(**{"vocab_size": 60, "cutoffs": [8, 30], "d_model": 32, "d_embed": 32, **kind})


def drawn(layer: Any) -> Any:
    torch.manual_seed(1)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return layer


@each_kind
def test_each_word_is_embedded_by_the_table_of_its_cluster(kind: dict[str, Any]) -> None:
    layer, config = drawn(AdaptiveEmbedding(config_of(kind))), config_of(kind)
    for number, (start, stop) in enumerate(config.clusters if config.div_val > 1 else [(0, 60)]):
        expected = layer.emb_layers[number].weight * 32**0.5
        if len(layer.emb_projs):
            expected = expected @ layer.emb_projs[number].T
        assert_close(layer(torch.arange(start, stop)), expected)
    ids = torch.randint(0, 60, (3, 4, 5))
    assert_close(layer(ids), layer(ids.flatten()).view(3, 4, 5, 32))


@each_kind
def test_log_probabilities_are_those_of_the_cluster_and_of_the_word_in_it(kind: dict[str, Any]) -> None:
    layer, config = drawn(AdaptiveLogSoftmax(config_of(kind))), config_of(kind)
    x = torch.randn(7, 32)
    scores = layer(x)
    assert_close(scores.exp().sum(-1), torch.ones(7))
    weight = torch.cat([out.weight @ p.T for out, p in zip(layer.out_layers, layer.out_projs, strict=False)]) if (
        config.div_val > 1
    ) else None  # fmt: skip
    if weight is None:
        weight = torch.cat(
            [
                layer.out_layers[0].weight[start:stop]
                @ (layer.out_projs[n].T if len(layer.out_projs) else torch.eye(32))
                for n, (start, stop) in enumerate(config.clusters)
            ]
        )
    logits = x @ weight.T + torch.cat([out.bias for out in layer.out_layers])
    head = logits[:, : config.clusters[0][1]]
    if len(config.clusters) > 1:
        projected = x @ layer.out_projs[0] if len(layer.out_projs) else x
        head = torch.cat([head, projected @ layer.cluster_weight.T + layer.cluster_bias], dim=1)
    head = head.log_softmax(-1)
    parts = [head[:, : config.clusters[0][1]]]
    for number, (start, stop) in enumerate(config.clusters[1:]):
        of_cluster = head[:, config.clusters[0][1] + number, None]
        parts.append(of_cluster + logits[:, start:stop].log_softmax(-1))
    assert_close(scores, torch.cat(parts, dim=1), atol=1e-5, rtol=1e-5)


@each_kind
def test_losses_stand_in_the_order_of_the_targets(kind: dict[str, Any]) -> None:
    layer = drawn(AdaptiveLogSoftmax(config_of(kind)))
    x, target = torch.randn(4, 9, 32), torch.randint(0, 60, (4, 9))
    target[2] = torch.tensor([-1, -100, 0, 59, 8, 7, 29, 30, 1])
    expected = -layer(x).gather(-1, target.clamp(min=0)[..., None]).squeeze(-1).masked_fill(target < 0, 0.0)
    assert_close(layer.losses(x, target), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("top", [1, 3, 8, 9, 60])
@each_kind
def test_the_top_scores_are_right_and_all_probabilities_keep_their_sum(kind: dict[str, Any], top: int) -> None:
    layer = drawn(AdaptiveLogSoftmax(config_of(kind)))
    with torch.no_grad():
        if len(layer.clusters) > 1:
            layer.cluster_bias.sub_(torch.tensor([4.0, 0.0, 2.0][: len(layer.clusters) - 1]))
        x = torch.randn(50, 32)
        scores, spared = layer(x), layer(x, top)
    assert_close(spared.topk(top).values, scores.topk(top).values)
    assert_close(spared.logsumexp(-1), torch.zeros(50), atol=1e-5, rtol=0)
    assert torch.equal(spared.topk(top).indices.sort().values, scores.topk(top).indices.sort().values)


def test_unlikely_clusters_are_not_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = drawn(AdaptiveLogSoftmax(config_of({"div_val": 2})))
    scored: list[tuple[int, int]] = []
    tail = layer._tail
    monkeypatch.setattr(layer, "_tail", lambda rows, number: scored.append((len(rows), number)) or tail(rows, number))
    with torch.no_grad():
        layer.cluster_bias.copy_(torch.tensor([-50.0, 50.0]))
        layer(torch.randn(6, 32), 1)
        assert scored == [(6, 2)]
        scored.clear()
        layer.losses(torch.randn(3, 32), torch.tensor([0, 5, 12]))
        assert scored == [(1, 1)]
