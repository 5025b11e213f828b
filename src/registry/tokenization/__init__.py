"""What the tokenizers of all architectures share."""
