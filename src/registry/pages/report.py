"""A page of a load report: what became of every tensor of a checkpoint and of every parameter of the model."""

from typing import Any

from torch import nn

from registry.loading.report import LoadReport
from registry.pages.rendering import single_page

KINDS = {
    "loaded": ("Loaded", "Parameters whose values come from the file."),
    "tied": ("Tied", "Parameters that share the tensor of a loaded one."),
    "new": ("Newly initialized", "Parameters of a part that the file lacks: they are random until they are trained."),
    "missing": ("Missing, as allowed", "Parameters that the file lacks, as allow_missing permits: they are random."),
    "untrained": ("Untrained", "Loaded, but still as they were initialized: they were saved before training."),
    "unexpected": ("Unexpected, as allowed", "Tensors of the file that the model lacks, as allow_unexpected permits."),
    "dropped": ("Dropped", "Tensors of the file that no parameter needs: heads of other classes, buffers."),
    "renamed": ("Renamed", "Older spellings of names."),
    "wrappers": ("Wrappers", "Prefixes that were removed from all names."),
    "ignored_files": ("Ignored files", "Files of weights in other formats."),
}
"""Fields of the report, each with its heading and what it means."""
ATTENTION = ("new", "missing", "untrained", "unexpected")
"""Kinds that a reader should look at."""


def report_page(report: LoadReport, model: nn.Module, name: str) -> str:
    """The HTML page of what loading a model reported.

    Args:
        report: ``loaded.report`` or ``model.load_report``.
        model: The model, for shapes and numbers of parameters.
        name: The name of the model, for the title.
    """
    tensors = {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers())}
    groups = [
        {
            "kind": kind,
            "title": title,
            "meaning": meaning,
            "rows": [_row(item, tensors) for item in getattr(report, kind)],
            "attention": kind in ATTENTION,
        }
        for kind, (title, meaning) in KINDS.items()
        if getattr(report, kind)
    ]
    sizes = {
        kind: sum(tensors[item].numel() for item in getattr(report, kind) if item in tensors)
        for kind in ("loaded", "new", "missing", "untrained")
    }
    values = {
        "name": name,
        "origin": report.source,
        "seconds": report.seconds,
        "class_name": type(model).__name__,
        "groups": groups,
        "sizes": sizes,
    }
    return single_page("report", f"Load report of {name}", {}, values)


def _row(item: Any, tensors: Any) -> dict[str, str]:
    """A name, or the older name and the newer, with the shape where the model has it."""
    names = (item,) if isinstance(item, str) else item
    tensor = tensors.get(names[-1])
    return {
        "name": " → ".join(names),
        "shape": "" if tensor is None else " × ".join(f"{size:,}" for size in tensor.shape),
        "dtype": "" if tensor is None else str(tensor.dtype).removeprefix("torch."),
    }
