"""The base class of models: built from a configuration, loaded by name, saved as a directory."""

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, Protocol, Self, TypeVar, overload

import torch
from torch import Tensor, nn

from registry.config import Config
from registry.config.keywords import instead_of_attribute, refusing_foreign
from registry.garbage import gc_paused
from registry.generation.generate import GenerationDefaults, generate
from registry.loading.classes import ClassArguments
from registry.loading.load import adapter_among, given_weights, load_into
from registry.loading.options import LoadOptions, sharing
from registry.loading.report import LoadReport
from registry.loading.slots import share_again, shared_names, slots_of
from registry.loading.untrained import drawn, fingerprints, noting, unchanged
from registry.namespace import reference_to, revive
from registry.nn import onednn
from registry.nn.mixins.checkpointing import WithCheckpointing
from registry.nn.mixins.vocabulary import WithVocabulary
from registry.nn.outputs import is_configured, with_defaults_of_configuration
from registry.nn.packing import packing_of, set_packing
from registry.sharding.shares import local_of
from registry.sources.files import Files
from registry.weights.checkpoint import RELEASE_FORMATS
from registry.weights.matching import Patterns
from registry.weights.names import Layout

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from registry.files.atomic import Writer
    from registry.records import LazyRef
    from registry.sharding.meshes import ProcessMesh
    from registry.sharding.plans import ParallelPlan
    from registry.tokenization.load import Processor
    from registry.weights.write import Format


if TYPE_CHECKING:
    ParametersT = ParamSpec("ParametersT")
    OutputT = TypeVar("OutputT", covariant=True)

    class _HasForward(Protocol[ParametersT, OutputT]):
        def forward(self, *args: ParametersT.args, **kwargs: ParametersT.kwargs) -> OutputT: ...

    class _Call(Protocol[ParametersT, OutputT]):
        @overload
        def __call__(self, *args: ParametersT.args, **kwargs: ParametersT.kwargs) -> OutputT: ...
        @overload
        def __call__(self, *args: Any, return_dict: bool | None, **kwargs: Any) -> Any: ...

    class _CallOfForward:
        """The type of ``__call__``: that of the ``forward`` of the model's class, which takes ``return_dict`` too."""

        def __get__(
            self, model: _HasForward[ParametersT, OutputT], owner: type | None = None
        ) -> _Call[ParametersT, OutputT]: ...


class _Constructed(type):
    """The class of classes of models: notes the initial values of a model when its constructor is done."""

    if not TYPE_CHECKING:  # the constructor is what type checkers and editors should show

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            model = super().__call__(*args, **kwargs)
            model.initial_values = drawn(model)
            return model

        @property
        def __signature__(cls) -> inspect.Signature:
            constructor = inspect.signature(cls.__init__)
            return constructor.replace(parameters=list(constructor.parameters.values())[1:])


class Model(WithVocabulary, WithCheckpointing, metaclass=_Constructed):
    """A torch module that is built from a configuration, loaded by name, and saved as a directory.

    An architecture derives one class for each task, with parameters named as in the published files.  Construction
    allocates parameters and nothing else; ``init_weights`` initializes them, or loading assigns them.  ``forward``
    takes ``input_ids``, and all else as keywords; it returns a record of ``registry.nn.outputs``.

    What a caller of ``forward`` does not say of ``output_hidden_states``, ``output_attentions`` and ``use_cache``, the
    configuration says.  ``return_dict=False`` makes a plain tuple of the fields that are there.
    """

    config_class: ClassVar[type[Config]]
    """The class of its configurations."""
    main_input_name: ClassVar[str] = "input_ids"
    """The argument of ``forward`` that has no need of its name."""
    layout: Layout
    """How the architecture's weights are named; a model's is that of its configuration."""

    former_order: ClassVar[tuple[str, ...]] = ()
    """The order in which pytorch-pretrained-bert has the arguments after ``input_ids``, for errors; those of the class
    alone count."""

    parallel_plan: "ClassVar[ParallelPlan | LazyRef | None]" = None
    """How the architecture is divided over processes, or where its plan is; None for one that cannot be."""

    config: Any
    """The configuration, of the class ``config_class``."""
    generation_config: GenerationDefaults
    """Defaults of ``generate``, by the keys of ``generation_config.json``; saved with the model."""
    name_or_path: str = ""
    """What was loaded, as the caller named it; PEFT notes it with an adapter.  Empty where nothing was."""
    load_report: LoadReport | None = None
    """What was loaded from where; None for a model that was not loaded."""
    processes: "ProcessMesh | None" = None
    """The processes that share the model; None for a model that is complete in this one."""
    if TYPE_CHECKING:
        __call__: _CallOfForward

        def __getattr__(self, name: str) -> Any: ...  # modules of a class that is not known

    initial_values: Mapping[str, str] = MappingProxyType({})
    """Fingerprints of the tensors as they were initialized, by which saving recognizes those never trained."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.forward is not nn.Module.forward and not is_configured(cls.forward):
            cls.forward = with_defaults_of_configuration(cls.forward)

    def __init__(self, config: Config) -> None:
        super().__init__()
        if not isinstance(config, self.config_class):
            raise TypeError(f"{type(self).__name__} needs a {self.config_class.__name__}, not {config!r}.")
        self.config = config
        self.generation_config = GenerationDefaults()
        self.layout = self.layout_of(config).configured(config)

    # --- What an architecture defines

    @classmethod
    def layout_of(cls, config: Any) -> Layout:  # noqa: ARG003  # most architectures have the same names always
        """How the weights of a model with this configuration are named, and which of them are tied."""
        return cls.layout

    def init_module(self, module: nn.Module) -> None:
        """Initialize the parameters which ``module`` itself owns."""
        raise NotImplementedError(f"{type(self).__name__} does not define how its weights are initialized.")

    def after_loading(self) -> None:
        """Act on further keywords of loading, once the weights are assigned.

        The keywords that an override declares, each with a default, are accepted wherever the class is loaded.
        """

    # --- What every model has

    def init_weights(self) -> None:
        """Initialize every parameter, as for training from scratch; nothing on the meta device, as while loading."""
        if next((parameter.is_meta for parameter in self.parameters()), False):
            return
        self.apply(self.init_module)
        self.initial_values = drawn(self)

    @property
    def device(self) -> torch.device:
        """The device of the parameters; of the first, where they are on several."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the parameters; of the first that is of a floating-point type."""
        return next(parameter.dtype for parameter in self.parameters() if parameter.is_floating_point())

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """The number of parameters, each counted once.

        Args:
            only_trainable: Count those that require gradients.
            exclude_embeddings: Do not count those of ``nn.Embedding``, which multiply nothing.
        """
        embeddings = [module.weight for module in self.modules() if isinstance(module, nn.Embedding)]
        excluded = {id(weight) for weight in embeddings} if exclude_embeddings else set()
        counted = (p for p in self.parameters() if id(p) not in excluded and (p.requires_grad or not only_trainable))
        return sum(parameter.numel() for parameter in counted)

    def local_state(self) -> dict[str, Tensor]:
        """The tensors of the state dict, of a divided model as far as this process has them."""
        return {name: local_of(tensor) for name, tensor in self.state_dict().items()}

    @property
    def pack_padding(self) -> bool:
        """Whether padding is skipped on a CPU, as it is unless a module carries a hook.

        Modules inside the model then take ``(rows, width)``, with a row for each token.  False gives all modules
        ``(batch, tokens, width)`` always: for a layer of your own in place of one of the model, for example.
        """
        return packing_of(self)

    @pack_padding.setter
    def pack_padding(self, wanted: bool) -> None:
        set_packing(self, wanted)

    @classmethod
    @gc_paused()
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *inputs: Any,
        cache_dir: str | os.PathLike[str] | None = None,
        from_tf: bool = False,
        state_dict: Mapping[str, Tensor] | None = None,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str | int | None = None,
        offline: bool | None = None,
        revision: str | None = None,
        allow_missing: Patterns = (),
        allow_unexpected: Patterns = (),
        progress: bool | None = None,
        format: str | None = None,
        mesh: "DeviceMesh | None" = None,
        parallel: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """A model of this class, loaded.

        Args:
            pretrained_model_name_or_path: A name, path or URL.
            inputs: Positional arguments of the constructor, after the configuration.
            cache_dir: Directory for downloaded files.
            from_tf: Read the TensorFlow checkpoint (the name is its prefix, its index file, or the directory of both)
                or OpenAI's numpy arrays, even where other weights lie next to them.  TensorFlow is not needed.
            state_dict: Weights to use; none are then fetched or read.  What a file may hold, this may: a container of a
                training program is opened.
            dtype: Type of the parameters, or its name (``"bfloat16"``); None for float32.
            device: Device of the parameters, or its name (``"cuda:0"``); None for the CPU.
            offline: True forbids every download; None asks the environment.
            revision: Branch, tag or commit of a repository of the hub.
            allow_missing: Patterns (``*`` and ``?``) of parameters which the file may lack; they are newly initialized.
                Never the whole backbone.
            allow_unexpected: Patterns of names in the file which the model may lack; they are dropped.
            progress: Whether downloads show a bar; None shows one on a terminal.
            format: The format of weights to read, where the files have several: ``"torch"``.
            mesh: The processes that are to share the model, each of which calls this.
            parallel: How they share it: ``"tp"``, ``"fsdp"`` or ``"fsdp+tp"``; see ``registry.load``.
            kwargs: Keywords of the constructor (``num_labels=3``); all others replace fields of the configuration.

        Returns:
            The model, in evaluation mode.  A model is never returned half loaded.  Whole parts that the file lacks are
            newly initialized, with an UntrainedWarning that names them unless ``num_labels``, ``id2label`` or
            ``allow_missing`` says that a head is meant.

        Raises:
            UnknownModelError: Nothing has this name.
            ArchitectureMismatchError: The files are of another architecture.
            UnknownOptionError: Neither the class nor its configuration has a keyword.
            ConfigError: The configuration is impossible.
            WeightsMismatchError: Weights are missing, unexpected, or of another shape.
        """
        with sharing(pretrained_model_name_or_path, mesh, parallel) as processes:
            arguments = ClassArguments.of(cls, inputs, kwargs)  # refuses unknown keywords before anything is fetched
            files = Files.named(
                pretrained_model_name_or_path,
                cache_dir=cache_dir,
                offline=offline,
                revision=revision,
                progress=progress,
            )
            options = LoadOptions(
                dtype=dtype,
                device=device,
                allow_missing=allow_missing,
                allow_unexpected=allow_unexpected,
                formats=RELEASE_FORMATS if from_tf else None if format is None else (format,),
                processes=processes,
            )
            adapter = None if from_tf or state_dict is not None else adapter_among(files)
            if adapter is not None:
                return load_into(cls, adapter.file.base, arguments, options, adapter=adapter)
            checkpoint = None if state_dict is None else given_weights(state_dict, files)
            return load_into(cls, files, arguments, options, checkpoint=checkpoint)

    # --- What libraries that train a model ask for

    @property
    def num_labels(self) -> int:
        """The number of classes."""
        return int(self.config.num_labels)

    @property
    def base_model_prefix(self) -> str:
        """The attribute that holds the backbone of a model with a head."""
        return self.layout.prefix.removesuffix(".")

    @property
    def base_model(self) -> nn.Module:
        """The backbone; the model itself where it is one."""
        return getattr(self, self.base_model_prefix, self)

    @property
    def transformer_backbone_name(self) -> str:
        """The attribute that holds the backbone, by PEFT's name; empty where the model is one."""
        return self.base_model_prefix if hasattr(self, self.base_model_prefix) else ""

    def can_generate(self) -> bool:
        """Whether ``generate`` continues, or answers, texts with this model."""
        from registry.generation.state import CausalModel, Seq2SeqModel  # loading needs none of it

        return isinstance(self, CausalModel | Seq2SeqModel)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """A module or a parameter; an error, with what to write for a method of another library."""
            try:
                return super().__getattr__(name)
            except AttributeError as problem:
                if not (advice := instead_of_attribute(name)):
                    raise
                raise AttributeError(f"{problem}.{advice}", name=name, obj=self) from None

    @property
    def _keys_to_ignore_on_save(self) -> list[str]:
        """Names in the state dict which a saved directory lacks, since another one has their tensor.

        Trainer takes a checkpoint without them for complete, and calls ``tie_weights``.
        """
        parameters = dict(self.named_parameters())  # each once
        return [name for name in self.state_dict() if name not in parameters]

    generate = generate
    """``registry.generation.generate``, of this model."""

    @refusing_foreign
    def save_pretrained(
        self,
        directory: str | Path,
        *,
        tokenizer: "Processor | None" = None,
        format: "Format" = "safetensors",
        max_shard_size: int | str | None = None,
        further: "Mapping[str, Writer]" = MappingProxyType({}),
    ) -> Path:
        """Save configuration, weights and, when given, the tokenizer, as a directory which every door loads again.

        Args:
            directory: Where to save it.
            tokenizer: The tokenizer, or other processor, to save with it.
            format: ``"safetensors"``, or ``"torch"`` for a ``pytorch_model.bin``.
            max_shard_size: Bytes, also as text (``"2GB"``), of the largest file of weights.
            further: Other files that belong to the model: what writes each to a path, by its name.

        Returns:
            The directory.

        Of a model that processes share, all of them call this; the first one writes.

        Raises:
            SaveError: A file could not be written; what was there before is then intact.
        """
        from registry.loading.save import save_divided, save_model  # loading needs none of it
        from registry.weights.write import weight_writers

        if self.processes is not None:
            return save_divided(
                self, directory, tokenizer, format=format, max_shard_size=max_shard_size, further=further
            )
        weights = weight_writers(
            self.published_weights(), self.layout.ties, format=format, max_shard_size=max_shard_size
        )
        return save_model(self, directory, weights, tokenizer, further)

    def published_weights(self) -> dict[str, Tensor]:
        """The state dict as files have it: what the layout's table gathered or parted on loading is as it was there."""
        return {name: made.tensor for name, made in self.layout.published(self.state_dict()).items()}

    def _replace_rows(self, number: int, mean_resizing: bool) -> None:
        """Change the number of rows of tokens; parts that were never trained are still none after it."""
        untrained = unchanged(self.initial_values, self.state_dict(), self.layout)
        super()._replace_rows(number, mean_resizing)
        self.initial_values = {**self.initial_values, **fingerprints(self.state_dict(), untrained)}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or convert the parameters; layers that leave the CPU or float32 run the method of their class again.

        Ties stay: torch makes new parameters where it moves them from or to the meta device, one for each name.
        """
        converted: dict[str, str] = {}
        shared = shared_names(slots_of(self))
        if self.initial_values:
            fn = noting(fn, self.initial_values.values(), converted)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        share_again(self, shared)
        if converted:
            self.initial_values = {name: converted.get(mark, mark) for name, mark in self.initial_values.items()}
        onednn.disable_unsuitable(self)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return revive, (reference_to(type(self)),), dict(vars(self))
