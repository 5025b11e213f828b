"""Unknown keywords of ``load`` and ``load_tokenizer``, refused before any file is fetched."""

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from registry import discovery
from registry.config.keywords import FOREIGN, refuse_unknown
from registry.config.load import config_keywords
from registry.errors import RegistryError
from registry.records import ModelSpec, TokenizerSpec
from registry.sources.source import Source

if TYPE_CHECKING:
    from registry.loading.model import Model
    from registry.tokenization.base import Tokenizer


def refuse_model_keywords(source: Source, task: str | None, keywords: Mapping[str, Any]) -> None:
    """Refuse keywords that no model takes which the source may hold.

    Where a card names the architecture, these are the keywords of one class.  The files of a repository or a URL
    say the architecture once they are here, and so all that is installed counts.

    Raises:
        UnknownOptionError: No such model takes a keyword.
    """
    from registry.loading.load import ClassArguments

    if not keywords:
        return
    card = source.card
    if card is not None:
        spec = discovery.architecture(card.architecture).models.get(task or card.task)
        if spec is not None:
            ClassArguments.of(discovery.load_class(spec), (), keywords)
        return
    known = config_keywords(None)
    if known.issuperset(keywords) or (source.in_place and FOREIGN.keys().isdisjoint(keywords)):
        return
    refuse_unknown(keywords, known | set(_class_keywords()), "No model has")


def _class_keywords() -> Iterator[str]:
    """The keywords of all classes of models; a plugin that fails has none."""
    from registry.loading.load import own_keywords

    for spec in discovery.every(ModelSpec):
        try:
            cls: type[Model] = discovery.load_class(spec)
        except RegistryError:
            continue
        for keywords in own_keywords(cls):
            yield from keywords


def refuse_tokenizer_keywords(source: Source, keywords: Collection[str]) -> None:
    """Refuse keywords that no tokenizer takes, where the files are still to be fetched that say which it is.

    Raises:
        UnknownOptionError: No tokenizer takes a keyword.
    """
    if not keywords or source.card is not None or source.in_place:  # else the class says it, before it reads anything
        return
    classes: Iterator[type[Tokenizer]] = (discovery.load_class(spec) for spec in discovery.every(TokenizerSpec))
    refuse_unknown(keywords, {option for cls in classes for option in getattr(cls, "options", ())}, "No tokenizer has")
