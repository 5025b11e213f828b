"""Whatever stands in the padding and wherever it stands, the rows of tokens are the same."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from registry.errors import InputError
from registry.nn.attention import attention
from registry.nn.packing import AllRows, Rows, RowsWithWeights, TokenRows, rows_of

KINDS: tuple[Callable[[Tensor], Rows], ...] = (TokenRows, AllRows, RowsWithWeights)
HEADS = 2


def mask_of(*lines: str) -> Tensor:
    """A mask from pictures of its sequences: ``#`` is a token."""
    return torch.tensor([[sign == "#" for sign in line] for line in lines])


def masks(most: int = 6) -> st.SearchStrategy[Tensor]:
    """Any mask at all: padding left, right and inside, empty sequences, nothing but padding."""
    shapes = st.tuples(st.integers(1, most), st.integers(1, most))
    return shapes.flatmap(
        lambda shape: st.lists(st.booleans(), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]).map(
            lambda bits: torch.tensor(bits, dtype=torch.bool).view(shape)
        )
    )


def batch_for(mask: Tensor, width: int = 4) -> Tensor:
    return torch.randn(*mask.shape, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def mixed(rows: Rows, x: Tensor) -> Tensor:
    """One round of attention, from a batch to a batch."""
    packed = rows.pack(x).unflatten(-1, (HEADS, -1))
    return rows.unpack(rows.attend(packed, 2 * packed, packed - 1).flatten(-2))


def one_by_one(mask: Tensor, x: Tensor) -> Tensor:
    """The reference: each sequence alone, without padding."""
    result = torch.zeros_like(x)
    for number, tokens in enumerate(mask):
        alone = x[number, tokens].unflatten(-1, (HEADS, -1))
        result[number, tokens] = attention(alone, 2 * alone, alone - 1).flatten(-2)
    return result


@settings(deadline=None, max_examples=60)
@given(masks())
def test_every_kind_of_rows_attends_as_each_sequence_does_alone(mask: Tensor) -> None:
    x = batch_for(mask)
    for kind in KINDS:
        assert_close(mixed(kind(mask), x), one_by_one(mask, x))
    assert_close(mixed(rows_of(mask), x), one_by_one(mask, x))


@settings(deadline=None, max_examples=30)
@given(masks())
def test_a_bias_of_distances_is_that_of_each_sequence_alone(mask: Tensor) -> None:
    table = torch.randn(2 * mask.shape[1], HEADS, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    positions = torch.arange(mask.shape[1])
    bias = table[positions - positions[:, None] + mask.shape[1]].permute(2, 0, 1)
    x = batch_for(mask).unflatten(-1, (HEADS, -1))
    for kind in KINDS:
        rows = kind(mask)
        packed = rows.pack(x)
        mixed = rows.unpack(rows.attend(packed, 2 * packed, packed - 1, bias=bias))
        for number, tokens in enumerate(mask):
            alone = x[number, tokens]
            wanted = attention(alone, 2 * alone, alone - 1, mask=bias[:, tokens][:, :, tokens])
            assert_close(mixed[number, tokens], wanted)
    assert_close(
        AllRows().attend(x, 2 * x, x - 1, bias=bias), attention(x, 2 * x, x - 1, mask=bias.expand(len(x), -1, -1, -1))
    )


@settings(deadline=None, max_examples=60)
@given(masks())
def test_unpacking_restores_tokens_and_clears_padding(mask: Tensor) -> None:
    x = batch_for(mask)
    for kind in KINDS:
        rows = kind(mask)
        restored = rows.unpack(rows.pack(x), padding=-7.0)
        assert torch.equal(restored[mask], x[mask])
        assert (restored[~mask] == -7.0).all()


@settings(deadline=None, max_examples=30)
@given(masks())
def test_gradients_are_those_of_each_sequence_alone(mask: Tensor) -> None:
    def gradient(function: Callable[[Tensor], Tensor]) -> Tensor:
        x = batch_for(mask).requires_grad_()
        function(x).square().sum().backward()
        assert x.grad is not None
        return x.grad

    expected = gradient(lambda x: one_by_one(mask, x))
    for kind in KINDS:
        assert_close(gradient(lambda x: mixed(kind(mask), x)), expected)  # noqa: B023


def test_gradients_agree_with_finite_differences() -> None:
    mask = mask_of("##-", "-#-", "---")
    x = batch_for(mask).requires_grad_()
    for kind in KINDS:
        assert torch.autograd.gradcheck(lambda x: mixed(kind(mask), x), x)  # noqa: B023


@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_padding_are_dropped_or_replaced(kind: Callable[[Tensor], Rows]) -> None:
    mask = mask_of("-##", "#--")
    packed = kind(mask).pack(torch.tensor([[1, 2, 3], [4, 5, 6]]), padding=-100)
    assert sorted(packed[packed >= 0].tolist()) == [2, 3, 4]


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_nothing_but_padding_is_zero(kind: Callable[[Tensor], Rows]) -> None:
    mask = mask_of("--", "--")
    assert torch.equal(mixed(kind(mask), batch_for(mask)), torch.zeros(2, 2, 4, dtype=torch.float64))


def test_a_batch_without_sequences_stays_one() -> None:
    mask = torch.ones(0, 3, dtype=torch.bool)
    assert mixed(rows_of(mask), batch_for(mask)).shape == (0, 3, 4)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.int64, torch.float32, torch.bfloat16])
def test_a_mask_may_be_of_any_type(dtype: torch.dtype) -> None:
    mask = mask_of("##-", "#--")
    x = batch_for(mask)
    for kind in (*KINDS, rows_of):
        assert_close(mixed(kind(mask.to(dtype)), x), one_by_one(mask, x))


def test_sequences_of_one_length_attend_together() -> None:
    mask = mask_of("###-", "#---", "-###", "#-##")
    calls = []

    rows = TokenRows(mask)
    original = nn.functional.scaled_dot_product_attention

    def counted(query: Tensor, *others: Tensor, **options: object) -> Tensor:
        calls.append(tuple(query.shape))
        return original(query, *others, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.functional, "scaled_dot_product_attention", counted)
        mixed(rows, batch_for(mask))
    assert calls == [(1, HEADS, 1, 2), (3, HEADS, 3, 2)]


def test_padding_is_packed_away_only_where_lengths_may_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = mask_of("##", "#-")
    assert type(rows_of(None)) is AllRows
    assert type(rows_of(mask)) is TokenRows
    assert type(rows_of(mask | True)) is AllRows
    assert type(rows_of(mask.to("meta"))) is AllRows  # stands for every device that is not a CPU
    for tracer in (torch.compiler, "is_compiling"), (torch.jit, "is_tracing"):
        with monkeypatch.context() as patch:
            patch.setattr(*tracer, lambda: True)
            assert type(rows_of(mask)) is AllRows


def test_without_padding_no_mask_is_passed_to_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = []
    original = nn.functional.scaled_dot_product_attention

    def audited(*tensors: Tensor, attn_mask: Tensor | None = None, **options: float) -> Tensor:
        masks.append(attn_mask)
        return original(*tensors, attn_mask=attn_mask, **options)

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", audited)
    mask = mask_of("##", "##")
    mixed(rows_of(mask), batch_for(mask))
    assert masks == [None]


def test_rows_with_weights_keep_the_weights_of_each_attention() -> None:
    mask = mask_of("##-", "---")
    rows = RowsWithWeights(mask)
    mixed(rows, batch_for(mask))
    mixed(rows, batch_for(mask))
    assert [weights.shape for weights in rows.attentions] == [(2, HEADS, 3, 3)] * 2
    assert_close(rows.attentions[0].sum(-1), torch.ones(2, HEADS, 3, dtype=torch.float64))
    assert (rows.attentions[0][0, :, :, 2] == 0).all()
    assert TokenRows(mask).attentions is None
    assert AllRows(mask).attentions is None


def test_a_mask_of_another_batch_is_refused() -> None:
    with pytest.raises(InputError, match=r"\(1, 3\).*\(1, 4, 2\)"):
        TokenRows(mask_of("##-")).pack(torch.zeros(1, 4, 2))
