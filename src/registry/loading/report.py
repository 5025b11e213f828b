"""What loading reports: what became of every name, and the error that names what does not fit."""

import sys
from collections.abc import Collection, Iterable
from typing import Any

from attrs import frozen

from registry import discovery
from registry.errors import WeightsMismatchError
from registry.formatting import first_of
from registry.loading.meta import build
from registry.records import ModelSpec
from registry.weights.checkpoint import Checkpoint
from registry.weights.matching import Outcomes, Pair, match, translate_names


@frozen(kw_only=True)
class LoadReport:
    """What became of every name, in the file and in the model."""

    source: str
    """What was read."""
    loaded: tuple[str, ...] = ()
    """Names in the model whose values the file holds under their own name."""
    tied: tuple[str, ...] = ()
    """Names in the model that share the tensor of a loaded one."""
    new: tuple[str, ...] = ()
    """Names in the model, of whole parts that the file lacks; newly initialized."""
    missing: tuple[str, ...] = ()
    """Names in the model that the file lacks, as ``allow_missing`` permits; newly initialized."""
    unexpected: tuple[str, ...] = ()
    """Names in the file that the model lacks, as ``allow_unexpected`` permits; not read."""
    dropped: tuple[str, ...] = ()
    """Names in the file dropped by rule: declared buffers, parts that the model lacks, second names of a tie."""
    renamed: tuple[tuple[str, str], ...] = ()
    """Older spellings: pairs of the name in the file and ours."""
    ignored_files: tuple[str, ...] = ()
    """Files of weights in other formats, which were not read."""
    seconds: float = 0.0
    """Seconds that filling the model took."""

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} tensors loaded from {self.source} in {self.seconds:.3f} s"]
        for name, label in _REPORT_LABELS.items():
            items = [item if isinstance(item, str) else " -> ".join(item) for item in getattr(self, name)]
            if items:
                lines.append(f"  {label}: {first_of(items)}")
        return "\n".join(lines)


_REPORT_LABELS = {
    "tied": "tied to a loaded tensor",
    "new": "newly initialized, since the file has no such part",
    "missing": "newly initialized, as allowed",
    "unexpected": "unexpected, as allowed",
    "dropped": "dropped, since the model has no such part",
    "renamed": "renamed",
    "ignored_files": "ignored files",
}


def report_of(outcomes: Outcomes, dropped: Iterable[str], checkpoint: Checkpoint, seconds: float) -> LoadReport:
    """The report on a checkpoint that was loaded; ``dropped`` are names which its tables drop."""
    loaded = [(name, pair.theirs.get(full)) for pair in outcomes["loaded"] for full, name in pair.ours.items()]
    twins = [
        tensor.name for pair in outcomes["loaded"] for full, tensor in pair.theirs.items() if full not in pair.ours
    ]
    return LoadReport(
        source=checkpoint.source,
        loaded=tuple(name for name, tensor in loaded if tensor),
        tied=tuple(name for name, tensor in loaded if not tensor),
        new=_ours(outcomes["new"]),
        missing=_ours(outcomes["allowed_missing"]),
        unexpected=_theirs(outcomes["allowed_unexpected"]),
        dropped=(*dropped, *_theirs(outcomes["dropped"]), *_theirs(outcomes["allowed_missing"]), *twins),
        renamed=tuple((tensor.name, name) for name, tensor in loaded if tensor and tensor.renamed),
        ignored_files=checkpoint.ignored_files,
        seconds=seconds,
    )


def _ours(pairs: Iterable[Pair]) -> tuple[str, ...]:
    return tuple(name for pair in pairs for name in pair.ours.values())


def _theirs(pairs: Iterable[Pair]) -> tuple[str, ...]:
    return tuple(tensor.name for pair in pairs for tensor in pair.theirs.values())


# --- What does not fit ------------------------------------------------------------------------------------------------


def mismatch(
    model: str, checkpoint: Checkpoint, outcomes: Outcomes, flaws: Collection[str], empty: Collection[str]
) -> WeightsMismatchError | None:
    """The error that lists all that does not fit; None when everything fits.

    Args:
        model: The name of the model's class.
        checkpoint: What was read.
        outcomes: What became of the tensors of both sides.
        flaws: Tensors that cannot be assigned, with the reasons.
        empty: Buffers without values.
    """
    problems = {
        "missing in the file": [_shown(pair, "file") for pair in outcomes["missing"]],
        "unexpected in the file": [_shown(pair, "model") for pair in outcomes["unexpected"]],
        "unfit": flaws,
        "buffers without values": empty,
    }
    lines = [f"{len(items)} {kind}: {first_of(items)}" for kind, items in problems.items() if items]
    if not lines:
        return None
    opening = f"The weights in {checkpoint.source} do not fit {model}, which was left as it was:"
    return WeightsMismatchError("\n  ".join([opening, *lines]), hint=_advice(outcomes, checkpoint.tensors))


def _shown(pair: Pair, side: str) -> str:
    return pair.names[0] if pair.part is None else f"{pair.names[0]} (the {side} has only some of {pair.part}*)"


def _advice(outcomes: Outcomes, names: Collection[str]) -> str:
    if outcomes["loaded"] or outcomes["allowed_missing"]:
        return (
            "If that is meant: allow_missing=['classifier.*'] newly initializes names of the model, and "
            "allow_unexpected=['classifier.*'] drops names of the file."
        )
    wanted = [pair.names[0] for pair in (*outcomes["missing"], *outcomes["new"])]
    sides = f"the file has {first_of(names, 3)}; the model has {first_of(wanted, 3)}"
    return f"No name is common to both: {sides}.{_similar_model(names)}"


def _similar_model(names: Collection[str]) -> str:
    """A sentence on the model whose names are most similar to ``names``, of those whose code is imported already."""
    best, sentence = 0.5, ""
    for spec in discovery.every(ModelSpec):
        if spec.cls.target.partition(":")[0] not in sys.modules:
            continue
        try:
            share = _overlap(names, spec.cls.load())
        except Exception:  # noqa: BLE001, S112  # a third party's code must not hide the error that this decorates
            continue
        if share > best:
            best = share
            sentence = f" Those of the file are like {spec.cls.name}'s, of the architecture {spec.architecture!r}."
    return sentence


def _overlap(names: Collection[str], cls: Any) -> float:
    """The share of ``names`` that a model of default size has."""
    model = build(lambda: cls(cls.config_class()))
    sources = translate_names(names, None, model.layout).sources
    pairs = match(model.state_dict().keys(), [], sources, model.layout)
    return sum(len(pair.theirs) for pair in pairs if pair.ours) / max(len(names), 1)
