"""``registry rm NAME...``: the same as ``registry cache rm``."""

from registry.cli.manage.cache import remove_models as command

__all__ = ["command"]
