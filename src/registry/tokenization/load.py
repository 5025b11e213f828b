"""Reads the tokenizer, or another processor of inputs, among the files of a model."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from registry import discovery
from registry.discovery.carried import carried_by
from registry.errors import MissingTokenizerError, RegistryError
from registry.files.filenames import TOKENIZER_NAME, VOCABULARY_NAMES, is_weights
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

VOCABULARY_ENDINGS = frozenset(name[name.rindex(".") :] for name in VOCABULARY_NAMES)
"""Endings of files that are vocabularies; a single file with another one may be a whole model."""


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
    card = files.source.card
    options = {**({} if card is None else card.tokenizer), **options}
    with files.unchanged():
        if isinstance(files.source, FileSource) and files.source.path.suffix not in VOCABULARY_ENDINGS:
            contents = carried_by("tokenizer", paths)
            if contents is not None:
                return _read_contents(cls, contents, options, str(files.source))
        if isinstance(files.source, FileSource):  # a vocabulary, whatever its name
            vocabulary = getattr(cls, "vocabulary_name", None)
            paths = {n if vocabulary is None or n == TOKENIZER_NAME else vocabulary: paths[n] for n in paths}
        try:
            return cls.from_files(paths, **options)
        except MissingTokenizerError:
            is_apart = any(map(is_weights, paths))  # weights in files of their own: no plugin needs to be imported
            contents = None if is_apart else carried_by("tokenizer", files.whole())
            if contents is None:
                raise
            return _read_contents(cls, contents, options, str(files.source))


def _read_contents(
    cls: type[ProcessorT], contents: Mapping[str, str | bytes], options: Mapping[str, Any], origin: str
) -> ProcessorT:
    """The processor in files that a format of weights carries, which are on disk while it is read."""
    from tempfile import TemporaryDirectory  # which imports compressors

    with TemporaryDirectory() as directory:
        paths = {name: Path(directory, name) for name in contents}
        for name, content in contents.items():
            paths[name].write_bytes(content.encode() if isinstance(content, str) else content)
        try:
            return cls.from_files(paths, **options)
        except RegistryError as problem:  # these files are nobody's
            problem.message = problem.message.replace(f"{directory}{os.sep}", f"{origin}: ")
            raise


def _own_roles(files: Files) -> tuple[str, ...]:
    """The further roles that the architecture of a card declares for its tokenizer."""
    card = files.source.card
    spec = None if card is None else discovery.architecture(card.architecture).tokenizer
    return () if spec is None else tuple(role for role in spec.files if role not in ROLES)
