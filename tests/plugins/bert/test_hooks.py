"""Whoever looks at the modules of BERT sees ``(batch, tokens, ...)``, whether a batch has padding or not."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils._per_sample_grad import call_for_per_sample_grads
from torch.testing import assert_close
from torch.utils.hooks import RemovableHandle

from plugins.bert import finetuning, modeling
from plugins.bert.config import BertConfig

IDS = torch.randint(1, 61, (3, 8), generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[1] * 8, [1] * 5 + [0] * 3, [0] * 6 + [1] * 2])
LABELS: dict[str, dict[str, Tensor]] = {
    "BertModel": {},
    "BertForPreTraining": {"labels": IDS, "next_sentence_label": torch.tensor([0, 1, 1])},
    "BertForMaskedLM": {"labels": IDS},
    "BertForSequenceClassification": {"labels": torch.tensor([0, 1, 2])},
    "BertForTokenClassification": {"labels": IDS % 3},
    "BertForQuestionAnswering": {"start_positions": torch.tensor([0, 1, 6]), "end_positions": torch.tensor([3, 4, 7])},
}
INPUTS = {"input_ids": IDS, "attention_mask": MASK}

each_class = pytest.mark.parametrize("name", LABELS)


def make(name: str = "BertModel") -> Any:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab_size": 61, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20,
        "max_position_embeddings": 12, "initializer_range": 0.3, "num_labels": 3,
    }  # fmt: skip
    cls = getattr(finetuning if hasattr(finetuning, name) else modeling, name)
    return cls(BertConfig(**sizes)).eval()


def widths_seen(model: nn.Module) -> set[tuple[int, ...]]:
    """The leading axes of all that the encoder's layers return, without a hook."""
    seen: set[tuple[int, ...]] = set()
    for module in model.modules():
        if type(module).__name__ == "BertLayer":
            plain = module.forward

            def spy(*inputs: Any, plain: Callable[..., Tensor] = plain) -> Tensor:
                found = plain(*inputs)
                seen.add(tuple(found.shape[:-1]))
                return found

            module.forward = spy
    with torch.no_grad():
        model(**INPUTS)
    return seen


HOOKS: dict[str, Callable[[nn.Module], RemovableHandle]] = {
    "forward": lambda module: module.register_forward_hook(lambda *_: None),
    "forward with keywords": lambda module: module.register_forward_hook(lambda *_: None, with_kwargs=True),
    "before forward": lambda module: module.register_forward_pre_hook(lambda *_: None),
    "backward": lambda module: module.register_full_backward_hook(lambda *_: None),
    "before backward": lambda module: module.register_full_backward_pre_hook(lambda *_: None),
    "of the process": lambda _: nn.modules.module.register_module_forward_hook(lambda *_: None),
}
PLACES = {
    "a layer": lambda model: model.encoder.layer[1],
    "deep inside": lambda model: model.encoder.layer[0].attention.output.dropout,
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("hook", HOOKS.values(), ids=HOOKS)
def test_padding_is_computed_while_a_module_inside_carries_a_hook(hook: Any, place: Any) -> None:
    model = make()
    assert widths_seen(copy.deepcopy(model)) == {(15,)}
    handle = hook(place(model))
    try:
        assert widths_seen(copy.deepcopy(model)) == {(3, 8)}
    finally:
        handle.remove()
    assert widths_seen(model) == {(15,)}


def test_a_hook_outside_of_the_layers_changes_nothing() -> None:
    model = make()
    model.register_forward_hook(lambda *_: None)
    model.encoder.register_forward_hook(lambda *_: None)
    model.embeddings.word_embeddings.register_forward_hook(lambda *_: None)
    assert widths_seen(model) == {(15,)}


def test_padding_is_computed_where_packing_is_switched_off() -> None:
    model = make("BertForMaskedLM")
    assert model.pack_padding
    model.pack_padding = False
    assert not model.pack_padding
    assert not model.bert.pack_padding
    assert widths_seen(copy.deepcopy(model)) == {(3, 8)}
    model.pack_padding = True
    assert widths_seen(model) == {(15,)}


@each_class
def test_hooks_and_the_switch_change_no_number_and_no_gradient(name: str) -> None:
    def run(change: Callable[[Any], object]) -> tuple[list[Tensor], list[Tensor | None]]:
        model = make(name)
        change(model)
        found = model(**INPUTS, **LABELS[name])
        (found[0].sum() if name == "BertModel" else found.loss).backward()
        return [x for x in found if isinstance(x, Tensor)], [p.grad for p in model.parameters()]

    expected = run(lambda model: None)
    for change in (
        lambda model: [module.register_forward_hook(lambda *_: None) for module in model.modules()],
        lambda model: setattr(model, "pack_padding", False),
    ):
        assert_close(run(change), expected, atol=1e-5, rtol=1e-5)


@each_class
def test_every_module_takes_and_gives_the_axes_of_the_batch(name: str) -> None:
    model = make(name)
    shapes: dict[str, tuple[int, ...]] = {}

    def watch(path: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                shapes[path] = tuple(output.shape)

        return hook

    for path, module in model.named_modules():
        module.register_forward_hook(watch(path))
    model(**INPUTS, **LABELS[name])
    within = ("embeddings", "encoder", "predictions")
    of_tokens = {path: shape for path, shape in shapes.items() if any(part in path for part in within)}
    assert len(of_tokens) > 20
    assert {shape[:2] for shape in of_tokens.values()} == {(3, 8)}
    if name in ("BertForTokenClassification", "BertForQuestionAnswering"):
        assert shapes["classifier" if "Token" in name else "qa_outputs"][:2] == (3, 8)


def test_a_hook_that_edits_a_text_changes_no_other_text() -> None:
    model = make()
    before = model(**INPUTS).last_hidden_state
    model.encoder.layer[0].register_forward_hook(
        lambda _module, _inputs, x: x + torch.tensor([0.0, 9.0, 0.0])[:, None, None]
    )
    after = model(**INPUTS).last_hidden_state
    changed = (after - before).abs().amax(dim=(1, 2)) > 1e-4
    assert changed.tolist() == [False, True, False]
    assert (after[MASK == 0] == 0).all()


@each_class
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")  # torch's, of attention under vmap
def test_gradients_of_each_text_under_vmap_are_those_of_the_text_alone(name: str) -> None:
    model = make(name)
    weights = {key: value.detach() for key, value in model.named_parameters()}

    def loss_of(weights: dict[str, Tensor], *row: Tensor) -> Tensor:
        ids, mask, *targets = (x[None] for x in row)
        keywords = dict(zip(LABELS[name], targets, strict=True))
        output = torch.func.functional_call(model, weights, (ids,), {"attention_mask": mask, **keywords})
        return output[0].sum() if name == "BertModel" else output.loss

    targets = LABELS[name].values()
    rows = (0,) * (2 + len(targets))
    found = torch.func.vmap(torch.func.grad(loss_of), (None, *rows))(weights, IDS, MASK, *targets)
    for number in range(len(IDS)):
        model.zero_grad()
        loss_of(dict(model.named_parameters()), *(x[number] for x in (IDS, MASK, *targets))).backward()
        for key, parameter in model.named_parameters():
            expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            assert_close(found[key][number], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["BertForSequenceClassification", "BertForTokenClassification"])
def test_gradients_of_each_text_of_torchs_expanded_weights_are_those_of_the_text_alone(name: str) -> None:
    model = make(name)
    seen = call_for_per_sample_grads(model, loss_reduction="sum", batch_size=len(IDS))
    seen(IDS, attention_mask=MASK).logits.square().sum().backward()
    for number in range(len(IDS)):
        alone = copy.deepcopy(model)
        alone.zero_grad()
        alone(IDS[number : number + 1], attention_mask=MASK[number : number + 1]).logits.square().sum().backward()
        for (key, parameter), single in zip(model.named_parameters(), alone.parameters(), strict=True):
            expected = torch.zeros_like(single) if single.grad is None else single.grad
            assert_close(parameter.grad_sample[number], expected, atol=1e-4, rtol=1e-4, msg=lambda t, key=key: key + t)


def test_a_gradient_for_each_text_is_collected_by_hooks_as_for_private_training() -> None:
    """The way of opacus: inputs by a forward hook, gradients by a backward hook, an outer product for each text."""
    model = make("BertForMaskedLM")
    collected: dict[str, Tensor] = {}
    inputs: dict[str, Tensor] = {}
    layers = {path: module for path, module in model.named_modules() if isinstance(module, nn.Linear)}
    for path, layer in layers.items():
        layer.register_forward_hook(lambda _module, x, _output, path=path: inputs.__setitem__(path, x[0].detach()))
        layer.register_full_backward_hook(
            lambda _module, _grads, of_output, path=path: collected.__setitem__(
                path, torch.einsum("bto,bti->boi", of_output[0], inputs[path])
            )
        )
    model(**INPUTS, **LABELS["BertForMaskedLM"]).loss.backward()
    for path, layer in layers.items():
        assert collected[path].shape == (3, *layer.weight.shape)
        if layer is not model.cls["predictions"].decoder:  # whose weight embeds words, too
            assert_close(collected[path].sum(0), layer.weight.grad, atol=1e-5, rtol=1e-4)


def test_a_model_runs_on_tensors_without_values() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        model = make()
        ids, mask = torch.ones(3, 8, dtype=torch.long), torch.ones(3, 8, dtype=torch.long)
        assert model(ids, attention_mask=mask).last_hidden_state.shape == (3, 8, 16)
