"""Parallel plans: what a table may say, and what is an error, at the author's line or when the model is divided."""

import pytest
import torch
from torch import nn

from registry.errors import ParallelError
from registry.sharding.assignment import assignments, blocks_of, rules_of
from registry.sharding.plans import ParallelPlan
from registry.sharding.shares import Cut, portion, share
from registry.zoo import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel

GPT2 = GPT2Config(vocab_size=71, n_embd=24, n_layer=2, n_head=4, n_positions=32)


def gpt2(rules: dict[str, str], blocks: tuple[str, ...] = ("transformer.h.*",)) -> nn.Module:
    model = GPT2LMHeadModel(GPT2)
    model.parallel_plan = ParallelPlan(blocks=blocks, tensor=rules)  # type: ignore[misc]
    return model


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        ({"h.*.attn": "collwise"}, "Did you mean 'colwise'"),
        ({"h.*.attn": "rowwise:3"}, "has only colwise"),
        ({"h.*.attn": "colwise:x"}, "has only colwise"),
        ({"h.*.attn": 3}, "is not one of colwise, rowwise, vocabulary, scores, heads"),
    ],
)
def test_a_word_that_means_nothing_is_an_error_at_its_line(tensor: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ParallelPlan(blocks=("h.*",), tensor=tensor)


def test_a_text_in_place_of_names_is_an_error_at_its_line() -> None:
    with pytest.raises(ValueError, match="with the comma"):
        ParallelPlan(blocks="h.*")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"transformer.h.*.attention": "colwise"}, "has no such module"),
        ({"h.*.attn.c_attn": "colwise:3"}, "has no such module"),
        ({"transformer.h.*.attn.c_attn": "colwise:3", "transformer.h.0.attn.c_attn": "rowwise"}, "two rules"),
        ({"transformer.h.*.ln_1": "colwise"}, "no nn.Linear or Conv1D"),
        ({"transformer.h.*.mlp.c_fc": "vocabulary"}, "not a plain nn.Embedding"),
        ({"transformer.h.*.mlp.dropout": "heads"}, "no parameters of its own"),
        ({"transformer.wte": "vocabulary"}, "different ways: .*lm_head"),
        ({"transformer.wp*e": "rowwise"}, "'transformer.wpe' is of the class Embedding, no nn.Linear or Conv1D"),
        ({"transformer.h.*.attn.c_attn": "colwise:5"}, r"cannot share evenly in 5 sets.*\n.*`parted`"),
    ],
)
def test_a_rule_that_does_not_fit_is_an_error(rules: dict[str, str], message: str) -> None:
    with pytest.raises(ParallelError, match=message):
        assignments(gpt2(rules), 2)


def test_a_rule_for_a_part_that_a_class_lacks_is_none() -> None:
    from registry.zoo import GPT2Model

    assert len(rules_of(GPT2Model(GPT2))) > 1
    assert len(blocks_of(GPT2Model(GPT2))) == 2


def test_blocks_that_are_not_there_are_an_error() -> None:
    with pytest.raises(ParallelError, match="has no such module"):
        blocks_of(gpt2({}, blocks=("transformer.layers.*",)))


def test_blocks_of_a_part_that_a_class_lacks_are_none() -> None:
    model = gpt2({}, blocks=("transformer.h.*", "multiple_choice_head.summary"))
    assert model.layout.part_of("multiple_choice_head.summary.weight") is not None
    assert len(blocks_of(model)) == 2


def test_a_layer_that_computes_something_else_is_not_divided() -> None:
    class Scaled(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  # torch's name
            return 2 * super().forward(input)

    model = BertForMaskedLM(
        BertConfig(vocab_size=30, hidden_size=24, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48)
    )
    model.bert.encoder.layer[0].intermediate.dense = Scaled(24, 48)
    with pytest.raises(ParallelError, match="overrides forward"):
        assignments(model, 2)


def test_portions_are_those_of_torch() -> None:
    for size in range(1, 20):
        for processes in range(1, 6):
            whole = torch.arange(size)
            chunks = [*whole.chunk(processes), *[whole[:0]] * processes][:processes]
            for number, chunk in enumerate(chunks):
                start, stop = portion(0, size, number, processes)
                assert whole[start:stop].tolist() == chunk.tolist()


@pytest.mark.parametrize("axis", [0, 1])
def test_shares_of_fused_weights_put_together_are_the_weight(axis: int) -> None:
    """Two of tensor parallelism, each of whose parts three more divide on its other axis."""
    whole = torch.arange(12 * 12).view(12, 12)
    shape = (3, 4, 12) if axis == 0 else (12, 3, 4)
    other = 2 if axis == 0 else 0
    again = torch.zeros_like(whole)
    for inner in range(2):
        for outer in range(3):
            part = share(shape, [Cut(axis + 1, inner, 2), Cut(other, outer, 3)], axis)
            local = part.of(whole)
            assert tuple(local.shape) == part.sizes
            sets = whole.view(shape).narrow(axis + 1, 2 * inner, 2).narrow(other, 4 * outer, 4)
            assert torch.equal(local, sets.flatten(axis, axis + 1))
            part.put(local, again)
    assert torch.equal(again, whole)
