"""The weights of a base model with an adapter added to them, as one checkpoint."""

from collections.abc import Callable, Iterable
from functools import partial

import torch
from attrs import evolve
from torch import Tensor, nn

from registry.errors import WeightsMismatchError
from registry.formatting import first_of
from registry.loading.adapters.lora import LoraAdapter, LowRank
from registry.nn.onednn import IN_OUT, OUT_IN
from registry.weights.checkpoint import Checkpoint
from registry.weights.matching import translate_names
from registry.weights.names import Layout
from registry.weights.shards import LazyTensors


def adapted(model: nn.Module, layout: Layout, base: Checkpoint, adapter: LoraAdapter) -> Checkpoint:
    """The weights of a base model with an adapter, by full names; each is computed when it is read.

    Args:
        model: The model which they are for.
        layout: How its weights are named.
        base: The weights of the base model.
        adapter: The adapter.

    Raises:
        WeightsMismatchError: The adapter is for layers that the base model does not have.
        UnsupportedError: It adapts what cannot be added to weights.
    """
    stored = translate_names(base.tensors, base.names, layout).sources
    names = translate_names([*adapter.replaced, *adapter.pairs], None, layout).sources
    readers: dict[str, Callable[[], Tensor]] = {
        full: partial(source.read, base.tensors) for full, source in stored.items()
    }
    for full, source in names.items():
        if source.name in adapter.replaced:
            readers[full] = partial(source.read, adapter.replaced)
    pairs = {full: adapter.pairs[source.name] for full, source in names.items() if source.name in adapter.pairs}
    if missing := [full for full in pairs if full not in readers]:
        raise WeightsMismatchError(
            f"The adapter in {adapter.file.path.parent} is for weights that its base model, {base.source}, does not "
            f"have: {first_of(missing, 4)}."
        )
    owners = _owners(model, layout)
    _refuse_tied(pairs, owners, layout, adapter)
    for full, pair in pairs.items():
        if full in owners:  # else of a head that the model does not have
            readers[full] = partial(_sum, full, readers[full], pair, transposed=_is_in_out(owners[full], full, adapter))
    return evolve(
        base,
        tensors=LazyTensors(readers),
        names=None,
        source=f"{adapter.file.files.source} on {base.source}",
        untrained=[full for full, source in stored.items() if source.name in base.untrained and full not in names],
    )


def _owners(model: nn.Module, layout: Layout) -> dict[str, nn.Module]:
    """The modules of a model that have a weight, by its full name."""
    found = {
        f"{path}.weight": module
        for path, module in model.named_modules(remove_duplicate=False)
        if isinstance(getattr(module, "weight", None), Tensor)
    }
    return {full: found[name] for name, full in layout.in_full(list(found)).items()}


def _refuse_tied(pairs: Iterable[str], owners: Iterable[str], layout: Layout, adapter: LoraAdapter) -> None:
    """Raise UnsupportedError for an adapter of one of several layers with one weight: the others would change, too."""
    for group in layout.ties:
        changed = [full for full in pairs if full in group]
        if changed and len([full for full in owners if full in group]) > 1:
            raise adapter.unsupported(f"adapts {changed[0]!r} alone, which is tied to the weight of another layer")


def _is_in_out(layer: nn.Module, name: str, adapter: LoraAdapter) -> bool:
    """Whether the weight of a layer is ``(in, out)``, as that of an embedding is, and not ``(out, in)``."""
    if isinstance(layer, nn.Embedding) or type(layer).forward in IN_OUT:
        return True
    if type(layer).forward in OUT_IN:
        return False
    raise adapter.unsupported(f"adapts {name!r}, the weight of a {type(layer).__name__}")


def _sum(name: str, read: Callable[[], Tensor], pair: LowRank, *, transposed: bool) -> Tensor:
    """The weight of an adapted layer."""
    weight = read()
    wide = torch.promote_types(pair.b.dtype, torch.float32)
    product = pair.b.to(wide) @ pair.a.to(wide)
    change = (product.t() if transposed else product) * pair.factor
    if change.shape != weight.shape:
        raise WeightsMismatchError(
            f"The adapter changes a weight of shape {tuple(change.shape)}, where {name!r} of its base model has "
            f"{tuple(weight.shape)}."
        )
    return (weight + change).to(weight.dtype)
