"""``load_tokenizer``: the tokenizer, or another processor of inputs, among the files of a model."""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from registry import discovery
from registry.config.adapter import find_adapter
from registry.config.load import find_config
from registry.discovery import Architecture
from registry.discovery.carried import carried_by
from registry.errors import MissingTokenizerError, RegistryError, VocabError
from registry.files.filenames import TOKENIZER_NAME, VOCABULARY_NAMES, is_weights
from registry.sources.files import Files
from registry.sources.on_disk import FileSource
from registry.sources.source import Source
from registry.tokenization import options as known_options

if TYPE_CHECKING:
    from registry.config import Config
    from registry.files.atomic import Writer
    from registry.records import Paths
    from registry.tokenization.base import Tokenizer


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


def load_tokenizer(
    name: str | os.PathLike[str],
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool | None = None,
    revision: str | None = None,
    progress: bool | None = None,
    **tokenizer_options: Any,
) -> "Tokenizer":
    """The tokenizer of a model; needs no torch, and reads no weights.

    A model of images or sound has another processor, which is returned in its place.

    Args:
        name: A name, path or URL.
        cache_dir: Directory for downloaded files.
        offline: True forbids every download; None asks the environment.
        revision: Branch, tag or commit of a repository of the hub.
        progress: Whether downloads show a bar; None shows one on a terminal.
        tokenizer_options: Options of the tokenizer's class.

    Raises:
        UnknownModelError: Nothing has this name.
        MissingTokenizerError: The model has no vocabulary.
        UnknownOptionError: The class has no such option.
        VocabError: The vocabulary is damaged.
    """
    files = Files.named(name, cache_dir=cache_dir, offline=offline, revision=revision, progress=progress)
    refuse_tokenizer_keywords(files.source, tokenizer_options)
    adapter = find_adapter(files)
    base = files if adapter is None else adapter.base
    card = base.source.card
    known = find_config(base).architecture if card is None else discovery.architecture(card.architecture)
    return processor_of(known, files, tokenizer_options, base=base)  # type: ignore[return-value]  # in most cases a tokenizer


def processor_of(
    architecture: Architecture,
    files: Files,
    options: Mapping[str, Any] = MappingProxyType({}),
    *,
    base: Files | None = None,
) -> Processor:
    """The tokenizer, or other processor, among the files of a model.

    Args:
        architecture: What plugins declare of the architecture of the model.
        files: The files of the model, or of an adapter, with which a tokenizer may have been saved.
        options: Keywords of the class.
        base: The files of the model that the adapter adapts.

    Raises:
        MissingTokenizerError: The architecture has none, or the model has no files for it.
    """
    spec = architecture.tokenizer
    if spec is None:
        raise MissingTokenizerError(
            f"No installed plugin declares a tokenizer for the architecture {architecture.name!r}."
        )
    cls: type[Processor] = discovery.load_class(spec)
    if base is not None and base is not files:
        with suppress(MissingTokenizerError):
            return read_tokenizer(cls, files, options)
    return read_tokenizer(cls, files if base is None else base, options)


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
    known_options.refuse_unknown(options, known, cls.__name__)
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


def refuse_tokenizer_keywords(source: Source, keywords: Collection[str]) -> None:
    """Refuse keywords that no tokenizer takes, where the files are still to be fetched that say which it is.

    Raises:
        UnknownOptionError: No tokenizer takes a keyword.
    """
    if not keywords or source.card is not None or source.in_place:  # else the class says it, before it reads anything
        return
    from registry.config.keywords import refuse_unknown
    from registry.records import TokenizerSpec

    classes: Iterator[type[Tokenizer]] = (discovery.load_class(spec) for spec in discovery.every(TokenizerSpec))
    refuse_unknown(keywords, {option for cls in classes for option in getattr(cls, "options", ())}, "No tokenizer has")


def check_fit(tokenizer: Processor, config: "Config") -> None:
    """Check that a tokenizer has no id beyond the rows of a model's embedding; other processors have no ids.

    Raises:
        VocabError: It has one.
    """
    from registry.tokenization.base import Tokenizer  # which is loaded where there is one

    if not isinstance(tokenizer, Tokenizer):
        return
    rows = config.total_tokens_embeddings
    highest = max(tokenizer.get_vocab().values())
    if rows is not None and highest >= rows:
        token = tokenizer.convert_ids_to_tokens(highest)
        raise VocabError(
            f"The tokenizer does not belong to the model: its token {token!r} has the id {highest}, but the model "
            f"embeds {rows} tokens (ids 0 to {rows - 1}).",
            hint="Load the two from one directory, or correct the vocabulary file there; for tokens that were added, "
            f"model.resize_token_embeddings({highest + 1}).",
        )
