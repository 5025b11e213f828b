"""What forward is given: signatures that show every keyword, and errors that name what does not fit."""

import inspect

import pytest
import torch
from torch import nn

from registry.errors import InputError, RegistryError
from registry.nn.inputs import check_shape, embed_ids, with_keywords_of


def inner(ids: int, *, mask: int | None = None, deep: bool = False) -> None: ...


def test_a_signature_shows_the_keywords_that_are_passed_on() -> None:
    @with_keywords_of(inner)
    def outer(ids: int, *, labels: int | None = None, **inputs: int) -> str:
        return f"{ids} {labels} {inputs}"

    shown = "(ids: int, *, labels: int | None = None, mask: int | None = None, deep: bool = False) -> str"
    assert str(inspect.signature(outer)) == shown
    assert outer(1, labels=2, mask=3) == "1 2 {'mask': 3}"


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
