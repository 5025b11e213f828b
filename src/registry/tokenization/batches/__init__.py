"""Batches: encoded texts are truncated, put between special tokens, padded, and stacked."""
