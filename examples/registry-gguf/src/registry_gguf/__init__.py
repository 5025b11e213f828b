"""GGUF, the format of llama.cpp, for the registry: one file with configuration, tokenizer and weights."""
