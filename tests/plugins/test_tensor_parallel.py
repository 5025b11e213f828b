"""Layers that a user divides among two processes by hand give the numbers of the whole model, or an error."""

from pathlib import Path
from typing import Any

import pytest

from registry.testing.ranks import RankPool

WHOLE = (
    "bert",
    "bert with its vocabulary",
    "llama",
    "llama, as many keys as queries",
    "gpt2 by heads",
    "gpt by heads",
    "gpt2 as nn.Linear, gathered",
)
"""Cases with the numbers of the whole model."""
REFUSED = {
    "bert, keys and values alone": "InputError",
    "bert, queries alone": "InputError",
    "llama, queries alone": "InputError",
    "gpt2 as nn.Linear": "UnsupportedError",
    "gpt2 as it is": "NotImplementedError",
    "transfo_xl": "UnsupportedError",
    "transfo_xl, distances alone": "InputError",
}
"""Cases that would be wrong, and the error; torch's own where its styles do not know a layer."""


@pytest.fixture(scope="module")
def outcomes(registry_ranks: RankPool) -> list[dict[str, Any]]:
    """What became of each case, in each of the two processes."""
    return registry_ranks.run(f"{Path(__file__).with_name('tensor_parallel.py')}:outcomes")


@pytest.mark.slow
def test_divided_layers_give_the_numbers_of_the_whole_model(outcomes: list[dict[str, Any]]) -> None:
    for found in outcomes:
        assert {name: found[name] < 1e-5 for name in WHOLE} == dict.fromkeys(WHOLE, True), found


@pytest.mark.slow
def test_what_would_be_wrong_is_an_error(outcomes: list[dict[str, Any]]) -> None:
    for found in outcomes:
        assert {name: found[name] for name in REFUSED} == REFUSED
        assert set(found) == {*WHOLE, *REFUSED}
