"""Models as programs of torch.compile, torch.export and torch.jit.trace: one graph, and the numbers of eager mode."""

import importlib
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

BERT: dict[str, Any] = {
    "vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40,
    "max_position_embeddings": 20, "initializer_range": 0.3,
}  # fmt: skip
GPT: dict[str, Any] = {
    "vocab_size": 61, "n_positions": 20, "n_embd": 24, "n_layer": 2, "n_head": 4, "initializer_range": 0.3,
}  # fmt: skip
XL: dict[str, Any] = {
    "vocab_size": 61, "cutoffs": [9, 25], "d_model": 32, "d_embed": 32, "n_head": 4, "d_head": 8, "d_inner": 40,
    "n_layer": 1, "div_val": 2, "tgt_len": 8, "mem_len": 6, "init_std": 0.2, "proj_init_std": 0.2,
}  # fmt: skip
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "BertModel": ("bert.modeling", "BertConfig", BERT),
    "BertForPreTraining": ("bert.modeling", "BertConfig", BERT),
    "BertForSequenceClassification": ("bert.finetuning", "BertConfig", BERT),
    "OpenAIGPTLMHeadModel": ("gpt.modeling", "OpenAIGPTConfig", GPT),
    "GPT2LMHeadModel": ("gpt2.modeling", "GPT2Config", GPT),
    "TransfoXLLMHeadModel": ("transfo_xl.modeling", "TransfoXLConfig", XL),
    "TransfoXLForSequenceClassification": ("transfo_xl.modeling", "TransfoXLConfig", XL),
}
"""Compilation and export of the causal models with a cache are in test_causal_models.py."""
IDS = torch.randint(1, 61, (3, 8), generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[1] * 8, [1] * 5 + [0] * 3, [0] * 6 + [1] * 2])
OTHERS = torch.randint(1, 61, (2, 11), generator=torch.Generator().manual_seed(1))
OTHER_MASK = torch.tensor([[0] * 4 + [1] * 7, [1] * 11])

each_model = pytest.mark.parametrize("name", MODELS)


def our(name: str, **changes: Any) -> Any:
    module, config, sizes = MODELS[name]
    torch.manual_seed(0)
    make_config = getattr(importlib.import_module(f"plugins.{module.split('.')[0]}.config"), config)
    return getattr(importlib.import_module(f"plugins.{module}"), name)(make_config(**{**sizes, **changes})).eval()


class FirstLogits(nn.Module):
    """What servers trace: tensors in, one tensor out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        output = self.model(ids, attention_mask=mask)
        return next(x for x in output if isinstance(x, Tensor))


def compiled(model: nn.Module) -> Any:
    torch._dynamo.reset()
    return torch.compile(model, backend="eager", fullgraph=True)


@each_model
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:`torch.jit.trace:DeprecationWarning")
def test_a_traced_program_serves_other_shapes_and_masks(name: str) -> None:
    model = FirstLogits(our(name))
    with torch.no_grad():
        program = torch.jit.trace(model, (IDS, MASK))
        for ids, mask in ((IDS, MASK), (OTHERS, OTHER_MASK), (OTHERS, torch.ones_like(OTHERS)), (IDS, MASK.flip(0))):
            assert_close(program(ids, mask), model(ids, mask), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["BertForPreTraining", "TransfoXLLMHeadModel", "TransfoXLForSequenceClassification"])
def test_an_exported_program_serves_other_shapes_and_masks(name: str) -> None:
    model = FirstLogits(our(name))
    axes = {0: torch.export.Dim("batch", max=64), 1: torch.export.Dim("tokens", max=20)}
    program = torch.export.export(model, (IDS, MASK), dynamic_shapes=(axes, axes)).module()
    for ids, mask in ((IDS, MASK), (OTHERS, OTHER_MASK), (OTHERS, torch.ones_like(OTHERS))):
        assert_close(program(ids, mask), model(ids, mask), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["BertForPreTraining", "TransfoXLLMHeadModel"])
def test_compilation_sees_one_graph_and_keeps_numbers_and_gradients(name: str) -> None:
    def run(model: Any) -> tuple[Any, list[Tensor | None]]:
        torch.manual_seed(0)
        model.zero_grad()
        classes = name.endswith("SequenceClassification")
        labels = {} if name == "BertModel" else {"labels": torch.tensor([0, 1, 1]) if classes else IDS}
        more = {"next_sentence_label": torch.tensor([0, 1, 1])} if name == "BertForPreTraining" else {}
        found = model(IDS, attention_mask=MASK, output_hidden_states=True, **labels, **more)
        (found[0].sum() if name == "BertModel" else found.loss).backward()
        values = [x for x in found if isinstance(x, Tensor)]
        return (values, found.hidden_states), [parameter.grad for parameter in model.parameters()]

    model = our(name)
    assert_close(run(compiled(model)), run(model), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", [{}, pytest.param({"div_val": 1, "mem_len": 0}, marks=pytest.mark.slow)], ids=str)
def test_a_compiled_model_continues_after_its_memory_and_that_of_eager_mode(kind: dict[str, Any]) -> None:
    model = our("TransfoXLLMHeadModel", **kind)
    program = compiled(model)
    with torch.no_grad():
        first = model(IDS)
        assert_close(program(IDS).logits, first.logits, atol=1e-5, rtol=1e-5)
        expected = model(IDS.flip(0), mems=first.mems)
        for mems in (program(IDS).mems, first.mems):
            found = program(IDS.flip(0), mems=mems)
            assert_close(found.logits, expected.logits, atol=1e-5, rtol=1e-5)
            assert_close(list(found.mems), list(expected.mems), atol=1e-5, rtol=1e-5)


def test_an_exported_model_with_a_memory_takes_and_gives_it() -> None:
    model = our("TransfoXLLMHeadModel")
    mems = tuple(model(IDS).mems)
    inputs = {"mems": mems, "labels": IDS}
    found = torch.export.export(model, (IDS,), inputs).module()(IDS, **inputs)
    expected = model(IDS, **inputs)
    assert_close(found.losses, expected.losses, atol=1e-5, rtol=1e-5)
    assert_close(list(found.mems), list(expected.mems), atol=1e-5, rtol=1e-5)
