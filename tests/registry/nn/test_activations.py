"""Activation functions, beside those of transformers."""

import pytest
import torch
from torch.testing import assert_close
from transformers.activations import ACT2FN

from registry.config.fields import ACTIVATIONS
from registry.nn.activations import ACTIVATION_FUNCTIONS


def test_a_configuration_may_name_exactly_the_functions_that_there_are() -> None:
    assert set(ACTIVATION_FUNCTIONS) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_function_is_the_one_which_transformers_knows_by_this_name(name: str) -> None:
    x = torch.linspace(-8, 8, 1001, dtype=torch.float64)
    assert_close(ACTIVATION_FUNCTIONS[name](x), ACT2FN[name](x))
