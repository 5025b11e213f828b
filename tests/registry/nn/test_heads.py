import pytest
import torch
from torch.testing import assert_close

from registry.errors import InputError
from registry.nn.heads import ChoiceHead, last_tokens


@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (1, 2, 3)])
def test_a_text_is_judged_by_the_token_that_was_named(leading: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    head = ChoiceHead(4, dropout=0.5).eval()
    x = torch.randn(*leading, 5, 4)
    numbers = torch.randint(5, leading)
    flat = x.view(-1, 5, 4)[range(numbers.numel()), numbers.flatten()]
    assert_close(head(x, numbers), (flat @ head.summary.weight[0] + head.summary.bias).view(leading))
    assert_close(head(x, numbers.int()), head(x, numbers))


def test_numbers_that_do_not_fit_are_refused() -> None:
    head = ChoiceHead(4, dropout=0.0)
    with pytest.raises(InputError, match=r"between 0 and 4, but go from -1 to 2"):
        head(torch.randn(2, 5, 4), torch.tensor([2, -1]))
    with pytest.raises(InputError, match=r"shape \(2,\), not \(3,\)"):
        head(torch.randn(2, 5, 4), torch.tensor([0, 1, 2]))


def test_the_last_token_is_the_last_that_is_no_padding() -> None:
    ids = torch.ones(3, 4, dtype=torch.long)
    assert last_tokens(ids).tolist() == [3, 3, 3]
    mask = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]])
    assert last_tokens(ids, mask).tolist() == [1, 3, 0]
    longer = torch.cat([torch.ones(3, 2), mask], dim=1)
    assert last_tokens(ids.view(3, 1, 4), longer.view(3, 1, 6)).tolist() == [[1], [3], [0]]
