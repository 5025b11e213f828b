"""Load pretrained models in PyTorch by name: ``registry.load("bert-base-uncased")``.

Public names are imported when they are first used, so that ``import registry`` costs next to nothing.
"""

TYPE_CHECKING = False  # type checkers take a variable of this name for true; importing it would cost 10 ms
if TYPE_CHECKING:
    from registry import zoo as zoo
    from registry._version import __version__ as __version__
    from registry.catalog import info as info
    from registry.catalog import layer as layer
    from registry.catalog import list_layers as list_layers
    from registry.catalog import list_models as list_models
    from registry.catalog import plugins as plugins
    from registry.config.load import load_config as load_config
    from registry.discovery import only as only
    from registry.discovery import prefer as prefer
    from registry.discovery import refresh as refresh
    from registry.discovery import register as register
    from registry.distributed import checkpoint as checkpoint
    from registry.distributed.planning import plan as plan
    from registry.download.fetch import cached_path as cached_path
    from registry.errors import RegistryError as RegistryError
    from registry.files.filenames import CONFIG_NAME as CONFIG_NAME
    from registry.files.filenames import WEIGHTS_NAME as WEIGHTS_NAME
    from registry.hookspecs import hookimpl as hookimpl
    from registry.loading.loaded import Pretrained as Pretrained
    from registry.loading.pretrained import load as load
    from registry.loading.pretrained import load_model as load_model
    from registry.loading.pretrained import save as save
    from registry.records import Card as Card
    from registry.records import ConfigSpec as ConfigSpec
    from registry.records import FileSpec as FileSpec
    from registry.records import LayerSpec as LayerSpec
    from registry.records import LazyRef as LazyRef
    from registry.records import ModelSpec as ModelSpec
    from registry.records import TokenizerSpec as TokenizerSpec
    from registry.records import WeightLoaderSpec as WeightLoaderSpec
    from registry.saving.verify import verify as verify
    from registry.sources.files import files_of as files_of
    from registry.sources.pull import pull as pull
    from registry.sources.resolve import resolve as resolve
    from registry.tokenization.added_tokens.token import AddedToken as AddedToken
    from registry.tokenization.load import load_tokenizer as load_tokenizer

    PYTORCH_PRETRAINED_BERT_CACHE: str

_NAMES = {
    "catalog": ("info", "layer", "list_layers", "list_models", "plugins"),
    "config.load": ("load_config",),
    "discovery": ("only", "prefer", "refresh", "register"),
    "distributed": ("checkpoint",),
    "distributed.planning": ("plan",),
    "errors": ("RegistryError",),
    "download.fetch": ("cached_path",),
    "sources.files": ("files_of",),
    "sources.pull": ("pull",),
    "hookspecs": ("hookimpl",),
    "loading.loaded": ("Pretrained",),
    "loading.pretrained": ("load", "load_model", "save"),
    "records": (
        *("Card", "ConfigSpec", "FileSpec", "LayerSpec"),
        *("LazyRef", "ModelSpec", "TokenizerSpec", "WeightLoaderSpec"),
    ),
    "sources.resolve": ("resolve",),
    "files.filenames": ("CONFIG_NAME", "WEIGHTS_NAME"),
    "saving.verify": ("verify",),
    "tokenization.added_tokens.token": ("AddedToken",),
    "tokenization.load": ("load_tokenizer",),
}
"""The public names, by the module in which each is at home."""

_NAMESPACES = ("checkpoint",)
"""Public names that are modules of functions: ``registry.checkpoint.save``."""

_MODULES = {name: f"registry.{module}" for module, names in _NAMES.items() for name in names}

__all__ = [*_MODULES, "PYTORCH_PRETRAINED_BERT_CACHE", "zoo"]

if not TYPE_CHECKING:  # a type checker reads the imports above instead, and so finds misspelled names

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used."""
        from importlib import import_module

        if name == "PYTORCH_PRETRAINED_BERT_CACHE":  # computed each time, since the environment may change
            return import_module("registry.cache.directories").shown_cache_directory()
        if name == "__version__":
            return import_module("registry._version").__version__
        if name == "zoo":
            return import_module("registry.zoo")
        if name not in _MODULES:
            advice = "" if name.startswith("_") else import_module("registry.config.keywords").instead_of(name)
            raise AttributeError(f"module 'registry' has no attribute {name!r}.{advice}".rstrip("."))
        with import_module("registry.garbage").gc_spared():
            module = import_module(_MODULES[name])
            found = import_module(f"{_MODULES[name]}.{name}") if name in _NAMESPACES else getattr(module, name)
            value = globals()[name] = found
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
