"""Vision transformers for the registry: models, and the processor of their images."""
