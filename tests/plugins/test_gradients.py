"""Gradients where tools look for them: hidden states in the graph, layers that are computed again."""

import copy
import importlib
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    CheckpointImpl,
    apply_activation_checkpointing,
    checkpoint_wrapper,
)
from torch.testing import assert_close

from registry.errors import InputError

BERT: dict[str, Any] = {
    "vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 40,
    "max_position_embeddings": 20, "initializer_range": 0.3,
}  # fmt: skip
GPT: dict[str, Any] = {
    "vocab_size": 61, "n_positions": 20, "n_embd": 24, "n_layer": 3, "n_head": 4, "initializer_range": 0.3,
}  # fmt: skip
XL: dict[str, Any] = {
    "vocab_size": 61, "cutoffs": [9, 25], "d_model": 32, "d_embed": 32, "n_head": 4, "d_head": 8, "d_inner": 40,
    "n_layer": 3, "div_val": 2, "tgt_len": 8, "mem_len": 6, "init_std": 0.2, "proj_init_std": 0.2,
}  # fmt: skip
MODELS = {
    "BertForMaskedLM": ("bert", "BertConfig", BERT),
    "OpenAIGPTLMHeadModel": ("gpt", "OpenAIGPTConfig", GPT),
    "GPT2LMHeadModel": ("gpt2", "GPT2Config", GPT),
    "TransfoXLLMHeadModel": ("transfo_xl", "TransfoXLConfig", XL),
}
BLOCKS = {"BertLayer", "OpenAIGPTBlock", "GPT2Block", "TransfoXLBlock"}
IDS = torch.randint(1, 61, (3, 8), generator=torch.Generator().manual_seed(0))
PADDED = torch.tensor([[1] * 8, [1] * 5 + [0] * 3, [1] * 2 + [0] * 6])
MASKS = {"without padding": None, "with padding": PADDED}

each_model = pytest.mark.parametrize("name", MODELS)
of_transformers = pytest.mark.parametrize("name", list(MODELS)[:3])
each_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)


def our(name: str, **changes: Any) -> Any:
    plugin, config, sizes = MODELS[name]
    torch.manual_seed(0)
    make_config = getattr(importlib.import_module(f"plugins.{plugin}.config"), config)
    return getattr(importlib.import_module(f"plugins.{plugin}.modeling"), name)(make_config(**{**sizes, **changes}))


def their(name: str, ours: nn.Module) -> Any:
    """The class of transformers, with our weights."""
    _, config, sizes = MODELS[name]
    tokens = {} if name.startswith("Bert") else {"bos_token_id": None, "eos_token_id": None}
    theirs = getattr(transformers, name)(getattr(transformers, config)(**sizes, **tokens)).eval()
    missing, unexpected = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert (set(missing), unexpected) == ({"cls.predictions.decoder.bias"} & set(missing), [])
    return theirs


def score(output: Any) -> Tensor:
    """A number that depends on the logits of all tokens but padding's."""
    known = PADDED[..., None] * torch.linspace(-1, 1, output.logits.shape[-1])
    return (output.logits * known).sum()


# --- Hidden states ----------------------------------------------------------------------------------------------------


@of_transformers
@each_mask
def test_gradients_of_hidden_states_are_those_of_transformers(name: str, mask: Tensor | None) -> None:
    ours = our(name).eval()
    found, expected = (
        model(IDS, attention_mask=mask, output_hidden_states=True) for model in (ours, their(name, ours))
    )
    mine = torch.autograd.grad(score(found), found.hidden_states)
    others = torch.autograd.grad(score(expected), expected.hidden_states)
    assert len(mine) == 4
    known = torch.ones_like(IDS) if mask is None else mask
    assert_close([x[known == 1] for x in mine], [x[known == 1] for x in others], atol=1e-4, rtol=1e-4)
    assert all((x[known == 0] == 0).all() for x in mine)


@each_mask
def test_gradients_of_hidden_states_of_a_model_with_a_memory_are_those_of_its_layers_inputs(
    mask: Tensor | None,
) -> None:
    model = our("TransfoXLLMHeadModel").eval()
    taken: list[Tensor] = []

    def take(_layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        taken.append(inputs[0].detach().requires_grad_())
        return taken[-1], *inputs[1:]

    found = model(IDS, attention_mask=mask, output_hidden_states=True)
    mine = torch.autograd.grad(score(found), found.hidden_states)
    for number, layer in enumerate(model.transformer.layers):
        handle = layer.register_forward_pre_hook(take)
        (expected,) = torch.autograd.grad(score(model(IDS, attention_mask=mask)), taken.pop())
        handle.remove()
        assert_close(mine[number], expected, atol=1e-5, rtol=1e-4)


@each_model
@each_mask
def test_hidden_states_keep_their_gradients_where_told_to(name: str, mask: Tensor | None) -> None:
    model = our(name).eval()
    output = model(IDS, attention_mask=mask, output_hidden_states=True)
    for state in output.hidden_states:
        state.retain_grad()
    score(output).backward()
    assert all(state.grad.abs().sum() > 0 for state in output.hidden_states)


@each_model
@each_mask
def test_asking_for_hidden_states_changes_no_other_number(name: str, mask: Tensor | None) -> None:
    model = our(name).eval()
    plain = model(IDS, attention_mask=mask, output_attentions=True)
    asked = model(IDS, attention_mask=mask, output_attentions=True, output_hidden_states=True)
    assert torch.equal(asked.logits, plain.logits)
    assert_close(asked.attentions, plain.attentions, atol=0, rtol=0)


# --- Layers that are computed again -----------------------------------------------------------------------------------


def gradients(model: nn.Module, inputs: dict[str, Any], further: tuple[Tensor, ...] = ()) -> list[Tensor | None]:
    torch.manual_seed(1)
    model.zero_grad()
    for tensor in further:
        tensor.grad = None
    model(**inputs).loss.backward()
    return [parameter.grad for parameter in (*model.parameters(), *further)]


def with_checkpoints(model: nn.Module, impl: CheckpointImpl) -> nn.Module:
    """A copy whose layers are computed again in the backward pass, by torch's own wrapper."""
    model = copy.deepcopy(model)

    def wrap(module: nn.Module) -> nn.Module:
        return checkpoint_wrapper(module, impl)

    apply_activation_checkpointing(
        model, checkpoint_wrapper_fn=wrap, check_fn=lambda module: type(module).__name__ in BLOCKS
    )
    return model


def assert_same(found: Any, expected: Any, impl: CheckpointImpl, *, atol: float = 0.0) -> None:
    """Equal bit by bit; reentrant checkpoints run without gradients first, where torch has another kernel."""
    allowed = {"atol": atol, "rtol": 100 * atol} if impl is CheckpointImpl.REENTRANT else {"atol": 0.0, "rtol": 0.0}
    assert_close(found, expected, **allowed)


each_way = pytest.mark.parametrize("impl", [CheckpointImpl.REENTRANT, CheckpointImpl.NO_REENTRANT])


@each_model
@each_mask
@each_way
def test_layers_that_are_computed_again_give_the_same_gradients(
    name: str, mask: Tensor | None, impl: CheckpointImpl
) -> None:
    model = our(name).train()
    inputs = {"input_ids": IDS, "attention_mask": mask, "labels": IDS}
    atol = 1e-5 if name.startswith("TransfoXL") else 0.0
    assert_same(gradients(with_checkpoints(model, impl), inputs), gradients(model, inputs), impl, atol=atol)


@pytest.mark.parametrize("name", ["OpenAIGPTLMHeadModel", "GPT2LMHeadModel"])
@each_way
def test_they_do_after_a_past_with_gradients(name: str, impl: CheckpointImpl) -> None:
    """Prefix tuning (Li & Liang, 2021): keys and values before the text are what is trained."""
    model = our(name).train()
    prefix = tuple(torch.randn(3, 4, 5, 6).requires_grad_() for _ in range(6))
    past = list(zip(prefix[::2], prefix[1::2], strict=True))
    inputs = {"input_ids": IDS, "labels": IDS, "past_key_values": past}
    expected = gradients(model, inputs, prefix)
    assert all(grad is not None and grad.abs().sum() > 0 for grad in expected[-6:])
    assert_same(gradients(with_checkpoints(model, impl), inputs, prefix), expected, impl)


@each_way
def test_they_do_after_a_memory(impl: CheckpointImpl) -> None:
    model = our("TransfoXLLMHeadModel").train()
    mems = tuple(model(IDS).mems)
    inputs = {"input_ids": IDS.flip(0), "labels": IDS.flip(0), "mems": mems}
    assert_same(gradients(with_checkpoints(model, impl), inputs), gradients(model, inputs), impl, atol=1e-5)


@pytest.mark.parametrize("name", ["OpenAIGPTLMHeadModel", "GPT2LMHeadModel"])
def test_a_layer_that_is_computed_again_is_cached_once(name: str) -> None:
    model = our(name).train()
    layer: Any = model.transformer.h[0]
    plain: Callable[..., Tensor] = layer.forward
    layer.forward = lambda *inputs: (plain(*inputs), plain(*inputs))[0]
    output = model(IDS, output_attentions=True)
    assert len(output.past_key_values) == len(output.attentions) == 3
    assert [keys.shape for keys, _ in output.past_key_values] == [(3, 4, 8, 6)] * 3


# --- gradient_checkpointing_enable ------------------------------------------------------------------------------------


def kept_numbers(model: nn.Module, inputs: dict[str, Any]) -> int:
    """Numbers that are kept for the backward pass."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(**inputs)
    return sum(kept.values())


@each_model
def test_the_switch_keeps_less_and_gives_the_same_gradients_bit_by_bit(name: str) -> None:
    model = our(name).train()  # with dropout
    inputs = {"input_ids": IDS, "attention_mask": PADDED, "labels": IDS}
    expected, kept = gradients(model, inputs), kept_numbers(model, inputs)
    assert not model.is_gradient_checkpointing
    model.gradient_checkpointing_enable()
    assert model.is_gradient_checkpointing
    assert_close(gradients(model, inputs), expected, atol=0, rtol=0)
    assert kept_numbers(model, inputs) < 0.9 * kept
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.is_gradient_checkpointing
        assert_close(gradients(twin, inputs), expected, atol=0, rtol=0)
        twin.gradient_checkpointing_disable()
    model.gradient_checkpointing_enable({"use_reentrant": True})
    atol = 1e-5 if name.startswith("TransfoXL") else 0.0
    assert_same(gradients(model, inputs), expected, CheckpointImpl.REENTRANT, atol=atol)
    model.gradient_checkpointing_disable()
    assert not model.is_gradient_checkpointing
    assert kept_numbers(model, inputs) == kept
    assert not any("forward" in vars(module) for module in model.modules())


def test_the_switch_computes_layers_again_in_the_backward_pass_only() -> None:
    model, calls = our("GPT2LMHeadModel").train(), []
    model.transformer.h[1].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    model.gradient_checkpointing_enable()
    with torch.no_grad():
        model(IDS)
    assert len(calls) == 1
    output = model(IDS, labels=IDS)
    assert len(calls) == 2
    output.loss.backward()
    assert len(calls) == 3
    text = model.generate(IDS, max_new_tokens=4)
    model.gradient_checkpointing_disable()
    assert torch.equal(text, model.generate(IDS, max_new_tokens=4))


def test_the_switch_leaves_what_another_library_put_around_a_layer() -> None:
    model, calls = our("GPT2LMHeadModel"), []
    layer: Any = model.transformer.h[0]
    plain = layer.forward
    layer.forward = lambda *inputs: (calls.append(1), plain(*inputs))[1]
    theirs = layer.forward
    for _ in range(2):
        model.gradient_checkpointing_enable()
    model(IDS, labels=IDS).loss.backward()
    assert len(calls) == 2
    model.gradient_checkpointing_disable()
    assert layer.forward is theirs


def test_a_model_that_names_no_layers_says_so() -> None:
    model = our("GPT2LMHeadModel")
    model.block_classes = ()
    with pytest.raises(InputError, match="does not declare which layers"):
        model.gradient_checkpointing_enable()


@pytest.mark.parametrize("name", ["BertForMaskedLM", "GPT2LMHeadModel"])
def test_a_compiled_model_computes_layers_again_as_well(name: str) -> None:
    model = our(name).eval()
    inputs = {"input_ids": IDS, "attention_mask": PADDED, "labels": IDS}
    if name.startswith("GPT2"):
        inputs["use_cache"] = False  # torch.compile allows no side effect in what is computed again
    expected = gradients(model, inputs)
    model.gradient_checkpointing_enable()
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert_close(gradients(compiled, inputs), expected, atol=1e-5, rtol=1e-4)
