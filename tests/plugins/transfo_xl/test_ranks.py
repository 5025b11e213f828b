"""Transformer-XL on two ranks of torch's DistributedDataParallel, of which one has no rare words in its batches."""

from pathlib import Path

from registry.testing.ranks import RankPool

RANKED = Path(__file__).with_name("xl_ranked.py")  # another file of ranks has the shorter name


def test_gradients_on_two_ranks_are_the_mean_where_one_has_no_rare_words(registry_ranks: RankPool) -> None:
    for found in registry_ranks.run(f"{RANKED}:differences"):
        assert len(found) == 3
        assert max(found) < 1e-6
