"""Qwen 2 and 3 (Yang et al., 2024 and 2025): Llamas with biases, or with normalized queries and keys."""
