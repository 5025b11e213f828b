"""Reads the tokenizer among the files of a model."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from registry.files.filenames import TOKENIZER_NAME
from registry.sources.files import Files
from registry.sources.on_disk import FileSource
from registry.tokenization.options import refuse_unknown

if TYPE_CHECKING:
    from registry.tokenization.base import Tokenizer

TokenizerT = TypeVar("TokenizerT", bound="Tokenizer")

ROLES = ("vocab", "merges", "special_tokens", "tokenizer", "tokenizer_config")
"""Roles of the files which are the tokenizer's."""


def read_tokenizer(cls: type[TokenizerT], files: Files, options: Mapping[str, Any]) -> TokenizerT:
    """The tokenizer among the files of a model; the options of its card stand unless others are given.

    Args:
        cls: The tokenizer's class.
        files: The files of the model.
        options: Keywords of the constructor.

    Raises:
        UnknownOptionError: The class has no such option; nothing is then fetched.
        MissingTokenizerError: There is no vocabulary.
        VocabError: A file is damaged.
        ConfigError: An option in a file is impossible.
        IntegrityError: The directory was saved over meanwhile.
    """
    refuse_unknown(options, cls.options, cls.__name__)
    paths = files.of(*ROLES)
    if isinstance(files.source, FileSource):  # a vocabulary, whatever its name
        paths = {name if name == TOKENIZER_NAME else cls.vocabulary_name: path for name, path in paths.items()}
    card = files.source.card
    with files.unchanged():
        return cls.from_files(paths, **{**({} if card is None else card.tokenizer), **options})
