"""Tokenizers whose vocabulary is a model of ``sentencepiece`` (Kudo and Richardson, 2018)."""
