"""Reads the tokenizer, or another processor of inputs, among the files of a model."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from registry import discovery
from registry.files.filenames import TOKENIZER_NAME
from registry.sources.files import Files
from registry.sources.on_disk import FileSource
from registry.tokenization.options import refuse_unknown

if TYPE_CHECKING:
    from registry.files.atomic import Writer
    from registry.records import Paths


class Processor(Protocol):
    """Makes inputs of a model; read from its files, and saved with the model.

    Every tokenizer is one.  A class of another kind needs no base class: it has these two methods, and is called as its
    author likes.  A class attribute ``options`` lists the keywords of ``from_files``, where there are any.
    """

    @classmethod
    def from_files(cls, paths: "Paths", **options: Any) -> Self:
        """The processor in files, by their published names.

        Raises:
            MissingTokenizerError: Its files are not among them.
        """
        ...

    def files(self) -> "Mapping[str, Writer]":
        """The files that a saved directory needs for it: name -> what writes it to a path."""
        ...


ProcessorT = TypeVar("ProcessorT", bound="Processor")

ROLES = ("vocab", "merges", "special_tokens", "tokenizer", "tokenizer_config")
"""Roles of the files which are the tokenizer's."""


def read_tokenizer(cls: type[ProcessorT], files: Files, options: Mapping[str, Any]) -> ProcessorT:
    """The tokenizer, or other processor, of a model; the options of its card stand unless others are given.

    Args:
        cls: Its class.
        files: The files of the model.
        options: Keywords of the constructor.

    Raises:
        UnknownOptionError: The class has no such option; nothing is then fetched.
        MissingTokenizerError: There is no vocabulary.
        VocabError: A file is damaged.
        ConfigError: An option in a file is impossible.
        IntegrityError: The directory was saved over meanwhile.
    """
    known = getattr(cls, "options", {})  # a processor of another kind may have none
    refuse_unknown(options, known, cls.__name__)
    paths = files.of(*ROLES, *_own_roles(files))
    if isinstance(files.source, FileSource):  # a vocabulary, whatever its name
        vocabulary = getattr(cls, "vocabulary_name", None)
        paths = {name if vocabulary is None or name == TOKENIZER_NAME else vocabulary: paths[name] for name in paths}
    card = files.source.card
    with files.unchanged():
        return cls.from_files(paths, **{**({} if card is None else card.tokenizer), **options})


def _own_roles(files: Files) -> tuple[str, ...]:
    """The further roles that the architecture of a card declares for its tokenizer."""
    card = files.source.card
    spec = None if card is None else discovery.architecture(card.architecture).tokenizer
    return () if spec is None else tuple(role for role in spec.files if role not in ROLES)
