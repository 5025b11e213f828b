"""Weights on disk: their formats, one file each, and the names of what is in them."""
