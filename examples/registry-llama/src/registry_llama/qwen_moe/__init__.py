"""Qwen 2 and 3 with experts (Yang et al., 2024 and 2025)."""
