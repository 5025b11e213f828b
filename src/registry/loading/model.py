"""The base class of every model: built from a configuration, loaded by name, saved as a folder."""

import inspect
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import attrs
import torch
from attrs import frozen
from torch import Tensor, nn

from registry import discovery
from registry._version import __version__
from registry.config.config import Config, config_text, read_config
from registry.download.policy import Policy
from registry.errors import InputError, UnknownOptionError, did_you_mean
from registry.files.atomic import Writer, content_writer
from registry.files.filenames import CONFIG_NAME
from registry.garbage import gc_paused
from registry.generation import CausalModel, beam_search, greedy, sample
from registry.generation.prompts import EndIds, WhenFull, check_unused
from registry.generation.sampling import OnToken
from registry.loading.fill import LoadReport, fill
from registry.loading.meta import build, within_memory
from registry.nn.onednn import disable_unsuitable, enable
from registry.records import reference_to, revive
from registry.saving.folder import write_folder
from registry.saving.manifest import warn_of_disagreements
from registry.sources.files import Files
from registry.sources.resolve import resolve
from registry.sources.source import Source
from registry.weights.checkpoint import ORIGINAL, Checkpoint, open_checkpoint
from registry.weights.names import Layout
from registry.weights.write import Format, weight_writers

if TYPE_CHECKING:
    from registry.tokenization.base import Tokenizer


@frozen(kw_only=True)
class LoadOptions:
    """How to load, as opposed to what: the keywords which every way of loading a model takes."""

    dtype: torch.dtype | None = None
    """Type of the parameters; None is float32."""
    device: torch.device | str | None = None
    """Where the parameters go; None is the CPU."""
    cache_dir: str | Path | None = None
    """Folder for downloaded files."""
    revision: str | None = None
    """Branch, tag or commit of a repository of the hub."""
    offline: bool | None = None
    """True forbids every download; None asks the environment."""
    allow_missing: Collection[str] = ()
    """Patterns (``*`` and ``?``) of parameters which the file may lack; they are initialised."""
    allow_unexpected: Collection[str] = ()
    """Patterns of names in the file which the model may lack; they are dropped."""
    progress: bool | None = None
    """Whether downloads show a bar; None shows one on a terminal."""
    formats: Collection[str] | None = None
    """Formats of weights to look for, where the class's ``from_tf`` narrows them; no keyword of its own."""

    @property
    def fetching(self) -> dict[str, Any]:
        """The keywords among them which ``Policy`` takes."""
        return {"cache_dir": self.cache_dir, "offline": self.offline, "progress": self.progress}

    @classmethod
    def names(cls) -> set[str]:
        """The keywords."""
        return set(attrs.fields_dict(cls)) - {"formats"}


class Model(nn.Module):
    """A torch module that is built from a configuration, loaded by name, and saved as a folder.

    An architecture derives one class for each task, with parameters named as in the published files.  Construction
    allocates parameters and nothing else; ``init_weights`` draws them, or loading assigns them.
    """

    config_class: ClassVar[type[Config]]
    layout: Layout
    """How the architecture's weights are named; a model's is that of its configuration."""

    config: Any
    """The configuration, of the class ``config_class``."""
    load_report: LoadReport | None = None
    """What was loaded from where; None for a model that was not loaded."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        if not isinstance(config, self.config_class):
            raise TypeError(f"{type(self).__name__} needs a {self.config_class.__name__}, not {config!r}.")
        self.config = config
        self.layout = self.layout_of(config)

    @classmethod
    def layout_of(cls, config: Any) -> Layout:  # noqa: ARG003  # most architectures have the same names always
        """How the weights of a model with this configuration are named, and which of them are tied."""
        return cls.layout

    def init_module(self, module: nn.Module) -> None:
        """Initialise the parameters which ``module`` itself owns; an architecture says how."""
        raise NotImplementedError(f"{type(self).__name__} does not say how its weights are initialised.")

    def init_weights(self) -> None:
        """Initialise every parameter, as for training from scratch."""
        self.apply(self.init_module)

    def after_loading(self) -> None:
        """Act on further keywords of loading, once the weights are in place; an architecture may override it.

        The keywords that an override declares, each with a default, are accepted wherever a model is loaded.
        """

    # --- loading

    @classmethod
    @gc_paused()
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *inputs: Any,
        cache_dir: str | Path | None = None,
        from_tf: bool = False,
        state_dict: Mapping[str, Tensor] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Load a model of this class, by name, path or address; it comes back in evaluation mode.

        ``kwargs`` that ``LoadOptions`` names say how to load (``dtype=``, ``device=``, ``allow_missing=`` and so on).
        ``inputs`` and those ``kwargs`` which the class takes go to its constructor (``num_labels=3``); all others
        replace fields of the configuration.  With ``state_dict``, no weights are fetched or read.

        With ``from_tf`` the weights are those of the first release, whatever lies beside them: a TensorFlow checkpoint
        (``name_or_path`` is its prefix, its index file, or the folder around them), or OpenAI's arrays of numpy.  Such
        files are also found without it, where there are no others.  TensorFlow is not needed.

        Raises UnknownModelError, ArchitectureMismatchError, UnknownOptionError, ConfigError, and WeightsMismatchError
        when weights are missing, surplus or misshapen.  A model is never returned half loaded.
        """
        if inputs and isinstance(inputs[0], (str, os.PathLike)):
            raise UnknownOptionError(
                f"{cls.__name__}.from_pretrained was given {str(inputs[0])!r} as a second positional argument, which "
                f"would go to the constructor.",
                hint=f"If it is the cache folder, write cache_dir={str(inputs[0])!r}.",
            )
        how = {key: kwargs.pop(key) for key in LoadOptions.names() & kwargs.keys()}
        options = LoadOptions(cache_dir=cache_dir, formats=ORIGINAL if from_tf else None, **how)
        cls._split(kwargs)  # refuses unknown keywords before anything is fetched
        resolution = resolve(name_or_path, revision=options.revision)
        paths = Files(resolution, Policy(**options.fetching)).of("config")
        config, _ = read_config(resolution, paths, expected=cls.config_class.architecture)
        return cls._load(resolution, config, inputs, kwargs, options, state_dict=state_dict)

    @classmethod
    @within_memory()
    def _load(
        cls,
        resolution: Source,
        config: Config,
        inputs: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        options: LoadOptions,
        *,
        state_dict: Mapping[str, Tensor] | None = None,
    ) -> Self:
        """Build the model which ``config`` describes, and fill it: the one way that every door leads to."""
        arguments, afterwards, overrides = cls._split(kwargs)
        config = config.replace(**overrides)
        if state_dict is None:
            paths = Files(resolution, Policy(**options.fetching)).of("weights")
            warn_of_disagreements(paths)
            checkpoint = open_checkpoint(paths, config.architecture, options.formats)
        else:
            checkpoint = Checkpoint(tensors=state_dict, format="state_dict", files=())
        source = f"{resolution}" if state_dict is None else f"a state_dict, configured by {resolution}"
        model = build(lambda: cls(config, *inputs, **arguments))
        model._filled(checkpoint, source, options, copy=state_dict is not None)
        model.after_loading(**afterwards)
        return model

    def _filled(self, checkpoint: Checkpoint, source: str, options: LoadOptions, *, copy: bool = False) -> Self:
        """Fill this model, which ``build`` made, from ``checkpoint``; ``source`` says in messages what that is."""
        self.load_report = fill(
            self,
            checkpoint.tensors,
            self.layout,
            initialise=self.init_module,
            source=source,
            names=checkpoint.names,
            dtype=options.dtype,
            device=options.device,
            allow_missing=options.allow_missing,
            allow_unexpected=options.allow_unexpected,
            copy=copy,
            ignored_files=checkpoint.ignored_files,
        )
        enable(self)
        return self.eval()

    @classmethod
    def _split(cls, kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Divide keywords into those of the constructor, of ``after_loading``, and of the configuration.

        The first of these that has a keyword gets it.  Raises UnknownOptionError for one that none has.
        """
        own = set(inspect.signature(cls.__init__).parameters) - {"self", "config"}
        later = set(inspect.signature(cls.after_loading).parameters) - {"self"} - own
        fields = set(cls.config_class.keys()) - own - later
        for key in kwargs:
            if key not in own | later | fields:
                options = {*own, *later, *fields, *LoadOptions.names(), "from_tf", "state_dict"}
                raise UnknownOptionError(
                    f"{cls.__name__} has no option {key!r}, and {cls.config_class.__name__} no such field."
                    f"{did_you_mean(key, options)}",
                    hint=f"{cls.__name__} takes {', '.join(sorted(own | later)) or 'no options'}; "
                    f"{cls.config_class.__name__} has {', '.join(sorted(fields))}.",
                )
        taken = [{key: value for key, value in kwargs.items() if key in keys} for keys in (own, later, fields)]
        return taken[0], taken[1], taken[2]

    # --- writing

    def generate(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        max_new_tokens: int,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        num_beams: int = 1,
        length_penalty: float = 1.0,
        eos_token_id: EndIds = None,
        num_return_sequences: int = 1,
        generator: torch.Generator | None = None,
        when_full: WhenFull = "error",
        on_token: OnToken | None = None,
    ) -> Tensor:
        """Continue prompts, ``(batch, tokens)``; returns ids, prompts included.

        Beam search with ``num_beams`` above 1; else sampling with a ``temperature`` above 0; else greedy decoding.
        ``registry.generation`` says what the arguments mean.  Texts end where ``eos_token_id`` says; for None, where
        the configuration does, if it has a field of that name.  Dropout is off meanwhile, also during training.

        Raises InputError for an argument that makes no sense, alone or beside the others, and for a model that does
        not predict next tokens.
        """
        if not isinstance(self, CausalModel):
            raise InputError(f"{type(self).__name__} does not predict next tokens, and so cannot continue a text.")
        shared: dict[str, Any] = {
            "attention_mask": attention_mask,
            "max_new_tokens": max_new_tokens,
            "repetition_penalty": repetition_penalty,
            "eos_token_id": getattr(self.config, "eos_token_id", None) if eos_token_id is None else eos_token_id,
            "when_full": when_full,
        }
        copies: dict[str, Any] = {"num_return_sequences": num_return_sequences}
        sampling: dict[str, Any] = {"top_k": top_k, "top_p": top_p, "generator": generator}
        with evaluating(self):
            if num_beams != 1:
                check_unused("in beam search", temperature=temperature or None, on_token=on_token, **sampling)
                return beam_search(
                    self, input_ids, num_beams=num_beams, length_penalty=length_penalty, **copies, **shared
                )
            check_unused("without beams", length_penalty=None if length_penalty == 1.0 else length_penalty)
            if temperature != 0.0:
                return sample(
                    self, input_ids, temperature=temperature, on_token=on_token, **sampling, **copies, **shared
                )
            several = None if num_return_sequences == 1 else num_return_sequences
            check_unused("at temperature 0", num_return_sequences=several, **sampling)
            return greedy(self, input_ids, on_token=on_token, **shared)

    # --- saving

    def save_pretrained(
        self,
        directory: str | Path,
        *,
        tokenizer: "Tokenizer | None" = None,
        format: Format = "safetensors",
        max_shard_size: int | str | None = None,
    ) -> Path:
        """Save configuration, weights and, when given, the tokenizer, as a folder which every door loads again.

        ``format`` is ``"safetensors"``, or ``"torch"`` for a ``pytorch_model.bin``; ``max_shard_size`` in bytes (or as
        text, ``"2GB"``) splits the weights over several files.  Raises SaveError; what was there before is then intact.
        """
        writers: dict[str, Writer] = {CONFIG_NAME: content_writer(self._config_text())}
        if tokenizer is not None:
            writers.update(tokenizer.files())
        writers.update(
            weight_writers(self.state_dict(), self.layout.ties, format=format, max_shard_size=max_shard_size)
        )
        return write_folder(directory, writers, about=self._about())

    def _config_text(self) -> str:
        """The configuration, with the class and the type of the weights which lie beside it."""
        dtypes = {str(parameter.dtype).removeprefix("torch.") for parameter in self.parameters()}
        written = {"architectures": [type(self).__name__], **({"dtype": dtypes.pop()} if len(dtypes) == 1 else {})}
        return config_text({**self.config.to_dict(), **written})

    def _about(self) -> dict[str, Any]:
        return {
            "origin": None if self.load_report is None else self.load_report.source,
            "architecture": self.config.architecture,
            "task": discovery.model_class_task(type(self)),
            "versions": {"torch-registry": __version__, "torch": torch.__version__},
        }

    # --- inside

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or convert the parameters; layers that leave the CPU or float32 run the method of their class again."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        disable_unsuitable(self)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return revive, (reference_to(type(self)),), dict(vars(self))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Have ``model`` in evaluation mode for a while; then each module is again in the mode in which it was."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
