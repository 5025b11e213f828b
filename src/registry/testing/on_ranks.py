"""What each process of a conformance check runs: a model loaded divided, its numbers, and what it saves."""

import pickle
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

import registry
from registry.generation import CausalModel, Seq2SeqModel
from registry.nn.outputs import Output
from registry.sharding.shares import fused_axis, is_divided, local_of, share_of
from registry.testing.models import tensors_of

STEPS = 3
"""Steps of training that are compared."""


def mesh_for(way: str) -> DeviceMesh:
    """A mesh of all processes for one way to share a model."""
    ranks = torch.distributed.get_world_size()
    if way == "fsdp+tp":
        return init_device_mesh("cpu", (ranks // 2, 2), mesh_dim_names=("fsdp", "tp"))
    return init_device_mesh("cpu", (ranks,))


def loaded_and_unpickled(directory: str, pickled: bytes, inputs: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """The outputs of a model that is loaded from a directory, and of one that is unpickled with its configuration."""
    loaded = registry.load(directory)
    model, config = pickle.loads(pickled)  # noqa: S301  # of the check itself
    assert loaded.config == config, "the pickled configuration differs"
    with torch.no_grad():
        return [dict(tensors_of(each(**inputs))) for each in (loaded.model, model)]


def numbers(model: nn.Module, inputs: dict[str, Tensor], labels: dict[str, Tensor]) -> dict[str, Any]:
    """The numbers of a model, divided or not: outputs, losses and gradients of some steps, and the norm of gradients.

    Dropout stays off.

    Args:
        model: The model, in evaluation mode.
        inputs: Arguments of ``forward``.
        labels: Further ones, for the loss.
    """
    with torch.no_grad():
        outputs = _tensors(model(**inputs))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses, norms, gradients = [], [], {}
    for step in range(STEPS):
        loss = _loss(model(**inputs, **labels))
        loss.backward()  # type: ignore[no-untyped-call]
        if step == 0:
            gradients = {name: _whole(model, name, of) for name, of in _gradients(model).items()}
        norm: Any = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        norms.append(float(norm.full_tensor() if is_divided(norm) else norm))
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return {"outputs": outputs, "losses": losses, "norms": norms, "gradients": gradients}


def divided(
    directory: str, task: str, way: str, inputs: dict[str, Tensor], labels: dict[str, Tensor], saved: str
) -> dict[str, Any]:
    """Load a saved directory divided, save it as it is, and compute.

    Returns:
        What ``numbers`` returns, the names that were loaded, the elements of this process and of all, and, of a model
        that generates, ids that it generated.
    """
    model = registry.load_model(directory, task, mesh=mesh_for(way), parallel=way)
    report = model.load_report
    registry.save(model, saved)
    own = sum(local_of(parameter).numel() for parameter in model.parameters())
    generated = None
    if isinstance(model, CausalModel | Seq2SeqModel):
        generated = model.generate(inputs["input_ids"].flatten(0, -2)[:2, :4], max_new_tokens=5)
    return {
        **numbers(model, inputs, labels),
        "loaded": report and (report.loaded, report.tied, report.new, report.dropped),
        "elements": (own, sum(parameter.numel() for parameter in model.parameters())),
        "generated": generated,
    }


def _tensors(output: Any) -> dict[str, Tensor]:
    fields = output.items() if isinstance(output, Output) else output._asdict().items()
    return {name: value for name, value in fields if isinstance(value, Tensor) and value.is_floating_point()}


def _loss(output: Any) -> Tensor:
    """The sum of the losses; of a model without one, a weighted sum of its outputs."""
    found = _tensors(output)
    losses = [value for name, value in found.items() if "loss" in name and value.dim() == 0]
    weighted = [(value * torch.linspace(-1, 1, value.numel()).view_as(value)).sum() for value in found.values()]
    return torch.stack(losses or weighted).sum()


def _gradients(model: nn.Module) -> dict[str, Tensor | None]:
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def _whole(model: nn.Module, name: str, gradient: Any) -> Tensor | None:
    """A complete gradient, in the shape of the published tensor."""
    if not is_divided(gradient):
        return None if gradient is None else gradient.clone()
    path, _, key = name.rpartition(".")
    fused = fused_axis(model.get_submodule(path), key)
    whole: Tensor = gradient.full_tensor().clone()  # clipping will change it
    return whole.reshape(share_of(gradient, fused).shape)
