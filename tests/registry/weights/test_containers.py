"""State dicts in what training programs save: found under the usual keys, otherwise named."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from registry.errors import WeightsMismatchError
from registry.weights.containers import CONTAINERS, opened, state_dict
from registry.weights.torch.reader import headers, load

TENSORS = {"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2)}
OPTIMIZER = {"state": {0: {"step": torch.ones(()), "exp_avg": torch.ones(2, 3)}}, "param_groups": [{"lr": 0.1}]}
NAME = "pytorch_model.bin"


def names_in(content: object, folder: Path) -> list[str]:
    """The names in a file that holds ``content``; with torch and without."""
    torch.save(content, folder / NAME)
    found = list(load({NAME: folder / NAME}))
    assert found == list(headers({NAME: folder / NAME}))
    return found


@pytest.mark.parametrize(
    "content",
    [
        *({key: TENSORS, "epoch": 3} for key in CONTAINERS),
        {"model": OrderedDict(TENSORS), "optimizer": OPTIMIZER, "loss": torch.tensor(0.1)},
        {"state_dict": {"state_dict": TENSORS}},
        {"module": {"model": TENSORS}, "ds_version": "0.14"},
        {"state_dict": TENSORS, "pytorch-lightning_version": "2.4", "optimizer_states": [OPTIMIZER]},
        {"model": TENSORS, "rng": {"cpu": torch.ones(4)}},
    ],
    ids=lambda content: "+".join(content),
)
def test_the_state_dict_of_a_training_program_is_found(content: object, tmp_path: Path) -> None:
    assert names_in(content, tmp_path) == list(TENSORS)
    assert list(opened(content, torch.Tensor, "it")) == list(TENSORS)


def test_a_state_dict_with_the_name_of_a_container_stays_as_it_is() -> None:
    bare = {"model": torch.ones(1), "weights": torch.ones(1)}
    assert opened(bare, torch.Tensor, "it") is bare
    assert opened({}, torch.Tensor, "it") == {}


@pytest.mark.parametrize("other", ["state_dict_ema", "ema"])
def test_two_state_dicts_with_the_same_names_are_named_and_none_is_guessed(other: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsMismatchError, match=rf"several state dicts: 'state_dict', '{other}'"):
        names_in({"state_dict": TENSORS, other: TENSORS}, tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"weird": TENSORS}, r"holds a dict under 'weird'.*\n.*weights_only=True\)\['weird'\]"),
        ({"weird": OPTIMIZER}, r"holds a dict under 'weird'.*\n.*'state_dict' or 'model_state_dict' or 'model'"),
        (
            {**TENSORS, "epoch": 3},
            r"holds an int under 'epoch'.*\n.*state_dict=\{name: value for name, value in torch.load",
        ),
        ({"lr": 0.1, "epoch": 3}, r"holds a float under 'lr'.*\n.*'state_dict' or 'model_state_dict' or 'model'"),
        ((TENSORS, OPTIMIZER), "holds a tuple, not a dict of tensors"),
    ],
)
def test_anything_else_is_named(content: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsMismatchError, match=said):
        names_in(content, tmp_path)


def test_containers_in_containers_without_an_end_are_refused() -> None:
    endless: dict[str, Any] = {}
    endless["model"] = endless
    with pytest.raises(WeightsMismatchError):
        state_dict(endless, torch.Tensor, "it")
