"""What every tokenizer does, whatever its algorithm: find special tokens, batch, decode, load and save."""

import os
import re
import warnings
from array import array
from collections.abc import Iterable, Mapping, Sequence, Sized
from itertools import chain, cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from registry.errors import InputError, MissingTokenizerError, RegistryWarning, VocabError
from registry.garbage import gc_paused
from registry.tokenization import batches, options
from registry.tokenization.batches import PACKED, Batch, Frame, Limit, RowOf, Segment
from registry.tokenization.chunk_cache import PackedIds, joined
from registry.tokenization.lookup import Ids, Lookup
from registry.tokenization.options import MARKS, Option
from registry.tokenization.vocabulary import parse_vocabulary

if TYPE_CHECKING:
    from registry.files.atomic import Writer
    from registry.records import Paths

# Modules that resolve, save and pickle are imported where they are used: a tokenizer of a file on disk needs none of
# them, and is made in a third of the time.


class Tokenizer(Lookup):
    """Base of every tokenizer.

    An architecture's tokenizer sets the class attributes, and defines ``_ids`` and ``_located`` (text to tokens) and
    ``_join`` (tokens to text); where its files are not one ``vocab.txt``, ``_read`` and ``_contents`` as well.
    """

    vocabulary_name: ClassVar[str] = "vocab.txt"
    """The published name of the vocabulary file."""
    published_classes: ClassVar[tuple[str, ...]]
    """Names of tokenizers in other libraries whose folders this one reads; the first is written on saving."""
    options: ClassVar[Mapping[str, Option]] = options.COMMON
    """Keywords of the constructor, each of which is also an attribute, and the values that they may have."""
    marks: ClassVar[Sequence[str]] = MARKS
    """Marks in a file by which an added token would match otherwise than here, so that they are refused."""
    frame: ClassVar[Frame[tuple[str, ...]]] = Frame((), (), ())
    """The special tokens around a text and between two: ``"cls_token"``, ``"sep_token"`` and so on."""
    model_inputs: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask")
    """Keys of a batch, in order."""

    max_len: int | None = None
    """Tokens of the longest input of the model, special ones included; None where it is not known."""
    split_special_tokens: bool = False
    """Whether special tokens that stand in a text are taken for ordinary text."""

    def __init__(self, vocab: dict[str, int], *, origin: str = "the vocabulary", **values: Any) -> None:
        """Keep the options, and ``vocab`` as the tokens and their ids; ``origin`` names it in errors."""
        options.refuse_unknown(values, self.options, type(self).__name__)
        for name, value in values.items():
            options.check(value, name, self.options[name])
            setattr(self, name, tuple(value) if isinstance(value, (list, set, frozenset)) else value)
        self._set_vocabulary(vocab, origin)
        special = self.all_special_tokens
        self._whole = _finder({*self.added_tokens, *special})
        self._whole_but_special = _finder(self.added_tokens.keys() - special)
        self._warned_of_length = False

    def __repr__(self) -> str:
        values = [f"{name}={getattr(self, name)!r}" for name in ("max_len", "do_lower_case") if hasattr(self, name)]
        return f"{type(self).__name__}({', '.join([f'{len(self):,} tokens', *values])})"

    # --- What an architecture defines

    def _ids(self, text: str) -> list[int]:
        """The ids of a text without special tokens, in a list of their own."""
        raise NotImplementedError

    def _packed(self, text: str) -> PackedIds:
        """The same as 64-bit integers, for tensors; a tokenizer that remembers chunks has them at hand."""
        return array("q", self._ids(text))

    def _located(self, text: str) -> Segment:
        """The same tokens with their places in the text."""
        raise NotImplementedError

    def _ids_after(self, text: str) -> list[int]:
        """The ids of text that follows a token which was recognised whole; the same as elsewhere, unless told."""
        return self._ids(text)

    def _located_after(self, text: str) -> Segment:
        """The same tokens with their places in the text."""
        return self._located(text)

    def _join(self, tokens: Sequence[str]) -> str:
        """The text that tokens spell."""
        raise NotImplementedError

    @classmethod
    def _read(cls, paths: "Paths") -> tuple[Any, dict[str, Any]]:
        """First argument of the constructor, and options, from the files of a vocabulary."""
        if cls.vocabulary_name not in paths:
            raise missing(cls, cls.vocabulary_name, paths)
        return paths[cls.vocabulary_name], {}

    def _contents(self) -> Mapping[str, str | bytes]:
        """Names and contents of the files of the vocabulary; the first is *the* vocabulary."""
        tokens = self.ids_to_tokens[: self.vocab_size]
        text = "".join(f"{token}\n" for token in tokens)
        if list(parse_vocabulary(text.encode(), origin="This vocabulary")) != tokens:
            raise VocabError(
                "A token of this vocabulary has a line end in it, or blanks around it: no line can hold it."
            )
        return {self.vocabulary_name: text}

    def _published_class(self) -> str:
        """The name of the tokenizer in other libraries that reads what this one writes."""
        return self.published_classes[0]

    # --- One text

    def tokenize(self, text: str, *, split_special_tokens: bool | None = None) -> list[str]:
        """The tokens of a text; none are added."""
        return [self.ids_to_tokens[number] for number in self._segment(text, split_special_tokens).ids]

    def encode(self, text: str, text_pair: str | None = None, **call: Any) -> list[int]:
        """The ids of a text or a pair, special tokens added; takes the keywords of a call."""
        if isinstance(text, str) and text_pair is None and not call:  # most calls, at half the cost
            row, _ = batches.framed(self._frame(True), self._segment(text, None))
            self._warn_of_length([{"input_ids": row.ids}], Limit(None, None, 0))
            return cast("list[int]", row.ids)
        ids: list[int] = self(text, text_pair, **call)["input_ids"]
        return ids

    def ids_of_file(self, path: str | Path) -> PackedIds:
        """The ids of a text file as the model was trained to read texts, without special tokens around it.

        Raises InputError where the file is not UTF-8.
        """
        try:
            segment = self._segment(Path(path).read_text(encoding="utf-8"), None, PACKED)
        except UnicodeDecodeError as problem:
            raise InputError(f"{path} is not a text in UTF-8: {problem}.") from problem
        return cast("PackedIds", segment.ids)

    def decode(self, ids: Ids, skip_special_tokens: bool = False) -> str:
        """The text that ids spell, as far as it can be told."""
        return self._join(self.convert_ids_to_tokens([ids] if isinstance(ids, int) else ids, skip_special_tokens))

    def _segment(self, text: str, split_special_tokens: bool | None, row_of: RowOf = list) -> Segment:
        """The tokens of a text."""
        pieces = self._pieces(text, split_special_tokens)
        if len(pieces) == 1:
            return Segment(self._ids(text) if row_of is list else self._packed(text), [])
        ways = chain([self._ids], cycle([self._id_of_whole, self._ids_after]))
        return Segment(row_of(joined([way(piece) for piece, way in zip(pieces, ways, strict=False)])), [])

    def _located_segment(self, text: str, split_special_tokens: bool | None, row_of: RowOf) -> Segment:
        """The tokens of a text with their places."""
        ways = chain([self._located], cycle([self._located_whole, self._located_after]))
        segments: list[Segment] = []
        start = 0
        for piece, way in zip(self._pieces(text, split_special_tokens), ways, strict=False):
            segments.append(way(piece).moved(start))
            start += len(piece)
        ids = joined([segment.ids for segment in segments])
        return Segment(row_of(ids), joined([segment.offsets for segment in segments]))

    def _pieces(self, text: str, split_special_tokens: bool | None) -> Sequence[str]:
        """The text cut around tokens that are recognised whole: text, such a token, text, and so on."""
        split = self.split_special_tokens if split_special_tokens is None else split_special_tokens
        finder = self._whole_but_special if split else self._whole
        return [text] if finder is None else finder.split(text)

    def _id_of_whole(self, token: str) -> list[int]:
        return [self.vocab[token]]

    def _located_whole(self, token: str) -> Segment:
        return Segment(self._id_of_whole(token), [0, len(token)])

    # --- Batches

    @gc_paused()  # of thousands of rows, none is garbage
    def __call__(
        self,
        text: str | Sequence[str] | Sequence[tuple[str, str]],
        text_pair: str | Sequence[str] | None = None,
        *,
        add_special_tokens: bool = True,
        max_length: int | None = None,
        truncation: bool | str | None = False,
        stride: int = 0,
        padding: bool | str | None = False,
        return_tensors: str | None = None,
        return_offsets_mapping: bool = False,
        split_special_tokens: bool | None = None,
    ) -> Batch:
        """Turn texts into what a model takes: ``model(**tokenizer(texts, padding=True, return_tensors="pt"))``.

        - ``text``: one text, a list of texts, or a list of pairs.
        - ``text_pair``: the second text, or as many second texts as there are texts.
        - ``add_special_tokens``: put the model's special tokens around and between texts.
        - ``max_length``: tokens that a row may have, special ones included; ``max_len`` when None.
        - ``truncation``: which text is cut when a row is too long: the longer one (True or ``"longest_first"``),
          ``"only_first"`` or ``"only_second"``; none when False, or when no length is known.
        - ``stride``: where text is cut, make as many rows as it takes to keep all of it; neighbours share ``stride``
          tokens, and ``text_index`` of the batch tells the text of each row.
        - ``padding``: fill rows up to the longest (True or ``"longest"``) or to ``"max_length"``.
        - ``return_tensors``: ``"pt"`` for torch, ``"np"`` for numpy, None for lists.
        - ``return_offsets_mapping``: add ``offset_mapping``, the place of each token in its text.
        - ``split_special_tokens``: take special tokens in a text for ordinary text; None: as the tokenizer was told.

        Raises UnknownOptionError for a strategy that does not exist, ValueError for lengths that cannot be met, and
        VocabError where a special token is needed that the vocabulary lacks.
        """
        strategy = batches.choose(truncation, batches.TRUNCATION, "truncation")
        fill_to = batches.choose(padding, batches.PADDING, "padding")
        form = batches.choose(return_tensors, batches.FORMS, "return_tensors")
        segment = self._located_segment if return_offsets_mapping else self._segment
        firsts, seconds, batched = batches.texts_and_pairs(text, text_pair)
        limit = Limit(self.max_len if max_length is None else max_length, strategy, stride)
        keys = (*self.model_inputs, "offset_mapping") if return_offsets_mapping else self.model_inputs
        rows, text_index = batches.rows(
            (segment(text, split_special_tokens, form.row_of) for text in firsts),
            None if seconds is None else (segment(text, split_special_tokens, form.row_of) for text in seconds),
            Frame(*(Segment(form.row_of(part.ids), part.offsets) for part in self._frame(add_special_tokens))),
            limit,
            {key: form.columns[key] for key in keys},
        )
        self._warn_of_length(rows, limit)
        columns = {key: [row[key] for row in rows] for key in keys}
        width = batches.width(columns["input_ids"], fill_to, limit)
        fill = {"input_ids": self._padding_id(columns["input_ids"], width)}
        paddings = {key: form.padding(key, fill.get(key, 0)) for key in keys}
        columns = {key: batches.padded(column, width, paddings[key]) for key, column in columns.items()}
        batch = Batch({key: form.whole(key, column) for key, column in columns.items()})
        if not batched and return_tensors is None and not (strategy and stride):
            batch.update({key: column[0] for key, column in batch.items()})
        batch.text_index = text_index
        return batch

    def _frame(self, wanted: bool) -> Frame[Segment]:
        """The special tokens around and between texts; none unless they are wanted."""
        names: Frame[tuple[str, ...]] = self.frame if wanted else Frame((), (), ())
        return Frame(*(batches.added([self.special_id(name) for name in place]) for place in names))

    def _padding_id(self, column: Sequence[Sized], width: int) -> int:
        """The id of padding, which is missed only where a row is short."""
        return self.special_id("pad_token") if any(len(row) < width for row in column) else 0

    def _warn_of_length(self, rows: Sequence[Mapping[str, Sized]], limit: Limit) -> None:
        """Warn, once, of a row that the model will refuse."""
        longest = max((len(row["input_ids"]) for row in rows), default=0)
        most = self.max_len or longest
        if limit.strategy is None and longest > most and not self._warned_of_length:
            self._warned_of_length = True
            warnings.warn(
                f"A row has {longest:,} tokens, and the model takes {most:,}: truncation=True cuts the text, and with "
                f"stride=... makes several rows of it.",
                RegistryWarning,
                stacklevel=3,
            )

    # --- Loading

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        cache_dir: str | Path | None = None,
        *,
        offline: bool | None = None,
        revision: str | None = None,
        progress: bool | None = None,
        **values: Any,
    ) -> Self:
        """The tokenizer of a model.

        Args:
            name_or_path: A name, path or URL; also the path of a vocabulary.
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

        files = Files.named(name_or_path, cache_dir=cache_dir, offline=offline, revision=revision, progress=progress)
        return read_tokenizer(cls, files, values)

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
        vocab, described = cls._read(paths)
        published = options.read_options(paths, cls.options, cls.published_classes, cls.marks)
        return cls(vocab, **{**described, **published, **values})

    # --- Saving

    def files(self) -> "dict[str, Writer]":
        """The files that a saved folder needs for this tokenizer: name -> what writes it to a path."""
        from registry.files.atomic import content_writer

        values = {name: getattr(self, name) for name in self.options}
        contents = {**self._contents(), options.CONFIG: options.as_text(values, self._published_class())}
        return {name: content_writer(content) for name, content in contents.items()}

    def save_pretrained(self, directory: str | Path) -> list[str]:
        """Write the files of this tokenizer into a folder, which is made if missing; returns their paths."""
        from registry.saving.folder import write_file

        return [str(write_file(Path(directory, name), write)) for name, write in self.files().items()]

    def save_vocabulary(self, path: str | Path) -> str:
        """Write the vocabulary into ``path`` if that is a folder or ends with a slash, else to ``path`` itself.

        Further files of the vocabulary stand beside it.  Options such as casing are not written: ``save_pretrained``
        and ``registry.save`` do that.  Returns the path of the vocabulary.
        """
        from registry.files.atomic import content_writer
        from registry.saving.folder import write_file

        contents = self._contents()
        name, *others = contents
        is_folder = str(path).endswith(("/", os.sep)) or Path(path).is_dir()
        target = Path(path, name) if is_folder else Path(path)
        for other in others:
            write_file(target.with_name(other), content_writer(contents[other]))
        write_file(target, content_writer(contents[name]))
        return str(target)

    def __reduce__(self) -> tuple[Any, ...]:
        from registry.records import reference_to, revive

        state = {name: getattr(self, name) for name in self.options}
        state["vocab"] = dict(islice(self.vocab.items(), self.vocab_size))
        return revive, (reference_to(type(self)), state)

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        values = dict(state)
        self.__init__(values.pop("vocab"), **values)  # type: ignore[misc]  # memories and patterns are made anew


def _finder(tokens: Iterable[str]) -> "re.Pattern[str] | None":
    """A pattern that finds any of these tokens, the longest where several start; None for no tokens."""
    words = [re.escape(token) for token in sorted(tokens, key=lambda token: (-len(token), token))]
    return re.compile(f"({'|'.join(words)})") if words else None


def missing(cls: type, filename: str, paths: "Paths") -> MissingTokenizerError:
    """The error for files among which there is no vocabulary."""
    return MissingTokenizerError(
        f"{cls.__name__} needs {filename}, which is not among the {len(paths)} files found "
        f"({', '.join(sorted(paths)[:6]) or 'none'}).",
        hint="Save the tokenizer beside the model: tokenizer.save_pretrained(directory).",
    )
