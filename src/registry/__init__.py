"""A name becomes a working model: ``registry.load("bert-base-uncased")``."""

__version__ = "0.1.0"
