"""Methods that every model has, and that concern no architecture: rows of tokens, recomputation of layers."""
