"""Adaptive embedding (Baevski & Auli, 2019) and adaptive softmax (Grave et al., 2017), as Transformer-XL has them.

Words are sorted by frequency and cut into clusters.  The first cluster is scored together with one score for each of
the others, whose words are scored only where they matter.  Words of rarer clusters have fewer features.

Axes:  N tokens,  V words,  E features of a cluster's words,  D features of the model.
"""

from math import log
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from registry.errors import InputError
from registry.nn.inputs import (
    can_branch_on,
    carries_hook,
    check_shape,
    check_type,
    class_numbers,
    is_traced,
    rows_in,
    unknown_ids,
)
from registry.nn.linear import FunctionalLinear
from registry.nn.losses import IGNORED, next_tokens

from .config import TransfoXLConfig


class Projections(nn.ParameterList):
    """Projections, ``(d_model, E)`` each, of the features of the clusters; none where the widths agree.

    Args:
        config: The configuration.
        number: How many there are with ``div_val`` 1, where all clusters have features of one width.
    """

    __call__ = nn.Module.__call__  # libraries that offload parameters bring those of a module when it is called

    def __init__(self, config: TransfoXLConfig, number: int) -> None:
        widths = [width for _, width in config.tables] if config.div_val > 1 else [config.d_embed] * number
        super().__init__(
            [nn.Parameter(torch.empty(config.d_model, width)) for width in widths] if config.projects else []
        )

    def forward(self, number: int) -> Tensor:
        """The projection of a cluster, ``(d_model, E)``."""
        projection: Tensor = self[number]
        return projection


class AdaptiveEmbedding(nn.Module):
    """Embedding with fewer features in rarer clusters, projected to the width of the model."""

    def __init__(self, config: TransfoXLConfig) -> None:
        super().__init__()
        self.emb_layers: Any = nn.ModuleList(nn.Embedding(words, width) for words, width in config.tables)
        self.emb_projs = Projections(config, 1)
        self.linear = FunctionalLinear()
        self.scale = config.d_model**0.5

    def forward(self, input_ids: Tensor) -> Tensor:
        """Embed ids.

        Args:
            input_ids: ``(...)``.

        Returns:
            ``(..., D)``.

        Raises:
            InputError: No word has this id; on a CPU.
        """
        check_type(input_ids, "input_ids")
        try:
            embedded = self._embed(0, input_ids) if len(self.emb_layers) == 1 else self._by_cluster(input_ids)
        except IndexError as problem:
            words = sum(rows_in(table) for table in self.emb_layers)
            raise unknown_ids(input_ids, words, "input_ids") from problem
        return embedded * self.scale

    def _by_cluster(self, input_ids: Tensor) -> Tensor:
        ids = input_ids.flatten()
        embedded = self._of_all(ids) if _has_fixed_shapes(ids) else self._of_present(ids)
        return embedded.view(*input_ids.shape, -1)

    def _of_present(self, ids: Tensor) -> Tensor:
        """Features of ids, ``(N, D)``, from the words of each cluster that is present.

        With gradients, from all clusters: distributed training waits for a gradient of each parameter.
        """
        embedded: Any = None
        start = 0
        for number, table in enumerate(self.emb_layers):
            stop = start + rows_in(table)
            inside = (ids >= start) if number else torch.ones_like(ids, dtype=torch.bool)
            if number + 1 < len(self.emb_layers):
                inside = inside & (ids < stop)
            rows = inside.nonzero().flatten()  # an id below or above all words is embedded too, and refused
            if not number or len(rows) or torch.is_grad_enabled():
                of_cluster = self._embed(number, ids[rows] - start)
                embedded = of_cluster.new_zeros(len(ids), of_cluster.shape[1]) if embedded is None else embedded
                embedded.index_copy_(0, rows, of_cluster)
            start = stop
        found: Tensor = embedded
        return found

    def _of_all(self, ids: Tensor) -> Tensor:
        """The same, from every cluster for each token: no shape depends on the ids."""
        embedded = self._embed(0, ids.clamp(max=rows_in(self.emb_layers[0]) - 1))
        start = 0
        for number, table in enumerate(self.emb_layers[1:], start=1):
            start += rows_in(self.emb_layers[number - 1])
            last = None if number + 1 == len(self.emb_layers) else rows_in(table) - 1
            of_cluster = self._embed(number, (ids - start).clamp(min=0, max=last))
            embedded = of_cluster.where((ids >= start)[:, None], embedded)
        return embedded

    def _embed(self, number: int, ids: Tensor) -> Tensor:
        embedded = self.emb_layers[number](ids)
        if not len(self.emb_projs):
            return embedded
        return self.linear(embedded, self.emb_projs(number)).to(embedded.dtype)  # under autocast as without projections


class AdaptiveLogSoftmax(nn.Module):
    """Log-probabilities of words, from the features of the model.

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
        self.out_projs = Projections(config, len(self.clusters))
        self.linear = FunctionalLinear()

    def forward(self, hidden: Tensor, top: int | None = None, *, target: Tensor | None = None) -> Tensor:
        """Log-probabilities of all words; or the losses of given ones, which need a small part of them.

        Args:
            hidden: Features, ``(..., D)``.
            top: How many of the highest must be right; None for all.  A cluster that is less likely than all of them is
                not scored: its words get equal shares of its probability, so that the sum stays one.
            target: The words whose losses are wanted, ``(...)``; see ``losses``.

        Returns:
            ``(..., V)``, or with a target ``(...)``.
        """
        if target is not None:
            return self.losses(hidden, target)
        rows = hidden.flatten(0, -2)
        head = self._head(rows).log_softmax(dim=-1)
        first = self.clusters[0][1]
        scores = [head[:, :first]]
        for number, (start, stop) in enumerate(self.clusters[1:], start=1):
            of_cluster = head[:, first + number - 1, None]
            scores.append(self._spread(rows, number, of_cluster, stop - start, _least(scores[0], top)))
        return torch.cat(scores, dim=-1).view(*hidden.shape[:-1], -1)

    def losses(self, hidden: Tensor, target: Tensor) -> Tensor:
        """Negative log-probabilities of given words.

        Args:
            hidden: Features, ``(..., D)``.
            target: The words, ``(...)``.

        Returns:
            ``(...)``, zero where the target is negative.

        Raises:
            InputError: No word has this id; on a CPU.
        """
        target = class_numbers(target, hidden.shape[:-1], self.clusters[-1][1], "target")
        rows, targets = hidden.flatten(0, -2), target.flatten().long()
        first = self.clusters[0][1]
        in_head = targets.masked_fill(targets < 0, IGNORED)
        for number, (start, stop) in enumerate(self.clusters[1:], start=1):
            in_head = in_head.masked_fill((targets >= start) & (targets < stop), first + number - 1)
        losses = F.cross_entropy(self._head(rows), in_head, ignore_index=IGNORED, reduction="none")
        for number, (start, stop) in enumerate(self.clusters[1:], start=1):
            in_cluster = (targets - start).masked_fill((targets < start) | (targets >= stop), IGNORED)
            losses = self._add_tail(losses, rows, in_cluster, number)
        return losses.view(target.shape)

    def _add_tail(self, losses: Tensor, rows: Tensor, in_cluster: Tensor, number: int) -> Tensor:
        """Add the losses within a cluster, whose words ``in_cluster`` counts from 0; it is negative at other words.

        With gradients, also where there are no such words: distributed training waits for a gradient of each parameter.
        """
        if _has_fixed_shapes(rows):
            scores = self._tail(rows, number)
            return losses + F.cross_entropy(scores, in_cluster, ignore_index=IGNORED, reduction="none")
        present = (in_cluster >= 0).nonzero().flatten()
        if not len(present) and not torch.is_grad_enabled():
            return losses
        scores = self._tail(rows[present], number)
        return losses.index_add(0, present, F.cross_entropy(scores, in_cluster[present], reduction="none"))

    # --- The scores of one cluster

    def _head(self, rows: Tensor) -> Tensor:
        """Scores of the first cluster's words, and of the other clusters, ``(N, words and clusters)``."""
        features = self._project(rows, 0)
        words = self._words(features, 0)
        if len(self.clusters) == 1:
            return words
        return torch.cat([words, F.linear(features, self.cluster_weight, self.cluster_bias)], dim=-1)

    def _tail(self, rows: Tensor, number: int) -> Tensor:
        """Scores of the words of a cluster, ``(N, words)``."""
        return self._words(self._project(rows, number), number)

    def _words(self, features: Tensor, number: int) -> Tensor:
        """Scores of the words of a cluster, ``(N, words)``, by a part of the table where all clusters share one."""
        if len(self.out_layers) == len(self.clusters):
            scores: Tensor = self.out_layers[number](features)
            return scores
        (table,), (start, stop) = self.out_layers, self.clusters[number]
        if type(table) is not nn.Linear or carries_hook(table):  # an adapter is not part of the weight
            return table(features)[:, start:stop]
        return self.linear(features, table.weight[start:stop], table.bias[start:stop])

    def _project(self, rows: Tensor, number: int) -> Tensor:
        """The features by which words of a cluster are scored, ``(N, E)``."""
        return rows @ self.out_projs(number) if len(self.out_projs) else rows

    def _spread(self, rows: Tensor, number: int, of_cluster: Tensor, words: int, least: Tensor | None) -> Tensor:
        """Log-probabilities of the words of a cluster, itself of log-probability ``of_cluster``, ``(N, 1)``.

        Where that is below ``least``, all words get the same.
        """
        if least is None or not can_branch_on(of_cluster):
            return of_cluster + self._tail(rows, number).log_softmax(dim=-1)
        spread = (of_cluster - log(words)).repeat(1, words)
        wanted = (of_cluster >= least).flatten().nonzero().flatten()
        if len(wanted):
            spread[wanted] = of_cluster[wanted] + self._tail(rows[wanted], number).log_softmax(dim=-1)
        return spread


def _least(scores: Tensor, top: int | None) -> Tensor | None:
    """The lowest of the ``top`` highest scores of each row, ``(N, 1)``; None where all are wanted."""
    return None if top is None or top > scores.shape[-1] else scores.topk(top).values[:, -1:]


def _has_fixed_shapes(x: Tensor) -> bool:
    """Whether shapes may not depend on values: what is recorded or transformed has none, nor have tensors on meta."""
    return is_traced() or x.is_meta or type(x) is not Tensor


def predicted_words(
    tokens: Tensor, labels: Tensor | None, target: Tensor | None, mask: Tensor | None, vocab_size: int
) -> Tensor | None:
    """The words whose losses are wanted, negative where none is; None where none are.

    Args:
        tokens: The ids that are read, or the features in their place, ``(batch, tokens, ...)``.
        labels: The ids themselves, ``(batch, tokens)``, which are shifted here.
        target: The words that follow, ``(batch, tokens)``, not shifted.
        mask: 0 at padding, ``(batch, tokens)``.
        vocab_size: V.

    Returns:
        ``(batch, tokens)``.

    Raises:
        InputError: A shape does not fit, or both labels and a target are given.
    """
    check_shape(labels, tokens, "labels")
    check_shape(target, tokens, "target")
    if labels is None:
        return target if target is None or mask is None else target.masked_fill(mask == 0, IGNORED)
    if target is not None:
        raise InputError(
            "labels and target are two forms of one thing (target is shifted by one token): pass only one."
        )
    return next_tokens(class_numbers(labels, tokens.shape, vocab_size), mask)
