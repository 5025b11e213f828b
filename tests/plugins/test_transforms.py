"""What replaces parameters or layers: torch.func's transforms, parametrizations, layers of a user's own."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, stack_module_state, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.parametrizations import weight_norm
from torch.testing import assert_close
from torch.utils.data import default_collate

from registry.nn.linear import Conv1D
from registry.zoo import (
    BertConfig,
    BertForTokenClassification,
    BertTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    TransfoXLConfig,
    TransfoXLLMHeadModel,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning"),  # of vmap, without a batching rule
    pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning"),  # torch's, in jvp
]

SIZES: dict[str, Any] = {"vocab_size": 31, "n_positions": 24, "n_embd": 16, "n_layer": 2, "n_head": 2}
MODELS: dict[str, Callable[[], Any]] = {
    "BERT": lambda: BertForTokenClassification(
        BertConfig(
            vocab_size=31, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
            max_position_embeddings=24, initializer_range=0.2,
        )
    ),
    "GPT": lambda: OpenAIGPTLMHeadModel(OpenAIGPTConfig(**SIZES, initializer_range=0.2)),
    "GPT-2": lambda: GPT2LMHeadModel(GPT2Config(**SIZES, initializer_range=0.2)),
    "Transformer-XL": lambda: TransfoXLLMHeadModel(
        TransfoXLConfig(
            vocab_size=31, cutoffs=[9, 20], d_model=16, d_embed=16, n_head=2, d_head=8, d_inner=24, n_layer=2,
            div_val=2, tgt_len=8, mem_len=6, init_std=0.2, proj_init_std=0.2,
        )
    ),
}  # fmt: skip
IDS = torch.randint(1, 31, (3, 6), generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[1] * 6, [1] * 4 + [0] * 2, [1] + [0] * 5])

each_model = pytest.mark.parametrize("name", MODELS)


def made(name: str, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return MODELS[name]().eval()


def logits(model: Any, ids: Tensor = IDS, mask: Tensor | None = MASK) -> Tensor:
    return model(ids, attention_mask=mask).logits


# --- torch.func -------------------------------------------------------------------------------------------------------


@each_model
@pytest.mark.parametrize("base", ["cpu", "meta"])
def test_an_ensemble_computes_what_its_models_do(name: str, base: str) -> None:
    models = [made(name, seed) for seed in range(3)]
    state = stack_module_state(models)
    empty = copy.deepcopy(models[0]).to(base)

    def call(parameters: Any, buffers: Any) -> Tensor:
        return functional_call(empty, (parameters, buffers), (IDS,), {"attention_mask": MASK}).logits

    with torch.no_grad():
        found = vmap(call)(*state)
        expected = torch.stack([logits(model) for model in models])
    assert_close(found, expected, atol=1e-5, rtol=1e-4)


@each_model
def test_the_models_of_an_ensemble_are_trained_together(name: str) -> None:
    models = [made(name, seed) for seed in range(2)]
    parameters, buffers = stack_module_state(models)

    def loss(parameters: Any, buffers: Any) -> Tensor:
        return functional_call(models[0], (parameters, buffers), (IDS,)).logits.square().sum()

    with differentiable():
        vmap(loss)(parameters, buffers).sum().backward()
    for number, model in enumerate(models):
        logits(model, mask=None).square().sum().backward()
        for key, parameter in model.named_parameters():
            assert_close(parameters[key].grad[number], parameter.grad, atol=1e-3, rtol=1e-3)


def differentiable() -> AbstractContextManager[None]:
    """The kernel of attention that torch can differentiate forwards, and by its mask under vmap."""
    return sdpa_kernel(SDPBackend.MATH)


@each_model
def test_a_derivative_forwards_is_the_difference_quotient(name: str) -> None:
    model = made(name).double()
    values = {key: parameter.detach() for key, parameter in model.named_parameters()}
    torch.manual_seed(1)
    direction = {key: torch.randn_like(value) for key, value in values.items()}

    def call(parameters: dict[str, Tensor]) -> Tensor:
        return functional_call(model, parameters, (IDS,), {"attention_mask": MASK}).logits

    with differentiable():
        _, found = jvp(call, (values,), (direction,))
    step = 1e-5
    after, before = (call({key: values[key] + sign * direction[key] for key in values}) for sign in (step, -step))
    assert_close(found, (after - before) / (2 * step), atol=1e-4 * found.abs().max().item(), rtol=1e-4)


@each_model
def test_gradients_of_each_sequence_are_those_of_it_alone(name: str) -> None:
    model = made(name).double()
    values = {key: parameter.detach() for key, parameter in model.named_parameters()}

    def loss(parameters: dict[str, Tensor], ids: Tensor, mask: Tensor) -> Tensor:
        return functional_call(model, parameters, (ids[None],), {"attention_mask": mask[None]}).logits.square().sum()

    found = vmap(grad(loss), in_dims=(None, 0, 0))(values, IDS, MASK)
    for row in range(len(IDS)):
        model.zero_grad()
        logits(model, IDS[row : row + 1], MASK[row : row + 1]).square().sum().backward()
        for key, parameter in model.named_parameters():
            expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            assert_close(found[key][row], expected, atol=1e-8, rtol=1e-6)


# --- Layers and parameters that are others ----------------------------------------------------------------------------


class LowRank(nn.Module):
    """A layer with an adapter, as one writes it by hand: without ``weight`` or ``bias``."""

    def __init__(self, layer: nn.Module, wide_in: int, wide_out: int) -> None:
        super().__init__()
        self.layer = layer
        self.down = nn.Parameter(torch.randn(wide_in, 2) * 0.3)
        self.up = nn.Parameter(torch.randn(2, wide_out) * 0.3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + x @ self.down @ self.up


def adapted(model: nn.Module) -> tuple[int, nn.Module]:
    """Wrap every linear layer of a model in place; returns how many, and a copy with the adapters in its weights."""
    merged = copy.deepcopy(model)
    paths = [path for path, layer in model.named_modules() if isinstance(layer, (nn.Linear, Conv1D))]
    for path in paths:
        layer = model.get_submodule(path)
        sizes = layer.weight.shape if isinstance(layer, Conv1D) else reversed(layer.weight.shape)
        owner, _, key = path.rpartition(".")
        wrapped = LowRank(layer, *sizes)
        setattr(model.get_submodule(owner), key, wrapped)
        target = merged.get_submodule(path)
        change = (wrapped.down @ wrapped.up).detach()
        target.weight = nn.Parameter(target.weight + (change if isinstance(layer, Conv1D) else change.t()))
    return len(paths), merged


@each_model
@pytest.mark.parametrize("packed", [True, False])
def test_every_linear_layer_may_be_one_of_a_user(name: str, packed: bool) -> None:
    model = made(name)
    model.pack_padding = packed
    number, merged = adapted(model)
    assert number >= 9
    mask = MASK if packed else None
    assert_close(logits(model, mask=mask), logits(merged, mask=mask), atol=1e-4, rtol=1e-4)
    logits(model, mask=mask).square().sum().backward()
    assert all(layer.up.grad is not None for layer in model.modules() if isinstance(layer, LowRank))
    if model.can_generate():
        ids = IDS[:, :4]
        assert torch.equal(model.generate(ids, max_new_tokens=9), merged.generate(ids, max_new_tokens=9))


def test_keys_and_values_of_a_memory_come_from_a_layer_of_a_user() -> None:
    model = made("Transformer-XL")
    _, merged = adapted(model)
    for gradients in (nullcontext(), torch.no_grad()):
        with gradients:
            found, expected = (each(IDS, mems=each(IDS).mems).logits for each in (model, merged))
        assert_close(found, expected, atol=1e-4, rtol=1e-4)


@each_model
def test_weights_may_be_parametrized(name: str) -> None:
    model, plain = made(name), made(name)
    for layer in list(model.modules()):
        if isinstance(layer, (nn.Linear, Conv1D)):
            weight_norm(layer)
    assert_close(logits(model), logits(plain), atol=1e-4, rtol=1e-4)
    logits(model).square().sum().backward()
    norms = [parameter for key, parameter in model.named_parameters() if key.endswith("weight.original0")]
    assert len(norms) >= 9
    assert all(parameter.grad is not None for parameter in norms)
    if model.can_generate():
        assert torch.equal(model.generate(IDS, max_new_tokens=6), plain.generate(IDS, max_new_tokens=6))


# --- Batches ----------------------------------------------------------------------------------------------------------


def test_a_loader_stacks_batches_that_are_padded() -> None:
    tokenizer = BertTokenizer({"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "b": 5})
    texts = ["a b", "b", "a a b"]
    arrays = [tokenizer(text, padding="max_length", max_length=6, return_tensors="np") for text in texts]
    stacked = default_collate(arrays)
    expected = tokenizer(texts, padding="max_length", max_length=6, return_tensors="pt")
    assert {key: value.reshape(3, 6).tolist() for key, value in stacked.items()} == {
        key: value.tolist() for key, value in expected.items()
    }
    with pytest.raises(RuntimeError, match="equal size"):  # torch's: lists of different lengths are not padded
        default_collate([tokenizer(text) for text in texts])
    loader = torch.utils.data.DataLoader(
        texts, batch_size=3, collate_fn=lambda rows: tokenizer(rows, padding=True, return_tensors="pt")
    )
    assert next(iter(loader))["attention_mask"].tolist() == [[1] * 4 + [0], [1] * 3 + [0] * 2, [1] * 5]
