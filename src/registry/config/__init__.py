"""Configurations: the base class, kinds of fields, and the configuration among the files of a model."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from registry.config.config import Config as Config
else:

    def __getattr__(name: str) -> object:
        """``Config``, imported when it is first used: tokenizers are loaded without it, and in less time."""
        if name != "Config":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from registry.config.config import Config

        return Config
