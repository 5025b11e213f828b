"""Transformer-XL (Dai et al., 2019): a causal language model over words, which remembers what it has read."""
