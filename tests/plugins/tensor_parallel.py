"""Two processes that divide layers by hand, as a user of torch does; run by ``test_tensor_parallel``.

Each case gives the largest difference to the model before it was divided, relative to the largest number
where that is above 1, or the type of the error.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from registry.zoo import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    TransfoXLConfig,
    TransfoXLModel,
)

sys.path.append(str(Path(__file__).parents[2] / "examples/registry-llama/src"))
from registry_llama.config import LlamaConfig  # which is found by the line before
from registry_llama.modeling import LlamaForCausalLM

IDS = torch.tensor([[5, 6, 7, 8, 9], [9, 8, 7, 6, 5]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])

BERT = {
    "attention.self.query": ColwiseParallel(),
    "attention.self.key": ColwiseParallel(),
    "attention.self.value": ColwiseParallel(),
    "attention.output.dense": RowwiseParallel(),
    "intermediate.dense": ColwiseParallel(),
    "output.dense": RowwiseParallel(),
}
LLAMA = {
    "self_attn.q_proj": ColwiseParallel(),
    "self_attn.k_proj": ColwiseParallel(),
    "self_attn.v_proj": ColwiseParallel(),
    "self_attn.o_proj": RowwiseParallel(),
    "mlp.gate_proj": ColwiseParallel(),
    "mlp.up_proj": ColwiseParallel(),
    "mlp.down_proj": RowwiseParallel(),
}


def of(plan: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: plan[name] for name in names}


def divided(model: nn.Module, layers: nn.ModuleList, mesh: DeviceMesh, plan: dict[str, Any]) -> nn.Module:
    for layer in layers:
        parallelize_module(layer, mesh, plan)
    return model


# --- Models -----------------------------------------------------------------------------------------------------------


def bert(mesh: DeviceMesh, plan: dict[str, Any]) -> tuple[nn.Module, Callable[[], nn.Module]]:
    model = BertModel(
        BertConfig(vocab_size=20, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
    )
    return model, partial(divided, model, model.encoder.layer, mesh, plan)


def masked_lm(mesh: DeviceMesh) -> tuple[nn.Module, Callable[[], nn.Module]]:
    """The vocabulary of the head is divided, too, and gathered behind it."""
    config = BertConfig(vocab_size=20, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48)
    model = BertForMaskedLM(config)

    def divide() -> nn.Module:
        divided(model, model.bert.encoder.layer, mesh, BERT)
        model.cls["predictions"].decoder.weight = nn.Parameter(model.bert.embeddings.word_embeddings.weight.detach())
        parallelize_module(model.cls["predictions"], mesh, {"decoder": ColwiseParallel(output_layouts=Replicate())})
        return model

    return model, divide


def llama(mesh: DeviceMesh, plan: dict[str, Any], key_value_heads: int = 2) -> tuple[Any, Callable[[], nn.Module]]:
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=20,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=key_value_heads,
            intermediate_size=48,
            max_position_embeddings=64,
        )
    )
    return model, partial(divided, model, model.model.layers, mesh, plan)


def gpt2(divide_layer: Callable[[nn.Module], None], cls: Any = GPT2LMHeadModel) -> tuple[Any, Callable[[], nn.Module]]:
    config = (GPT2Config if cls is GPT2LMHeadModel else OpenAIGPTConfig)(
        vocab_size=20, n_embd=32, n_layer=2, n_head=4, n_positions=64
    )
    model = cls(config)

    def divide() -> nn.Module:
        for block in model.transformer.h:
            divide_layer(block)
        return model

    return model, divide


def as_linear(layer: Any) -> nn.Linear:
    """A ``Conv1D`` as the ``nn.Linear`` that torch's styles take."""
    linear = nn.Linear(*layer.weight.shape)
    linear.weight, linear.bias = nn.Parameter(layer.weight.detach().t().contiguous()), layer.bias
    return linear


def by_styles(mesh: DeviceMesh, attention: dict[str, Any], block: nn.Module) -> None:
    """GPT-2's layers replaced by ``nn.Linear`` and divided by torch's styles."""
    for path in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
        owner, name = path.split(".")
        setattr(block.get_submodule(owner), name, as_linear(block.get_submodule(path)))
    parallelize_module(block, mesh, {**attention, "mlp.c_fc": ColwiseParallel(), "mlp.c_proj": RowwiseParallel()})


class Summed(nn.Module):
    """A product with some rows of a weight, summed over all processes."""

    def __init__(self, layer: Any, part: slice) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(layer.weight.detach()[part]), layer.bias

    def forward(self, x: Tensor) -> Tensor:
        product = x @ self.weight
        dist.all_reduce(product)
        return product + self.bias


def by_heads(rank: int, block: Any) -> None:
    """Each process takes half of the heads of queries, keys and values."""
    layer = block.attn.c_attn
    width = layer.weight.shape[0]
    half = slice(rank * width // 2, (rank + 1) * width // 2)
    layer.weight = nn.Parameter(layer.weight.detach().unflatten(1, (3, width))[:, :, half].flatten(1))
    layer.bias = nn.Parameter(layer.bias.detach().unflatten(0, (3, width))[:, half].flatten())
    block.attn.c_proj = Summed(block.attn.c_proj, half)


def transfo_xl(mesh: DeviceMesh, *names: str) -> tuple[Any, Callable[[], nn.Module]]:
    model = TransfoXLModel(
        TransfoXLConfig(
            vocab_size=20, cutoffs=(), d_model=32, d_embed=32, n_head=2, d_head=8, d_inner=48, n_layer=2, mem_len=4
        )
    )
    plan: dict[str, Any] = {"dec_attn.qkv_net": ColwiseParallel(), "dec_attn.r_net": ColwiseParallel()}
    plan |= {"dec_attn.o_net": RowwiseParallel()}
    return model, partial(divided, model, model.layers, mesh, of(plan, *names) if names else plan)


# --- What becomes of them ---------------------------------------------------------------------------------------------


def numbers(model: Any) -> list[Tensor]:
    """Outputs for a padded batch, the gradient of the embedding where torch's styles sum it, and what is generated."""
    model.eval().zero_grad()
    output = model(IDS) if isinstance(model, TransfoXLModel) else model(IDS, attention_mask=MASK)
    first = output.logits if hasattr(output, "logits") else output.last_hidden_state
    found = [first.detach()]
    if isinstance(model, (BertModel, LlamaForCausalLM)):
        first.square().mean().backward()
        found.append(next(model.parameters()).grad.clone())
    if hasattr(model, "lm_head"):
        with torch.inference_mode():
            found.append(model.generate(IDS[:, :3], max_new_tokens=4).float())
    return found


def outcome(make: Callable[[], tuple[Any, Callable[[], nn.Module]]]) -> float | str:
    torch.manual_seed(0)
    model, divide = make()
    model.init_weights()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)  # so that attention is far from uniform
    expected = numbers(model)
    try:
        found = numbers(divide())
    except Exception as problem:
        return type(problem).__name__
    return max(
        float((one - other).abs().max() / one.abs().max().clamp(min=1))
        for one, other in zip(expected, found, strict=True)
    )


def outcomes() -> dict[str, float | str]:
    """What became of each case on one of two processes."""
    rank = dist.get_rank()
    mesh = init_device_mesh("cpu", (2,))
    fused = {"attn.c_attn": ColwiseParallel(), "attn.c_proj": RowwiseParallel()}
    gathered = {"attn.c_attn": ColwiseParallel(output_layouts=Replicate())}
    cases: dict[str, Callable[[], Any]] = {
        "bert": partial(bert, mesh, BERT),
        "bert with its vocabulary": partial(masked_lm, mesh),
        "bert, keys and values alone": partial(bert, mesh, of(BERT, "attention.self.key", "attention.self.value")),
        "bert, queries alone": partial(bert, mesh, of(BERT, "attention.self.query")),
        "llama": partial(llama, mesh, LLAMA),
        "llama, as many keys as queries": partial(llama, mesh, LLAMA, 4),
        "llama, queries alone": partial(llama, mesh, of(LLAMA, "self_attn.q_proj", "self_attn.o_proj")),
        "gpt2 by heads": partial(gpt2, partial(by_heads, rank)),
        "gpt by heads": partial(gpt2, partial(by_heads, rank), OpenAIGPTLMHeadModel),
        "gpt2 as it is": partial(gpt2, partial(parallelize_module, device_mesh=mesh, parallelize_plan=fused)),
        "gpt2 as nn.Linear": partial(gpt2, partial(by_styles, mesh, fused)),
        "gpt2 as nn.Linear, gathered": partial(gpt2, partial(by_styles, mesh, gathered)),
        "transfo_xl": partial(transfo_xl, mesh),
        "transfo_xl, distances alone": partial(transfo_xl, mesh, "dec_attn.r_net"),
    }
    return {name: outcome(make) for name, make in cases.items()}
