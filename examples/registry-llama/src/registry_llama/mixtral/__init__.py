"""Mixtral (Jiang et al., 2024): a Mistral with experts."""
