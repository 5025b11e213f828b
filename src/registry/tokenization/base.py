"""Tokenizers: options, files, and what an algorithm makes of texts."""

import os
from collections.abc import Iterable, Mapping
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from registry.errors import MissingTokenizerError, UnknownAttributeError, VocabError, did_you_mean
from registry.files.filenames import (
    ADDED_TOKENS_NAME,
    CHAT_TEMPLATE_NAME,
    SPECIAL_TOKENS_MAP_NAME,
    TOKENIZER_CONFIG_NAME,
    TOKENIZER_NAME,
)
from registry.formatting import first_of
from registry.tokenization import options
from registry.tokenization.added_tokens.token import AddedToken, added_token
from registry.tokenization.batches.chat import ChatEncoder
from registry.tokenization.lookup import AddedTokenError
from registry.tokenization.options import Option
from registry.tokenization.published.templates import as_files
from registry.tokenization.tokenizer_json import check_vocabulary
from registry.tokenization.vocabulary import parse_vocabulary

if TYPE_CHECKING:
    from registry.files.atomic import Writer
    from registry.records import Paths

OTHER_SPECIAL_TOKENS = "additional_special_tokens"
"""The option for special tokens without a role."""
ADDED_TOKENS_FILES = (TOKENIZER_CONFIG_NAME, SPECIAL_TOKENS_MAP_NAME, ADDED_TOKENS_NAME, TOKENIZER_NAME)
"""Files in which added tokens may stand."""
NO_LIMIT = int(1e30)
"""What transformers has for the length of the longest input, where it is not known."""

# Modules that resolve, save and pickle are imported where they are used: a tokenizer of a file on disk needs none of
# them, and is made in a third of the time.


class Construction(type):
    """The class of classes whose objects have a flag, ``_is_made``, once their constructors have ended."""

    if not TYPE_CHECKING:  # the constructor is what type checkers and editors should show

        def __call__(cls, *args: Any, **values: Any) -> Any:
            """An object of the class."""
            made = super().__call__(*args, **values)
            vars(made)["_is_made"] = True
            return made


class Tokenizer(ChatEncoder, metaclass=Construction):
    """Base of every tokenizer.

    An architecture's tokenizer sets class attributes, and defines its algorithm: ``span_ids`` and ``span_offsets``
    (text to tokens) and ``convert_tokens_to_string`` (tokens to text); where its files are not one ``vocab.txt``,
    ``read_files`` and ``vocabulary_files`` as well.

    Args:
        vocab: The tokens and their ids.
        origin: The name of the vocabulary in errors.
        **values: Values of ``options``.

    Raises:
        UnknownOptionError: There is no such option.
        ConfigError: An option has a value that it cannot have.
        VocabError: Ids are missing, used twice, or contradict the added tokens.
    """

    vocabulary_name: ClassVar[str] = "vocab.txt"
    """The published name of the vocabulary file."""
    published_classes: ClassVar[tuple[str, ...]] = ()
    """Names of tokenizers in other libraries whose directories this one reads; the first is written on saving."""
    options: ClassVar[Mapping[str, Option]] = options.COMMON
    """Keywords of the constructor, each of which is also an attribute, and the values that they may have."""

    extra: Mapping[str, Any] = {}
    """Keys of a ``tokenizer_config.json`` that mean nothing here; they are written back."""

    def __init__(self, vocab: dict[str, int], *, origin: str = "the vocabulary", **values: Any) -> None:
        options.refuse_unknown(values, self.options, type(self).__name__)
        for name, value in values.items():
            options.check(value, name, self.options[name])
            setattr(self, name, options.fixed(value))
        self._set_vocabulary(vocab, origin)

    # --- Attributes

    _is_made = False

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; an option takes effect as if it had been given to the constructor.

        Raises:
            UnknownAttributeError: There is no such attribute.
            ConfigError: An option cannot have this value.
            VocabError: The vocabulary contradicts it.
        """
        if not self._is_made or name.startswith("_"):
            super().__setattr__(name, value)
        elif name in self.options:
            options.check(value, name, self.options[name])
            self._set_option(name, options.fixed(value))
        elif hasattr(type(self), name) or name in vars(self):
            super().__setattr__(name, value)
        else:
            known = [*self.options, *(known for known in vars(self) if not known.startswith("_"))]
            raise UnknownAttributeError(
                f"A {type(self).__name__} has no attribute {name!r}, and setting it would have no effect."
                f"{did_you_mean(name, known)}",
                hint=f"Its options are: {', '.join(self.options)}.",
            )

    if not TYPE_CHECKING:  # type checkers know the attributes

        def __getattr__(self, name: str) -> Any:
            """Raise AttributeError, with what to write for a method of another library."""
            advice = ""
            if not name.startswith("_"):
                from registry.config.keywords import instead_of_attribute  # and with it attrs

                advice = instead_of_attribute(name)
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}.{advice}", name=name, obj=self)

    def _set_option(self, name: str, value: Any) -> None:
        """Set an option; the tokenizer is made again where its algorithm depends on it."""
        if name in options.LIVE:
            super().__setattr__(name, value)
        else:
            former = self._former([name])
            self._remake({name: value, **({"added_tokens": {**former, **self.added_tokens}} if former else {})})

    @property
    def model_max_length(self) -> int:
        """``max_len``, or 10^30 where it is None: the name and the number of transformers."""
        return NO_LIMIT if self.max_len is None else self.max_len

    @model_max_length.setter
    def model_max_length(self, length: int) -> None:
        self.max_len = None if length >= options.UNLIMITED else length

    def __repr__(self) -> str:
        values = [f"{name}={getattr(self, name)!r}" for name in ("max_len", "do_lower_case") if hasattr(self, name)]
        return f"{type(self).__name__}({', '.join([f'{len(self):,} tokens', *values])})"

    # --- Files, which an architecture may define

    @classmethod
    def read_files(cls, paths: "Paths") -> tuple[Any, dict[str, Any]]:
        """The first argument of the constructor, and options, from the files of a vocabulary.

        Raises:
            MissingTokenizerError: The files are not there.
            VocabError: They are damaged.
        """
        if cls.vocabulary_name not in paths:
            raise missing(cls, cls.vocabulary_name, paths)
        return paths[cls.vocabulary_name], {}

    def vocabulary_files(self) -> Mapping[str, str | bytes]:
        """Names and contents of the files of the vocabulary; the first is *the* vocabulary.

        Raises:
            VocabError: No file can hold this vocabulary.
        """
        tokens = self.ids_to_tokens[: self.vocab_size]
        text = "".join(f"{token}\n" for token in tokens)
        if list(parse_vocabulary(text.encode(errors="replace"), origin="This vocabulary")) != tokens:
            raise VocabError(
                "A token of this vocabulary contains a line break or a lone surrogate, or has blanks around it. "
                "A file of one token per line cannot represent it."
            )
        return {self.vocabulary_name: text}

    def published_class(self) -> str:
        """The name of the tokenizer in other libraries that reads what this one writes."""
        if not self.published_classes:
            raise NotImplementedError(
                f"{type(self).__name__} does not define published_classes, the names of its class in other libraries."
            )
        return self.published_classes[0]

    # --- Loading

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        cache_dir: str | os.PathLike[str] | None = None,
        *,
        offline: bool | None = None,
        revision: str | None = None,
        progress: bool | None = None,
        **values: Any,
    ) -> Self:
        """The tokenizer of a model.

        Args:
            pretrained_model_name_or_path: A name, path or URL; also the path of a vocabulary.
            cache_dir: Directory for downloaded files.
            offline: True forbids every download; None asks the environment.
            revision: Branch, tag or commit of a repository of the hub.
            progress: Whether downloads show a bar; None shows one on a terminal.
            values: Options, which win over those of the model's card, and those over the ones in its files.

        Raises:
            UnknownOptionError: The class has no such option.
            UnknownModelError: Nothing has this name.
            MissingTokenizerError: The model has no vocabulary.
            VocabError: A file is damaged.
            ConfigError: An option in a file is impossible.
        """
        from registry.sources.files import Files
        from registry.tokenization.load import read_tokenizer

        policy: dict[str, Any] = {
            "cache_dir": cache_dir,
            "offline": offline,
            "revision": revision,
            "progress": progress,
        }
        return read_tokenizer(cls, Files.named(pretrained_model_name_or_path, **policy), values)

    @classmethod
    def from_files(cls, paths: "Paths", **values: Any) -> Self:
        """The tokenizer in files, by their published names; options given here win over those in the files.

        Raises:
            UnknownOptionError: The class has no such option.
            MissingTokenizerError: There is no vocabulary.
            VocabError: A file is damaged.
            ConfigError: An option in a file is impossible.
        """
        options.refuse_unknown(values, cls.options, cls.__name__)
        vocab, described = cls.read_files(paths)
        published = options.read_options(paths, cls.options, cls.published_classes)
        try:
            tokenizer = cls(vocab, **{**described, **published, **values})
        except AddedTokenError as problem:
            files = ", ".join(str(path) for name, path in sorted(paths.items()) if name in ADDED_TOKENS_FILES)
            raise VocabError(problem.message, hint=f"Added tokens were read from {files}.") from problem
        if TOKENIZER_NAME in paths and isinstance(vocab, Path) and vocab != paths[TOKENIZER_NAME]:
            check_vocabulary(paths[TOKENIZER_NAME], tokenizer.own_vocab, str(vocab))
        return tokenizer

    # --- Added tokens

    def add_tokens(self, tokens: Any, special_tokens: bool = False) -> int:
        """Add tokens, which get the ids that follow; those of the vocabulary keep theirs, and are found everywhere.

        The embedding of a model needs a row for each: ``len(tokenizer)`` rows.

        Args:
            tokens: A token or a list of tokens: texts, records of ``AddedToken``, or those of ``tokenizers``.
            special_tokens: Whether they are special: skipped by ``decode(skip_special_tokens=True)``, and, unless a
                record says otherwise, found in text as it stands rather than in normalized text.

        Returns:
            The number of tokens that were added, or whose flags have changed.
        """
        is_one = isinstance(tokens, str) or hasattr(tokens, "content")
        given = [added_token(token, special=special_tokens) for token in ([tokens] if is_one else tokens)]
        return self._add(given, {})

    def add_special_tokens(self, special_tokens: Mapping[str, Any]) -> int:
        """Name special tokens, and add those that are new.

        Args:
            special_tokens: Tokens by the names of their roles: ``{"pad_token": "[PAD]"}``.  Under
                ``"additional_special_tokens"`` (``"extra_special_tokens"``) a list of others, which replaces the one
                before; tokens of that stay special.

        Returns:
            The number of tokens that were added, or whose flags have changed.

        Raises:
            UnknownOptionError: There is no such role.
        """
        given: list[AddedToken] = []
        roles: dict[str, Any] = {}
        for name, value in special_tokens.items():
            role = OTHER_SPECIAL_TOKENS if name == options.PUBLISHED[OTHER_SPECIAL_TOKENS] else name
            is_one = role in options.SPECIAL_TOKENS
            if not is_one and role != OTHER_SPECIAL_TOKENS:
                known = dict.fromkeys((*options.SPECIAL_TOKENS, OTHER_SPECIAL_TOKENS), options.TOKEN)
                options.refuse_unknown([name], known, "add_special_tokens")
            tokens = [added_token(token, special=True) for token in ([value] if is_one else value)]
            roles[role] = tokens[0].content if is_one else [token.content for token in tokens]
            given += tokens
        return self._add(given, roles)

    def _add(self, tokens: Iterable[AddedToken], roles: Mapping[str, Any]) -> int:
        """Add tokens and set options that name them; returns how many are new or have changed."""
        if not self.vocab:
            raise VocabError("Tokens cannot be added before there is a vocabulary.", hint="Build it first.")
        from registry.tokenization.added_tokens.matching import searched

        added: dict[str, AddedToken] = {}
        changes = 0
        free = count(len(self))
        for given in tokens:
            known = added.get(given.content, self._recognized.get(given.content))
            number = self.vocab.get(given.content) if known is None else known.id
            searched(given.resolved(), self.normalizer)  # raises an error before anything has changed
            if given.content and number is None:
                number = next(free)
            token = given.resolved()._replace(id=number)
            if given.content and token != known:
                added[token.content] = token.resolved(special=known is not None and known.special)
                changes += 1
        if added or roles:
            self._remake({**roles, "added_tokens": {**self._former(roles), **self.added_tokens, **added}})
        return changes

    def _former(self, roles: Iterable[str]) -> dict[str, AddedToken]:
        """The tokens that have these roles until now: they are found in texts when others have their roles, too."""
        named = (getattr(self, role) for role in roles if role in options.SPECIAL_TOKENS)
        return {token: self._recognized[token] for token in named if token in self._recognized}

    def _remake(self, changes: Mapping[str, Any]) -> None:
        """Make this tokenizer again, in place, with other values of options, so that no cache is older than they."""
        _, (_, state) = self.__reduce__()
        made = object.__new__(type(self))
        made.__setstate__({**state, **changes})
        self.__dict__ = made.__dict__

    # --- Saving

    def files(self) -> "dict[str, Writer]":
        """The files that a saved directory needs for this tokenizer: name -> what writes it to a path."""
        from registry.files.atomic import content_writer

        values = {name: getattr(self, name) for name in self.options}
        contents = {**self.vocabulary_files(), TOKENIZER_CONFIG_NAME: options.as_text(values, self.published_class())}
        template, _ = as_files(self.chat_template)
        if template is not None:
            contents[CHAT_TEMPLATE_NAME] = template
        return {name: content_writer(content) for name, content in contents.items()}

    def save_pretrained(self, directory: str | Path) -> list[str]:
        """Write the files of this tokenizer into a directory, which is made if missing; returns their paths.

        Files that another tokenizer left there are removed: they would be read in place of these, or added to them.
        """
        from registry.saving.folder import write_files

        return [str(path) for path in write_files(directory, self.files())]

    def save_vocabulary(self, vocab_path: str | Path) -> str:
        """Write the vocabulary into a path if that is a directory or ends with a slash, else to the path itself.

        Further files of the vocabulary are written next to it.  Options such as casing are not written:
        ``save_pretrained`` and ``registry.save`` do that.  Returns the path of the vocabulary.
        """
        from registry.files.atomic import content_writer
        from registry.saving.folder import write_files

        contents = self.vocabulary_files()
        name, *others = contents
        is_directory = str(vocab_path).endswith(("/", os.sep)) or Path(vocab_path).is_dir()
        target = Path(vocab_path, name) if is_directory else Path(vocab_path)
        files = {**{other: contents[other] for other in others}, target.name: contents[name]}
        write_files(target.parent, {name: content_writer(content) for name, content in files.items()})
        return str(target)

    def __reduce__(self) -> tuple[Any, ...]:
        from registry.namespace import reference_to, revive

        state = {name: getattr(self, name) for name in self.options}
        state["vocab"] = dict(islice(self.vocab.items(), self.vocab_size))
        return revive, (reference_to(type(self)), state)

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        values = dict(state)
        self._is_made = False
        self.__init__(values.pop("vocab"), **values)  # type: ignore[misc]  # caches and patterns are made again
        self._is_made = True


def missing(cls: type, filename: str, paths: "Paths") -> MissingTokenizerError:
    """The error for files among which there is no vocabulary."""
    unread = TOKENIZER_NAME in paths and TOKENIZER_NAME not in filename
    return MissingTokenizerError(
        f"{cls.__name__} needs {filename}, which is not among the {len(paths)} files found "
        f"({first_of(sorted(paths), 6) or 'none'}).",
        hint=f"{cls.__name__} does not read {TOKENIZER_NAME}; the author of its plugin may have it read by read_files."
        if unread
        else "Save the tokenizer next to the model: tokenizer.save_pretrained(directory).",
    )
