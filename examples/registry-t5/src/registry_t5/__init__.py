"""T5 and Flan-T5 (Raffel et al., 2020) for the registry: an encoder-decoder, as a package of its own."""
