"""Every class that installed plugins declare, by name: ``from registry.zoo import BertModel, BertTokenizer``.

Classes of models, tokenizers and configurations; ``registry.layer`` gives layers.  A class is imported on first
use.  Two plugins may declare classes of one name: a first-party one wins, two third-party ones are an error.
"""

from typing import Any

from registry import discovery
from registry.config.keywords import instead_of
from registry.errors import did_you_mean
from registry.records import ConfigSpec, ModelSpec, TokenizerSpec


def __getattr__(name: str) -> Any:
    """Import the class of this name.

    Raises:
        AttributeError: No installed plugin declares a class of the name.
        PluginConflictError: Two plugins declare one, and neither is preferred.
        PluginLoadError: Its module cannot be imported.
    """
    if name == "__all__":
        return __dir__()
    if name.startswith("__"):  # Python itself and tools look such names up in every module
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    spec = discovery.class_named(name)
    if spec is None:
        advice = instead_of(name) or did_you_mean(name, __dir__())
        raise AttributeError(f"no installed plugin declares a class {name!r}.{advice}{discovery.failures()}")
    return discovery.load_class(spec)


def __dir__() -> list[str]:
    specs: list[discovery.ClassSpec] = [
        *discovery.every(ModelSpec),
        *discovery.every(TokenizerSpec),
        *discovery.every(ConfigSpec),
    ]
    return sorted({spec.cls.name for spec in specs})
