"""Arguments of forward: errors that name what does not fit, and when control flow may depend on values."""

import pytest
import torch
from torch import nn

from registry.errors import InputError, RegistryError
from registry.nn.inputs import can_branch_on, check_shape, embed_ids


def test_looking_up_gives_rows_or_names_the_ids_that_have_none() -> None:
    table = nn.Embedding(3, 2)
    assert torch.equal(embed_ids(table, torch.tensor([2, 0]), "input_ids"), table.weight[[2, 0]])
    with pytest.raises(InputError, match="input_ids must lie between 0 and 2, but go from 0 to 3") as caught:
        embed_ids(table, torch.tensor([0, 3]), "input_ids")
    assert "another model" in str(caught.value)


def test_a_shape_must_be_that_of_the_ids() -> None:
    ids = torch.zeros(2, 3)
    check_shape(None, ids, "labels")
    check_shape(torch.zeros(2, 3), ids, "labels")
    with pytest.raises(InputError, match=r"labels must have the shape of input_ids, \(2, 3\), not \(3, 2\)"):
        check_shape(torch.zeros(3, 2), ids, "labels")


def test_old_except_clauses_catch_the_error() -> None:
    assert issubclass(InputError, RegistryError)
    assert issubclass(InputError, ValueError)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit.trace
def test_control_flow_depends_on_values_in_eager_mode_on_a_cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = torch.ones(1)
    assert can_branch_on(tensor)
    assert not can_branch_on(tensor.to("meta"))
    seen = []
    torch.jit.trace(lambda x: seen.append(can_branch_on(x)) or x + 1, tensor, check_trace=False)
    assert set(seen) == {False}
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert not can_branch_on(tensor)
