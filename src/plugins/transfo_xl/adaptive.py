"""Adaptive embedding (Baevski & Auli, 2019) and adaptive softmax (Grave et al., 2017), as Transformer-XL has them.

Words are sorted by frequency and cut into clusters.  The first cluster is scored together with one score for each of
the others; only where another one matters are its own words scored.  Words of rarer clusters have fewer features.

Axes:  N tokens,  V words,  E features of a cluster's words,  D features of the model.
"""

from math import log
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from registry.errors import InputError
from registry.nn.inputs import can_branch_on, unknown_ids
from registry.nn.losses import IGNORED
from registry.nn.onednn import linear

from .config import TransfoXLConfig


def projections(config: TransfoXLConfig, number: int) -> nn.ParameterList:
    """As many projections, each ``(d_model, E)``, for the features of one cluster after the other; none if not needed.

    With ``div_val`` 1 all clusters have the same features.
    """
    widths = [width for _, width in config.tables] if config.div_val > 1 else [config.d_embed] * number
    return nn.ParameterList(
        [nn.Parameter(torch.empty(config.d_model, width)) for width in widths] if config.projects else []
    )


class AdaptiveEmbedding(nn.Module):
    """Embeds words, with fewer features in rarer clusters, and brings all to the width of the model."""

    def __init__(self, config: TransfoXLConfig) -> None:
        super().__init__()
        self.emb_layers: Any = nn.ModuleList(nn.Embedding(words, width) for words, width in config.tables)
        self.emb_projs = projections(config, 1)
        self.scale = config.d_model**0.5

    def forward(self, input_ids: Tensor) -> Tensor:
        """Embed ids of shape ``(...)`` as ``(..., D)``.  Raises InputError for an id that no word has, on a CPU."""
        try:
            embedded = self._embed(0, input_ids) if len(self.emb_layers) == 1 else self._by_cluster(input_ids)
        except IndexError as problem:
            words = sum(len(table.weight) for table in self.emb_layers)
            raise unknown_ids(input_ids, words, "input_ids") from problem
        return embedded * self.scale

    def _by_cluster(self, input_ids: Tensor) -> Tensor:
        ids = input_ids.flatten()
        embedded = self.emb_layers[0].weight.new_zeros(len(ids), self.emb_projs[0].shape[0])
        start = 0
        for number, table in enumerate(self.emb_layers):
            stop = start + len(table.weight)
            inside = (ids >= start) if number else torch.ones_like(ids, dtype=torch.bool)
            if number + 1 < len(self.emb_layers):
                inside = inside & (ids < stop)
            rows = inside.nonzero().flatten()  # an id below or above all words is looked up too, and refused
            if len(rows):
                embedded.index_copy_(0, rows, self._embed(number, ids[rows] - start))
            start = stop
        return embedded.view(*input_ids.shape, -1)

    def _embed(self, number: int, ids: Tensor) -> Tensor:
        embedded = self.emb_layers[number](ids)
        return linear(embedded, self.emb_projs[number]) if len(self.emb_projs) else embedded


class AdaptiveLogSoftmax(nn.Module):
    """Log-probabilities of words, or of given words only, from the features of the model.

    A word of the first cluster has its probability among the words of that cluster and the other clusters; a word of
    another one has the probability of its cluster times that among the cluster's words.
    """

    def __init__(self, config: TransfoXLConfig) -> None:
        super().__init__()
        self.clusters = config.clusters
        if len(self.clusters) > 1:
            self.cluster_weight = nn.Parameter(torch.empty(len(self.clusters) - 1, config.d_embed))
            self.cluster_bias = nn.Parameter(torch.empty(len(self.clusters) - 1))
        self.out_layers: Any = nn.ModuleList(nn.Linear(width, words) for words, width in config.tables)
        self.out_projs = projections(config, len(self.clusters))

    def forward(self, hidden: Tensor, best: int | None = None) -> Tensor:
        """Log-probabilities of all words, ``(..., V)``, for features of shape ``(..., D)``.

        Where only the ``best`` highest are asked for, a cluster that is less likely than all of them is not scored: its
        words get equal shares of its probability, so that the whole stays one.
        """
        rows = hidden.flatten(0, -2)
        head = self._head(rows).log_softmax(dim=-1)
        first = self.clusters[0][1]
        scores = [head[:, :first]]
        for number, (start, stop) in enumerate(self.clusters[1:], start=1):
            of_cluster = head[:, first + number - 1, None]
            scores.append(self._spread(rows, number, of_cluster, stop - start, _least(scores[0], best)))
        return torch.cat(scores, dim=-1).view(*hidden.shape[:-1], -1)

    def losses(self, hidden: Tensor, target: Tensor) -> Tensor:
        """Negative log-probabilities of the words ``target``, ``(...)``; zero where that is negative.

        Raises InputError for a target that no word has.
        """
        rows, targets = hidden.flatten(0, -2), target.flatten().long()
        _check_targets(targets, self.clusters[-1][1])
        first = self.clusters[0][1]
        in_head = targets.masked_fill(targets < 0, IGNORED)
        for number, (start, stop) in enumerate(self.clusters[1:], start=1):
            in_head = in_head.masked_fill((targets >= start) & (targets < stop), first + number - 1)
        losses = F.cross_entropy(self._head(rows), in_head, ignore_index=IGNORED, reduction="none")
        for number, (start, stop) in enumerate(self.clusters[1:], start=1):
            places = ((targets >= start) & (targets < stop)).nonzero().flatten()
            if len(places):
                scores = self._tail(rows[places], number)
                of_cluster = F.cross_entropy(scores, targets[places] - start, reduction="none")
                losses = losses.index_add(0, places, of_cluster)
        return losses.view(target.shape)

    # --- The scores of one cluster

    def _head(self, rows: Tensor) -> Tensor:
        """Scores of the first cluster's words, and of the other clusters, ``(N, words and clusters)``."""
        features = self._project(rows, 0)
        words = linear(features, *self._words(0))
        if len(self.clusters) == 1:
            return words
        return torch.cat([words, F.linear(features, self.cluster_weight, self.cluster_bias)], dim=-1)

    def _tail(self, rows: Tensor, number: int) -> Tensor:
        """Scores of the words of a cluster, ``(N, words)``."""
        return linear(self._project(rows, number), *self._words(number))

    def _words(self, number: int) -> tuple[Tensor, Tensor]:
        """Weight and bias of the words of a cluster, which is a part of one table where there is one."""
        if len(self.out_layers) > 1:
            layer = self.out_layers[number]
            return layer.weight, layer.bias
        start, stop = self.clusters[number]
        return self.out_layers[0].weight[start:stop], self.out_layers[0].bias[start:stop]

    def _project(self, rows: Tensor, number: int) -> Tensor:
        """The features by which words of a cluster are scored, ``(N, E)``."""
        return rows @ self.out_projs[number] if len(self.out_projs) else rows

    def _spread(self, rows: Tensor, number: int, of_cluster: Tensor, words: int, least: Tensor | None) -> Tensor:
        """Log-probabilities of the words of a cluster, of which that of the cluster is ``of_cluster``, ``(N, 1)``.

        Where it is below ``least``, all get the same.
        """
        if least is None or not can_branch_on(of_cluster):
            return of_cluster + self._tail(rows, number).log_softmax(dim=-1)
        spread = (of_cluster - log(words)).repeat(1, words)
        wanted = (of_cluster >= least).flatten().nonzero().flatten()
        if len(wanted):
            spread[wanted] = of_cluster[wanted] + self._tail(rows[wanted], number).log_softmax(dim=-1)
        return spread


def _least(scores: Tensor, best: int | None) -> Tensor | None:
    """The lowest of the ``best`` highest scores of each row, ``(N, 1)``; None where all are wanted."""
    return None if best is None or best > scores.shape[-1] else scores.topk(best).values[:, -1:]


def _check_targets(targets: Tensor, words: int) -> None:
    """Raise InputError for a target beyond all words, on a CPU; a GPU stops with an assertion of its own."""
    if can_branch_on(targets) and targets.numel() and targets.max() >= words:
        raise InputError(f"Targets must be below {words}, the number of words, but go up to {targets.max()}.")
