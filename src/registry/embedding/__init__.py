"""Texts become vectors: what the modules of a sentence-transformers directory say, and ``embed``."""
