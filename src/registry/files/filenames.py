"""The names of published files, each stated once."""

import re

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "pytorch_model.bin"
WEIGHTS_INDEX_NAME = "pytorch_model.bin.index.json"
SAFE_WEIGHTS_NAME = "model.safetensors"
SAFE_WEIGHTS_INDEX_NAME = "model.safetensors.index.json"

TOKENIZER_NAME = "tokenizer.json"
TOKENIZER_CONFIG_NAME = "tokenizer_config.json"
SPECIAL_TOKENS_MAP_NAME = "special_tokens_map.json"
ADDED_TOKENS_NAME = "added_tokens.json"
CHAT_TEMPLATE_NAME = "chat_template.jinja"
SPECIAL_TOKENS_NAME = "special_tokens.txt"
"""Special tokens of pytorch-pretrained-bert's OpenAI GPT and GPT-2, one a line."""
MERGES_NAME = "merges.txt"

GENERATION_CONFIG_NAME = "generation_config.json"
"""Defaults of generation, by the keys of transformers."""

SENTENCE_MODULES_NAME = "modules.json"
"""The list of the modules of sentence-transformers, each in a directory."""
SENTENCE_CONFIG_NAME = "config_sentence_transformers.json"
"""Prompts of sentence-transformers."""
SENTENCE_TOKENS_NAME = "sentence_bert_config.json"
"""The longest text of sentence-transformers."""

MANIFEST_NAME = "registry.json"
"""The manifest of a directory that this library saved."""
JOURNAL_NAME = "registry-saving.json"
"""The journal of a save over a directory, which is there while files get their names, and after a crash meanwhile."""

ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".zip")
INDEX_SUFFIX = ".index"
"""The suffix of the index file of a TensorFlow checkpoint; the name before it is the checkpoint's prefix."""

NUMPY_SHAPES_NAME = "params_shapes.json"
"""Shapes of the tensors in OpenAI's numpy shards."""
NUMPY_NAMES_NAME = "parameters_names.json"
"""Names of the tensors in OpenAI's numpy shards."""

WEIGHTS_ENDINGS = (".safetensors", ".bin", ".index.json")
"""Endings of the files that hold weights, or the index of sharded ones, in the formats that are written here."""
WEIGHTS_NAMES = (
    (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME),
    (WEIGHTS_NAME, WEIGHTS_INDEX_NAME),
)
"""File and index of each format that keeps weights in one file or in shards, the preferred format first."""
OTHER_WEIGHTS = rf"checkpoint|.+\.ckpt(-\d+)?\..+|.+\.npy|{re.escape(NUMPY_SHAPES_NAME)}"
"""Names of weights in formats of several files: TensorFlow checkpoints, and OpenAI's numpy shards."""
TOKENIZER_NAMES = (
    TOKENIZER_NAME,
    TOKENIZER_CONFIG_NAME,
    SPECIAL_TOKENS_MAP_NAME,
    ADDED_TOKENS_NAME,
    CHAT_TEMPLATE_NAME,
    SPECIAL_TOKENS_NAME,
)
"""Files of any tokenizer, next to those which its architecture declares."""
VOCABULARY_NAMES = ("vocab.txt", "vocab.json", MERGES_NAME, "vocab.bin", "vocab.pkl", "tokenizer.model", "spiece.model")
"""Vocabularies, as those of any architecture are called."""
TOKENIZER_CONFIG_KEYS = {"max_len": "model_max_length", "additional_special_tokens": "extra_special_tokens"}
"""Option of a tokenizer -> its key in ``tokenizer_config.json``, where the two differ."""


def is_weights(name: str) -> bool:
    """Whether a file of this published name holds weights, or the index of sharded ones."""
    return any(name in pair for pair in WEIGHTS_NAMES) or re.fullmatch(OTHER_WEIGHTS, name) is not None


# --- Of any library ---------------------------------------------------------------------------------------------------

ADAPTER_CONFIG_NAME = "adapter_config.json"
"""The configuration of an adapter of PEFT."""
ADAPTER_WEIGHTS_NAMES = ("adapter_model.safetensors", "adapter_model.bin")
"""The weights of one, the first that is there."""

FORMATS = ("safetensors", "bin", "h5", "keras", "msgpack", "onnx", "gguf", "ckpt", "ot", "tflite", "distcp")
"""Endings of files that hold weights in all likelihood."""
ENDINGS = (*(f".{ending}" for ending in (*FORMATS, "pt", "pth")), ".index.json")
"""Endings of all files that may hold weights, and of indices."""
WEIGHT_LIKE = (
    r"(?!(vocab|tokenizer|spiece|optimizer|scheduler|sampler|scaler|rng_state|random_states|training|dl_state))"
    rf"(.+\.({'|'.join(FORMATS)})"
    r"|.*(model|weights|ema|consolidated).*\.(pt|pth)"
    r"|.*model.*\.(safetensors|bin)\.index\.json)"
)
"""A pattern of the names of files of weights in any format of any library; those of a trainer's state are none."""


def is_weight_like(name: str) -> bool:
    """Whether the file of this name holds weights in any format of any library, or the index of some."""
    if name == "checkpoint" or name.endswith(".meta"):  # TensorFlow's record of the latest one, and its graph
        return False
    return is_weights(name) or (name.endswith(ENDINGS) and re.fullmatch(WEIGHT_LIKE, name) is not None)
