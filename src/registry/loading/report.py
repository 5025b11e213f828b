"""What loading reports: what became of every name."""

from collections.abc import Collection, Iterable

from attrs import frozen

from registry.formatting import first_of, html_table, printable
from registry.weights.checkpoint import Checkpoint
from registry.weights.matching import Outcomes, Pair
from registry.weights.names import Translation


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
    wrappers: tuple[str, ...] = ()
    """Wrappers that were removed from the names in the file: ``module.``, ``_orig_mod.``."""
    untrained: tuple[str, ...] = ()
    """Names in the model whose loaded values are still those of an initialization, as the saved directory records."""
    ignored_files: tuple[str, ...] = ()
    """Files of weights in other formats, which were not read."""
    seconds: float = 0.0
    """Seconds that filling the model took."""

    def __repr__(self) -> str:
        counts = {name: len(getattr(self, name)) for name in ("loaded", *_REPORT_LABELS)}
        listed = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        return printable(f"<LoadReport of {self.source}: {listed}>", lines=False)

    def _repr_html_(self) -> str:
        return html_table("Load report", self.rows())

    def rows(self) -> dict[str, str]:
        """What became of the names, by kind; empty kinds are dropped."""
        named = {
            label: [item if isinstance(item, str) else " -> ".join(item) for item in getattr(self, name)]
            for name, label in _REPORT_LABELS.items()
        }
        loaded = f"{len(self.loaded)} tensors from {self.source} in {self.seconds:.3f} s"
        return {"loaded": loaded, **{label: first_of(items) for label, items in named.items() if items}}

    def __str__(self) -> str:
        _, *others = self.rows().items()
        first = f"{len(self.loaded)} tensors loaded from {self.source} in {self.seconds:.3f} s"
        return "\n".join([first, *(f"  {label}: {items}" for label, items in others)])


_REPORT_LABELS = {
    "tied": "tied to a loaded tensor",
    "new": "newly initialized, since the file has no such part",
    "missing": "newly initialized, as allowed",
    "unexpected": "unexpected, as allowed",
    "dropped": "dropped, since the model has no such tensor, or has it under another name",
    "renamed": "renamed",
    "wrappers": "wrappers removed from the names",
    "untrained": "loaded, but never trained since their initialization",
    "ignored_files": "ignored files",
}


def report_of(outcomes: Outcomes, translation: Translation, checkpoint: Checkpoint, seconds: float) -> LoadReport:
    """The report on a checkpoint that was loaded."""
    loaded = [(name, pair.theirs.get(full)) for pair in outcomes["loaded"] for full, name in pair.ours.items()]
    twins = [
        name
        for pair in outcomes["loaded"]
        for full, tensor in pair.theirs.items()
        if full not in pair.ours
        for name in tensor.names
    ]
    return LoadReport(
        source=checkpoint.source,
        loaded=tuple(name for name, tensor in loaded if tensor),
        tied=tuple(name for name, tensor in loaded if not tensor),
        new=_ours(outcomes["new"]),
        missing=_ours(outcomes["allowed_missing"]),
        unexpected=_theirs(outcomes["allowed_unexpected"]),
        dropped=tuple(
            dict.fromkeys(
                (*translation.dropped, *_theirs(outcomes["dropped"]), *_theirs(outcomes["allowed_missing"]), *twins)
            )
        ),
        renamed=tuple(
            (theirs, name) for name, tensor in loaded if tensor and tensor.renamed for theirs in tensor.names
        ),
        wrappers=translation.wrappers,
        untrained=_untrained(outcomes["loaded"], checkpoint.untrained),
        ignored_files=checkpoint.ignored_files,
        seconds=seconds,
    )


def _untrained(loaded: Iterable[Pair], marked: Collection[str]) -> tuple[str, ...]:
    """Names in the model of tensors that are marked; of a part, only where all of its tensors are."""
    if not marked:
        return ()
    found = [(pair, pair.stored) for pair in loaded]
    trained = {pair.part for pair, names in found if pair.part is not None and not set(names) <= set(marked)}
    untrained = [pair for pair, names in found if set(names) <= set(marked) and pair.part not in trained]
    return tuple(name for pair in untrained for full, name in pair.ours.items() if full in pair.theirs)


def _ours(pairs: Iterable[Pair]) -> tuple[str, ...]:
    return tuple(name for pair in pairs for name in pair.ours.values())


def _theirs(pairs: Iterable[Pair]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for pair in pairs for name in pair.stored))
