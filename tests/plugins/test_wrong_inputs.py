"""What does not fit a model is called that, in every architecture: never an error of torch, never another number."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from registry.errors import InputError
from registry.zoo import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    TransfoXLConfig,
    TransfoXLLMHeadModel,
)

GPT = {"vocab_size": 20, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 9}
MODELS: dict[str, Callable[..., Any]] = {
    "bert": lambda: BertForMaskedLM(
        BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    ),
    "gpt": lambda **sizes: OpenAIGPTLMHeadModel(OpenAIGPTConfig(**{**GPT, **sizes})),
    "gpt2": lambda **sizes: GPT2LMHeadModel(GPT2Config(**{**GPT, **sizes})),
    "transfo_xl": lambda: TransfoXLLMHeadModel(
        TransfoXLConfig(
            vocab_size=20, cutoffs=(9,), d_model=8, d_embed=8, n_head=2, d_head=4, d_inner=8, n_layer=2, mem_len=4
        )
    ),
}
IDS = torch.tensor([[3, 7, 9, 2], [4, 6, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])

each_model = pytest.mark.parametrize("name", MODELS)
each_gpt = pytest.mark.parametrize("name", ["gpt", "gpt2"])


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    return str(caught.value)


@each_model
@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.uint8, torch.int16])
def test_ids_of_another_type_are_called_that(name: str, dtype: torch.dtype) -> None:
    message = refused(lambda: MODELS[name]()(IDS.to(dtype)))
    assert f"input_ids must be of the type torch.long, not {dtype}" in message


@each_model
def test_ids_that_are_no_tensor_are_called_that(name: str) -> None:
    assert "must be a tensor, not a list" in refused(lambda: MODELS[name]()(IDS.tolist()))
    assert "model(**batch)" in refused(lambda: MODELS[name]()({"input_ids": IDS}))


@each_model
@pytest.mark.parametrize("least", [-10_000.0, float("-inf"), float("nan")])
def test_a_mask_to_be_added_to_scores_is_not_taken_for_its_reverse(name: str, least: float) -> None:
    model = MODELS[name]()
    added = torch.zeros(2, 4).masked_fill(MASK == 0, least)
    assert "must be 1 at tokens and 0 at padding" in refused(lambda: model(IDS, attention_mask=added))
    if name != "bert":
        refused(lambda: model.generate(IDS, attention_mask=added, max_new_tokens=1))
    model.eval()
    for fits in (MASK.float(), MASK.bool(), MASK * 2):
        torch.testing.assert_close(
            model(IDS, attention_mask=fits).logits, model(IDS, attention_mask=MASK).logits, equal_nan=True
        )


@pytest.mark.parametrize("name", ["bert", "gpt", "gpt2"])
@pytest.mark.parametrize("positions", [torch.arange(3), torch.arange(4)[:, None], torch.zeros(3, 4), torch.tensor(1)])
def test_positions_of_another_shape_are_called_that(name: str, positions: Tensor) -> None:
    message = refused(lambda: MODELS[name]()(IDS, position_ids=positions.long()))
    assert "position_ids must have the shape of input_ids, (2, 4), or (4,)" in message


@each_gpt
@pytest.mark.parametrize("wanted", [True, False])
def test_a_past_of_another_model_or_batch_is_called_that(name: str, wanted: bool) -> None:
    model = MODELS[name]()

    def after(other: Any, ids: Tensor = IDS) -> str:
        past = other(ids, use_cache=True).past_key_values
        return refused(lambda: model(IDS, past_key_values=past, use_cache=wanted))

    for layers in (1, 3):
        assert f"are of {layers} layers, where the model has 2" in after(MODELS[name](n_layer=layers))
    assert "are of 1 sequences and 2 heads, the new tokens of 2 and 2" in after(model, IDS[:1])
    assert "are of 2 sequences and 4 heads" in after(MODELS[name](n_head=4))


def test_a_memory_is_of_tensors_in_whatever_precision() -> None:
    model = MODELS["transfo_xl"]().eval()
    read = model(IDS)
    assert "mems must be tensors" in refused(lambda: model(IDS, mems=[None, None]))
    found = model(IDS, mems=[state.double() for state in read.mems]).logits
    torch.testing.assert_close(found, model(IDS, mems=read.mems).logits)
