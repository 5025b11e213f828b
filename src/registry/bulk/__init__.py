"""Many texts, over files, processes and machines: what is computed (``work``), and its parts (``over_files``)."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry.bulk.over_files import Summary, run
    from registry.bulk.work import Classifier, Embedder, Perplexity, Tagger

__all__ = ["Classifier", "Embedder", "Perplexity", "Summary", "Tagger", "run"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{'over_files' if name in ('Summary', 'run') else 'work'}"), name)
