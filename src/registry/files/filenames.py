"""The names of published files, each stated once."""

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "pytorch_model.bin"
WEIGHTS_INDEX_NAME = "pytorch_model.bin.index.json"
SAFE_WEIGHTS_NAME = "model.safetensors"
SAFE_WEIGHTS_INDEX_NAME = "model.safetensors.index.json"

TOKENIZER_NAME = "tokenizer.json"
TOKENIZER_CONFIG_NAME = "tokenizer_config.json"
SPECIAL_TOKENS_MAP_NAME = "special_tokens_map.json"
ADDED_TOKENS_NAME = "added_tokens.json"
SPECIAL_TOKENS_NAME = "special_tokens.txt"
"""Special tokens of pytorch-pretrained-bert's OpenAI GPT and GPT-2, one a line."""
MERGES_NAME = "merges.txt"

MANIFEST_NAME = "registry.json"
"""The manifest of a directory that this library saved."""

ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".zip")
INDEX_SUFFIX = ".index"
"""The suffix of the index file of a TensorFlow checkpoint; the name before it is the checkpoint's prefix."""

NUMPY_SHAPES_NAME = "params_shapes.json"
"""Shapes of the tensors in OpenAI's numpy shards."""
NUMPY_NAMES_NAME = "parameters_names.json"
"""Names of the tensors in OpenAI's numpy shards."""
