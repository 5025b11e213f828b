"""``load``, its parts, and ``save``.

Torch is imported when a model is built or saved; configurations and tokenizers need none.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic

from attrs import evolve, field, frozen

from registry import discovery
from registry.config import Config
from registry.config.adapter import find_adapter
from registry.config.keywords import instead_of_attribute, refusing_foreign
from registry.config.load import ConfigFile, find_config
from registry.discovery import Architecture
from registry.errors import (
    InputError,
    MissingTokenizerError,
    RegistryError,
    SaveError,
    VocabError,
    warn,
)
from registry.files.filenames import SENTENCE_MODULES_NAME
from registry.formatting import format_count, html_table, printable
from registry.garbage import gc_paused
from registry.loading.choose import class_for, processor_of, task_of
from registry.loading.keywords import refuse_model_keywords, refuse_tokenizer_keywords
from registry.records import Card
from registry.sources.files import Files

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch.distributed.device_mesh import DeviceMesh
    from typing_extensions import TypeVar

    from registry.embedding.modules import SentenceModules
    from registry.files.atomic import Writer
    from registry.loading.adapters.lora import LoraAdapter
    from registry.loading.model import Model
    from registry.loading.options import LoadOptions
    from registry.loading.report import LoadReport
    from registry.tokenization.base import Tokenizer
    from registry.tokenization.load import Processor
    from registry.weights.matching import Patterns
    from registry.weights.write import Format

    # With defaults, `Pretrained` alone is a complete type.  What has no class says nothing: it may be of any plugin.
    ConfigT = TypeVar("ConfigT", bound=Config, default=Any)
    ModelT = TypeVar("ModelT", bound="Model", default="Model")
    TokenizerT = TypeVar("TokenizerT", bound="Tokenizer", default="Tokenizer")
else:
    from typing import TypeVar

    ConfigT, ModelT, TokenizerT = TypeVar("ConfigT"), TypeVar("ModelT"), TypeVar("TokenizerT")


@frozen(kw_only=True)
class Pretrained(Generic[ConfigT, ModelT, TokenizerT]):
    """A model with its configuration, tokenizer, card and report.

    For type checkers, ``Pretrained[BertConfig, BertForMaskedLM, BertTokenizer]`` says the classes of the three.
    """

    model: ModelT
    """In evaluation mode, its weights loaded."""
    config: ConfigT
    """The model's configuration."""
    card: Card | None
    """What a plugin declares of the model; None for directories and URLs."""
    report: "LoadReport"
    """What was loaded from where."""
    _processor: "TokenizerT | Processor | MissingTokenizerError" = field(alias="processor")
    _modules: "SentenceModules | RegistryError | None" = field(default=None, alias="modules")

    def __repr__(self) -> str:
        model = self.model
        size = f"{format_count(model.num_parameters())} parameters, {str(model.dtype)[6:]}, {model.device}"
        return printable(f"<Pretrained {type(model).__name__} of {self.report.source}: {size}>", lines=False)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Raise AttributeError, with what to write for an attribute of one of the parts or of another library."""
            parts = () if name.startswith("_") else ("model", "config", "_processor")
            owner = next((part.strip("_") for part in parts if hasattr(getattr(self, part), name)), None)
            advice = instead_of_attribute(name) or ("" if owner is None else f" Write loaded.{owner}.{name}.")
            raise AttributeError(f"A Pretrained has no attribute {name!r}.{advice}", name=name, obj=self)

    def _repr_html_(self) -> str:
        missing = isinstance(self._processor, MissingTokenizerError)
        rows = {
            "parameters": format_count(self.model.num_parameters()),
            "type": str(self.model.dtype),
            "device": str(self.model.device),
            "tokenizer": "none" if missing else repr(self._processor),
            **self.report.rows(),
        }
        return html_table(f"{type(self.model).__name__} of {self.report.source}", rows)

    @property
    def tokenizer(self) -> TokenizerT:
        """The model's tokenizer.

        Raises:
            MissingTokenizerError: The model has no vocabulary.
        """
        from registry.tokenization.base import Tokenizer

        if not isinstance(self.processor, Tokenizer):
            raise MissingTokenizerError(
                f"The model's processor is a {type(self.processor).__name__}, which is not a tokenizer.",
                hint="It is loaded.processor.",
            )
        return self.processor  # type: ignore[return-value]  # the class is the caller's word

    @property
    def processor(self) -> "Processor":
        """What makes the model's inputs: its tokenizer, or a processor of another kind.

        Raises:
            MissingTokenizerError: The model has no files for it.
        """
        if isinstance(self._processor, MissingTokenizerError):
            raise self._processor
        return self._processor

    def generate(self, prompts: str | Sequence[str], **options: Any) -> str | list[str]:
        """Continue texts, or answer them, as an encoder-decoder does.

        Args:
            prompts: A text, or several.
            options: Those of ``model.generate``, such as ``max_new_tokens`` and ``temperature``.

        Returns:
            Each text with its continuation, or the answer: one for a single text, else a list,
            ``num_return_sequences`` for each text.

        Raises:
            InputError: The model does not generate, or an option is impossible.
            MissingTokenizerError: The model has no vocabulary.
        """
        from registry.generation.texts import continue_texts

        several = [prompts] if isinstance(prompts, str) else prompts
        texts = continue_texts(self.model, self.tokenizer, several, **options)
        return texts[0] if isinstance(prompts, str) and len(texts) == 1 else texts

    @refusing_foreign
    def embed(
        self,
        texts: Sequence[str],
        *,
        batch_size: int = 32,
        normalize: bool = False,
        prompt: str | None = None,
    ) -> "Tensor":
        """The vectors of texts, as sentence-transformers computes them.

        A vector is the mean of the last hidden states over all tokens of a text, unless the model's files
        (``modules.json``) say otherwise.  Texts beyond the longest input are truncated.

        Args:
            texts: The texts.
            batch_size: Texts that are computed together.
            normalize: Scale vectors to length 1, also where the files do not say so.
            prompt: What is put before each text: the name of a prompt of the files, or the prompt itself; None for the
                files' default, if they have one.

        Returns:
            ``(texts, width)``, on the CPU.

        Raises:
            InputError: A text has no token, or the texts are a single one.
            UnsupportedError: The files ask for a module that is not supported.
            MissingTokenizerError: The model has no vocabulary.
        """
        from registry.embedding.embed import SentenceEncoder

        if isinstance(texts, str):
            raise InputError("embed takes several texts, and was given one.", hint="Put it into a list: embed([text]).")
        embedder = SentenceEncoder(
            self.model, self.tokenizer, self.sentence_modules, normalize=normalize, prompt=prompt
        )
        return embedder.vectors(list(texts), batch_size)

    @property
    def sentence_modules(self) -> "SentenceModules | None":
        """How hidden states become the vector of a text, as the model's files say; None where they do not.

        Raises:
            UnsupportedError: They ask for a module that is not supported.
        """
        if isinstance(self._modules, RegistryError):
            raise self._modules
        return self._modules

    @refusing_foreign
    def save(
        self,
        directory: str | Path,
        *,
        tokenizer: "Processor | None" = None,
        format: "Format" = "safetensors",
        max_shard_size: int | str | None = None,
    ) -> Path:
        """Save all of it as a directory: model, configuration, tokenizer, and the modules of sentence-transformers.

        Takes the arguments of ``registry.save``.
        """
        if tokenizer is None and not isinstance(self._processor, MissingTokenizerError):
            tokenizer = self._processor
        further = writers_of_modules(self._modules, directory)
        more: dict[str, Any] = {"further": further} if further else {}  # a class may have its own save_pretrained
        return self.model.save_pretrained(
            directory, tokenizer=tokenizer, format=format, max_shard_size=max_shard_size, **more
        )


# --- Doors ------------------------------------------------------------------------------------------------------------


def load(
    name: str | os.PathLike[str],
    task: str | None = None,
    *,
    dtype: "torch.dtype | str | None" = None,
    device: "torch.device | str | int | None" = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool | None = None,
    revision: str | None = None,
    allow_missing: "Patterns" = (),
    allow_unexpected: "Patterns" = (),
    progress: bool | None = None,
    format: str | None = None,
    mesh: "DeviceMesh | None" = None,
    parallel: str | None = None,
    **config_overrides: Any,
) -> Pretrained:
    """A model with its configuration and tokenizer.

    Args:
        name: A name, path or URL.
        task: What the model is for, and so its head (``"masked-lm"``, ``"question-answering"``).  Default: from the
            card, else from the configuration's ``architectures``, else the architecture's default.
        dtype: Type of the parameters, or its name (``"bfloat16"``); None for float32.
        device: Device of the parameters, or its name (``"cuda:0"``); None for the CPU.
        cache_dir: Directory for downloaded files.
        offline: True forbids every download; None asks the environment.
        revision: Branch, tag or commit of a repository of the hub.
        allow_missing: Patterns (``*`` and ``?``) of parameters that the file may lack; they are newly initialized.
            Never the whole base model.
        allow_unexpected: Patterns of names in the file that the model may lack; they are dropped.
        progress: Whether downloads show a bar; None shows one on a terminal.
        format: The format of weights to read, where the files have several: ``"safetensors"``, ``"torch"``, or the name
            of a plugin's.
        mesh: The processes that are to share the model, as a DeviceMesh of torch.distributed; each of them calls this.
            Without it, the model is complete in this process.
        parallel: How they share it.  With ``"tp"`` each computes a part of each layer, with ``"fsdp"`` each keeps a
            part of the parameters and gathers layer by layer; a mesh of one dimension will do for one of them.  With
            ``"fsdp+tp"`` both, over the dimensions of these names.
        config_overrides: Keywords of the model's class (``num_labels=3``); all others replace fields of the
            configuration.

    Returns:
        The model in evaluation mode, with its configuration, tokenizer and report.  A missing part, such as a head, is
        an error, unless ``task`` is given: then it is newly initialized.  An UntrainedWarning names it, unless
        ``num_labels``, ``id2label`` or ``allow_missing`` asks for a new head.

    Raises:
        UnknownModelError: Nothing has this name.
        UnknownTaskError: The architecture has no model for the task.
        UnknownOptionError: Neither the class nor its configuration has a keyword.
        MissingFileError: There is no configuration, or there are no weights.
        ConfigError: The configuration is impossible.
        VocabError: The vocabulary is damaged, or does not belong to the model.
        WeightsMismatchError: Weights are missing, unexpected, or of another shape.
        ParallelError: The processes cannot share the model in this way, or do not load the same.
    """
    from registry.loading.options import LoadOptions, sharing  # tokenizers need none

    with sharing(mesh, parallel) as processes:
        options = LoadOptions(
            dtype=dtype,
            device=device,
            allow_missing=allow_missing,
            allow_unexpected=allow_unexpected,
            formats=None if format is None else (format,),
            processes=processes,
        )
        files = Files.named(name, cache_dir=cache_dir, offline=offline, revision=revision, progress=progress)
        described, model, base = _load(files, task, options, config_overrides)
        processor: Processor | MissingTokenizerError
        try:
            processor = _processor_of(described.architecture, files, base)
        except MissingTokenizerError as missing:
            processor = missing
        else:
            check_fit(processor, model.config)
        assert model.load_report is not None
        return Pretrained(
            model=model,
            config=model.config,
            card=files.source.card,
            report=model.load_report,
            processor=processor,
            modules=sentence_modules_of(base),
        )


def load_model(
    name: str | os.PathLike[str],
    task: str | None = None,
    *,
    dtype: "torch.dtype | str | None" = None,
    device: "torch.device | str | int | None" = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool | None = None,
    revision: str | None = None,
    allow_missing: "Patterns" = (),
    allow_unexpected: "Patterns" = (),
    progress: bool | None = None,
    format: str | None = None,
    mesh: "DeviceMesh | None" = None,
    parallel: str | None = None,
    **config_overrides: Any,
) -> "Model":
    """A model without its tokenizer; takes the arguments of ``load``, and raises its errors.

    Args:
        name: A name, path or URL.
        task: What the model is for.
        dtype: Type of the parameters.
        device: Device of the parameters.
        cache_dir: Directory for downloaded files.
        offline: True forbids every download.
        revision: Branch, tag or commit of a repository of the hub.
        allow_missing: Patterns of parameters which the file may lack.
        allow_unexpected: Patterns of names in the file which the model may lack.
        progress: Whether downloads show a bar.
        format: The format of weights to read, where the files have several.
        mesh: The processes that are to share the model.
        parallel: How they share it: ``"tp"``, ``"fsdp"`` or ``"fsdp+tp"``.
        config_overrides: Keywords of the model's class, and values that replace those of configuration fields.
    """
    from registry.loading.options import LoadOptions, sharing  # tokenizers need none

    with sharing(mesh, parallel) as processes:
        options = LoadOptions(
            dtype=dtype,
            device=device,
            allow_missing=allow_missing,
            allow_unexpected=allow_unexpected,
            formats=None if format is None else (format,),
            processes=processes,
        )
        files = Files.named(name, cache_dir=cache_dir, offline=offline, revision=revision, progress=progress)
        return _load(files, task, options, config_overrides)[1]


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
    return _processor_of(known, files, base, tokenizer_options)  # type: ignore[return-value]  # in most cases a tokenizer


@refusing_foreign
def save(
    pretrained_or_model: "Pretrained | nn.Module",
    directory: str | Path,
    *,
    tokenizer: "Processor | None" = None,
    format: "Format" = "safetensors",
    max_shard_size: int | str | None = None,
) -> Path:
    """Save a model, its configuration and its tokenizer as a directory which every door loads again.

    Args:
        pretrained_or_model: What ``load`` returned, or a model, which may be wrapped for training (DataParallel,
            DistributedDataParallel, torch.compile).
        directory: Where to save it.
        tokenizer: The tokenizer to save with it; None for that of what ``load`` returned.
        format: ``"safetensors"``, or ``"torch"`` for a ``pytorch_model.bin``.
        max_shard_size: Bytes, also as text (``"2GB"``), of the largest file of weights.

    Returns:
        The directory.

    Raises:
        SaveError: It is not a model, or a file could not be written; what was there before is then intact.
        VocabError: The tokenizer has ids beyond the embedding.
    """
    if isinstance(pretrained_or_model, Pretrained):
        saves = pretrained_or_model.save
    else:
        saves = _unwrapped(pretrained_or_model).save_pretrained
    return saves(directory, tokenizer=tokenizer, format=format, max_shard_size=max_shard_size)


# --- Parts of loading -------------------------------------------------------------------------------------------------


@gc_paused()
def _load(
    files: Files, task: str | None, options: "LoadOptions", keywords: Mapping[str, Any]
) -> "tuple[ConfigFile, Model, Files]":
    """Load the class for a task; return the configuration as the files have it, the model, and the model's own files.

    These are others than the given ones where an adapter is given, which names its base model.
    """
    from registry.loading.load import ClassArguments, adapter_among, load_into

    refuse_model_keywords(files.source, task, keywords)
    adapter = adapter_among(files)
    base = files if adapter is None else adapter.file.base
    described = find_config(base)
    options = evolve(options, allow_new=task is not None)
    task = task or _task_of_adapter(adapter, described) or task_of(base.source.card, described)
    cls = class_for(task, described.architecture, base)
    arguments = ClassArguments.of(cls, (), keywords)
    return described, load_into(cls, base, arguments, options, described=described, adapter=adapter), base


def _task_of_adapter(adapter: "LoraAdapter | None", described: ConfigFile) -> str | None:
    """The task that an adapter was trained for; None where there is none, or it does not say."""
    if adapter is None:
        return None
    spec = described.architecture.model_named(adapter.file.class_name or "")
    return adapter.file.task or (None if spec is None else spec.task)


def _processor_of(
    architecture: Architecture, files: Files, base: Files, options: Mapping[str, Any] = MappingProxyType({})
) -> "Processor":
    """The processor of a model, or the one that is saved with an adapter.  Raises MissingTokenizerError."""
    if base is not files:
        with suppress(MissingTokenizerError):
            return processor_of(architecture, files, options)
    return processor_of(architecture, base, options)


def sentence_modules_of(files: Files) -> "SentenceModules | RegistryError | None":
    """What the files say of vectors; what is wrong with it is raised when vectors are asked for."""
    try:
        if files.find(SENTENCE_MODULES_NAME) is None:
            return None
        from registry.embedding.modules import read_modules  # rarely needed

        return read_modules(files.find)
    except RegistryError as problem:
        return problem


def writers_of_modules(
    modules: "SentenceModules | RegistryError | None", directory: str | Path
) -> "Mapping[str, Writer]":
    """What writes the modules of sentence-transformers into a directory; a warning where they are not supported."""
    if isinstance(modules, RegistryError) and not Path(directory, SENTENCE_MODULES_NAME).exists():
        warn(
            f"{SENTENCE_MODULES_NAME} of sentence-transformers and its directories, such as 1_Pooling, are not "
            f"supported, and so not saved: copy them into {directory}, or texts are embedded by the mean of their "
            f"tokens."
        )
    return {} if modules is None or isinstance(modules, RegistryError) else modules.writers()


def check_fit(tokenizer: "Processor", config: Config) -> None:
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


def _unwrapped(model: Any) -> "Model":
    from registry.loading.model import Model

    found = model
    while not isinstance(found, Model):
        found = getattr(found, "module", None) or getattr(found, "_orig_mod", None)
        if found is None and hasattr(model, "peft_config"):
            raise SaveError(
                f"A {type(model).__name__} is an adapter of PEFT around a model, and cannot be saved as one.",
                hint="registry.save(model.merge_and_unload(), directory) saves the model with it; "
                "model.save_pretrained(directory) the adapter alone, which registry.load applies to its base model.",
            )
        if found is None:
            raise SaveError(
                f"A {type(model).__name__} cannot be saved as a model of the registry.",
                hint="Give a model that derives from registry.loading.model.Model, or what registry.load returned.",
            )
    return found
