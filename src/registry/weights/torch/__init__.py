"""PyTorch's own weight files, read without running their pickle."""
