"""What is computed for texts: picklable functions from a dictionary of columns to one with a column more.

They serve a loop, ``run``, Ray Data's ``map_batches`` and Dask's ``map_partitions`` alike.  A model is loaded in the
process that first calls one, and once per process; what is pickled is only its name and the options.
"""

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from attrs import asdict, field, frozen

from registry.errors import InputError, UnknownTaskError, UntrainedWarning

if TYPE_CHECKING:
    from registry.embedding.embed import SentenceEncoder
    from registry.loading.loaded import Pretrained

Columns: TypeAlias = Mapping[str, Any]
"""Columns of equal length by name: lists, or arrays."""


@frozen
class Work:
    """A function of columns, by a model.

    Args:
        name: A model's name, directory or URL, as ``registry.load`` takes it.
        column: The column of the texts.
        tokens_per_batch: Tokens that are computed together, padding included: as many as stay in a CPU's caches; a GPU
            is quicker with more.
        device: Where the model computes, such as ``"cuda"``; the CPU unless given.
        dtype: The type of the weights, such as ``"bfloat16"``; float32 unless given.
        revision: A commit, branch or tag of a hub repository.
        cache_dir: The directory of the cache.
        offline: Never use the network.
    """

    kind: ClassVar[str]
    """What the command line calls it."""
    into: ClassVar[str]
    """The column that is added."""
    task: ClassVar[str]
    """The task for which the model is loaded."""

    name: str
    column: str = field(default="text", kw_only=True)
    tokens_per_batch: int = field(default=2048, kw_only=True)
    device: str | None = field(default=None, kw_only=True)
    dtype: str | None = field(default=None, kw_only=True)
    revision: str | None = field(default=None, kw_only=True)
    cache_dir: str | None = field(default=None, kw_only=True)
    offline: bool | None = field(default=None, kw_only=True)

    @tokens_per_batch.validator
    def _is_positive(self, _attribute: object, number: int) -> None:
        if number < 1:
            raise InputError(f"tokens_per_batch must be at least 1, not {number}.")

    def __call__(self, columns: Columns) -> dict[str, Any]:
        """The columns, and the one that is computed; all others are passed through.

        Args:
            columns: Columns of equal length, one of which has the texts.

        Raises:
            InputError: There is no such column, or one of its elements is not text.
        """
        return {**columns, self.into: self.computed(self._texts(columns))}

    @abstractmethod
    def computed(self, texts: Sequence[str]) -> Any:
        """The column that is added, in the order of the texts."""

    @property
    def loaded(self) -> "Pretrained":
        """The model, loaded once per process."""
        options = {key: getattr(self, key) for key in ("device", "dtype", "revision", "cache_dir", "offline")}
        return _loaded(self.name, self.task, tuple(options.items()))

    def options(self) -> dict[str, Any]:
        """All that decides what is computed, as JSON takes it."""
        fields = asdict(self)
        return {"kind": self.kind, **{key: fields[key] for key in fields if key not in ("cache_dir", "offline")}}

    def _texts(self, columns: Columns) -> list[str]:
        if self.column not in columns:
            raise InputError(
                f"there is no column {self.column!r}, only {', '.join(map(repr, columns)) or 'none at all'}.",
                hint="column= names the column that has the texts.",
            )
        texts = list(columns[self.column])
        for number, text in enumerate(texts, 1):
            if not isinstance(text, str):
                raise InputError(f"row {number:,} of {self.column!r} is not text: {text!r}.")
        return texts


@lru_cache(maxsize=2)
def _loaded(name: str, task: str, options: tuple[tuple[str, Any], ...]) -> "Pretrained":
    from registry.loading.pretrained import load

    if task == Embedder.task:
        return load(name, task, **dict(options))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*newly initialized", UntrainedWarning)  # they are an error here
        loaded = load(name, task, **dict(options))
    if loaded.report.new:
        raise UnknownTaskError(
            f"the weights of {name!r} are not for {task!r}: {loaded.report.new[0]} and others would be random.",
            hint=f"`registry list --task {task}` lists suitable models.",
        )
    return loaded


@frozen
class Embedder(Work):
    """The vectors of texts, as ``Pretrained.embed`` computes them: column ``vector``, float32 ``(texts, width)``.

    Equal texts are computed once.

    Args:
        normalize: Scale vectors to length 1, also where the model's files do not say so.
        prompt: What is put before each text, or the name of one of the model's prompts.
    """

    kind = "embed"
    into = "vector"
    task = "base"

    normalize: bool = field(default=False, kw_only=True)
    prompt: str | None = field(default=None, kw_only=True)

    def computed(self, texts: Sequence[str]) -> Any:
        """A float32 array of numpy, ``(texts, width)``."""
        row_of = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        vectors = (
            self._encoder()
            .vectors(list(row_of), batch_size=len(row_of) or 1, most_tokens=self.tokens_per_batch)
            .numpy()
        )
        return vectors if len(row_of) == len(texts) else vectors[[row_of[text] for text in texts]]

    def _encoder(self) -> "SentenceEncoder":
        from registry.embedding.embed import SentenceEncoder

        loaded = self.loaded
        return SentenceEncoder(
            loaded.model, loaded.tokenizer, loaded.sentence_modules, normalize=self.normalize, prompt=self.prompt
        )


@frozen
class _Prediction(Work):
    """What a head that was trained predicts of each text, as ``registry predict`` does."""

    into = "prediction"

    def computed(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Predictions as mappings, without the text."""
        from registry.bulk.predictions import predicted
        from registry.embedding.embed import batched_by_tokens

        loaded = self.loaded
        lengths = [len(ids) for ids in loaded.tokenizer(list(texts))["input_ids"]]
        found: list[dict[str, Any]] = [{}] * len(texts)
        order = sorted(range(len(texts)), key=lengths.__getitem__)
        for batch in batched_by_tokens(order, lengths, len(texts) or 1, self.tokens_per_batch):
            answers = predicted(loaded, self.task, [texts[row] for row in batch], None)
            for row, answer in zip(batch, answers, strict=True):
                found[row] = {key: value for key, value in answer.items() if key != "text"}
        return found


@frozen
class Classifier(_Prediction):
    """The label of each text: column ``prediction``, with label, probability, and the probabilities of all labels.

    The model must have been trained for it; a head that is missing is an error.  Several labels of a text, and numbers,
    are as ``registry predict`` has them.
    """

    kind = "classify"
    task = "sequence-classification"


@frozen
class Tagger(_Prediction):
    """The labeled spans of each text: column ``prediction``, with ``spans``: label, text, start, end and probability.

    The model must have been trained for it; a head that is missing is an error.
    """

    kind = "tag"
    task = "token-classification"


@frozen
class Perplexity(Work):
    """The perplexity of each text under a causal model: column ``perplexity``; None for texts of less than two tokens.

    Texts beyond the context are read as ``registry evaluate`` reads them, in windows that overlap by half.
    """

    kind = "perplexity"
    into = "perplexity"
    task = "causal-lm"

    def computed(self, texts: Sequence[str]) -> list[float | None]:
        """Perplexities, each of one text."""
        from registry.generation.perplexity import evaluate

        model, tokenizer = self.loaded.model, self.loaded.tokenizer
        ids = [tokenizer.encode(text) for text in texts]
        return [evaluate(model, of_text).perplexity if len(of_text) > 1 else None for of_text in ids]
