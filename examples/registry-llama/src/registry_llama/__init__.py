"""Llama (Touvron et al., 2023) for the registry: a causal language model, as a package of its own."""
