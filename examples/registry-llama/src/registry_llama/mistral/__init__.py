"""Mistral (Jiang et al., 2023): a Llama whose tokens attend to a window."""
