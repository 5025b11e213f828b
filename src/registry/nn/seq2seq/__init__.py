"""Encoder-decoders: attention to an encoded text, the cache of a decoder, and what generation needs of such a model."""
