"""Files that other libraries leave next to a model, or in its place: what each is by its name, and what can be done."""

import re
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from registry.errors import RegistryError
from registry.files.filenames import (
    ADAPTER_CONFIG_NAME,
    CONFIG_NAME,
    SENTENCE_MODULES_NAME,
    WEIGHTS_NAMES,
    is_weight_like,
    is_weights,
)
from registry.files.strict_json import read_json_object

SHARD = re.compile(r"(model|pytorch_model)-\d{5}-of-\d{5}\.(safetensors|bin)")
"""Names of shards, as every library writes them."""

ORIGINAL = "Take the model from which it was made: its model.safetensors or pytorch_model.bin, with its config.json."
GATHERED = "`python -m torch.distributed.checkpoint.format_utils dcp_to_torch DIRECTORY pytorch_model.bin` gathers it."
OLD_TRANSFORMERS = (
    "A version of transformers before 5, with {library} installed, converts it: "
    "AutoModel.from_pretrained(DIRECTORY, {option}=True).save_pretrained(NEW)."
)


TRAINING_ARGUMENTS = "training_args.bin"
"""The arguments of transformers' Trainer, which it saves with every model."""


class Kind(NamedTuple):
    """A kind of files."""

    names: str
    """A pattern of the names of such files, without directories; compiled when it is first used."""
    what: str
    """What they are, after "which is"."""
    remedy: str
    """What can be done."""


TRAINING_STATE = Kind(
    r"(optimizer|scheduler|scaler|rng_state|random_states|training_args).*\.(pt|pth|bin|pkl)",
    "the state of a training program, without weights",
    "Save the weights next to it: model.save_pretrained(DIRECTORY).",
)

KINDS = (
    Kind(
        r"adapter_model\..+|adapter_config\.json",
        "an adapter of PEFT",
        "`registry.load(DIRECTORY)` adds a LoRA adapter to its base model. Others are loaded with peft, "
        "PeftModel.from_pretrained(registry.load_model(BASE), DIRECTORY); its merge_and_unload() can be saved.",
    ),
    Kind(
        r"tf_model.*\.h5|.+\.(h5|keras)",
        "weights of Keras (TensorFlow)",
        OLD_TRANSFORMERS.format(library="TensorFlow", option="from_tf"),
    ),
    Kind(r".+\.msgpack", "weights of Flax", OLD_TRANSFORMERS.format(library="Flax", option="from_flax")),
    Kind(r".+\.onnx(_data)?", "a computation exported to ONNX", ORIGINAL),
    Kind(
        r".+\.gguf",
        "a GGUF file of llama.cpp, mostly with quantized weights",
        ORIGINAL + " transformers reads some as well: from_pretrained(DIRECTORY, gguf_file=NAME).save_pretrained(NEW).",
    ),
    Kind(r"openvino_.+\.(xml|bin)", "a computation exported to OpenVINO", ORIGINAL),
    Kind(r".+\.ot", "weights of tch (Rust)", ORIGINAL),
    Kind(r".+\.mlmodel|.+\.mlpackage|weight\.bin", "a computation exported to Core ML", ORIGINAL),
    Kind(r".+\.tflite", "a computation exported to TensorFlow Lite", ORIGINAL),
    Kind(r".+\.distcp|pytorch_model_fsdp.*", "a checkpoint of torch.distributed (FSDP, accelerate)", GATHERED),
    Kind(
        r"zero_to_fp32\.py|.*(mp_rank|zero_pp_rank)_.+\.pt",
        "a checkpoint of DeepSpeed",
        "`python zero_to_fp32.py . .`, in its directory, makes a pytorch_model.bin.",
    ),
    Kind(
        r"(?:pytorch_)?model[._](?!safetensors$|bin$|.*index\.json$)[\w.-]+\.(safetensors|bin)",
        "a variant of the weights (another precision, or averages)",
        "If it is meant, save it in a directory of its own, with the config.json, as model.safetensors or "
        "pytorch_model.bin.",
    ),
    Kind(r"ggml-.+\.bin", "a GGML file of llama.cpp", ORIGINAL),
    Kind(r".+\.(pt2|pte|engine|plan|trt)", "a computation compiled for one kind of machine", ORIGINAL),
    Kind(r".+\.npz|weights\.\d+\.safetensors", "arrays of MLX or JAX", ORIGINAL),
    Kind(
        r".+\.(incomplete|part|partial|crdownload|aria2)",
        "a download that did not end",
        "Download it again, to its end.",
    ),
    TRAINING_STATE,
    Kind(
        r".+\.(ckpt|pt|pth|pth\.tar)",
        "a checkpoint of a training program (Lightning, for example)",
        f"If it is a state dict, or holds one, name it {WEIGHTS_NAMES[1][0]}, next to a config.json; or give it: "
        "Class.from_pretrained(DIRECTORY, state_dict=torch.load(path, weights_only=True)).",
    ),
    Kind(r".+\.(zip|tar|tgz|tar\.gz|nemo)", "an archive", "Unpack it, or give its path if it holds a model as files."),
)
"""Kinds of files of other libraries, none of which is read; the first that fits a name counts."""


def kind_of(name: str) -> Kind | None:
    """The kind of the file of this name; None for what is read here, and for unknown names."""
    plain = name.rpartition("/")[2]
    if is_weights(plain) or SHARD.fullmatch(plain):
        return None
    return next((kind for kind in KINDS if re.fullmatch(kind.names, plain)), None)


RENAMED = {
    "an HDF5 file": ("model.h5", "Keras writes such files."),
    "a GGUF file": ("model.gguf", "llama.cpp reads such files."),
    "a safetensors file": (WEIGHTS_NAMES[0][0], f"Name it {WEIGHTS_NAMES[0][0]}."),
    "a zip archive": (WEIGHTS_NAMES[1][0], f"If torch.save wrote it, name it {WEIGHTS_NAMES[1][0]}."),
    "a pickle": (WEIGHTS_NAMES[1][0], f"If torch.save wrote it, name it {WEIGHTS_NAMES[1][0]}."),
}
"""What a file of weights is in place of what its name says -> a name that says so, and what to say of it."""


def renamed(description: str) -> str | None:
    """What can be done with a file of weights that was renamed, from what its first bytes are; None for all others."""
    if description not in RENAMED:
        return None
    name, what = RENAMED[description]
    kind = kind_of(name)
    return what if kind is None else f"{what} {kind.remedy}"


def is_rewritten(name: str) -> bool:
    """Whether a file of this name belongs to weights in one of the formats that are written here."""
    return any(name in pair for pair in WEIGHTS_NAMES) or SHARD.fullmatch(name) is not None


def is_left(name: str) -> bool:
    """Whether the file of this name holds weights that saving leaves where they are: of TensorFlow, or foreign."""
    return is_weight_like(name) and not is_rewritten(name) and (kind_of(name) is not None or is_weights(name))


# --- What is there in place of a model --------------------------------------------------------------------------------


class Explanation(NamedTuple):
    """What is there in place of a model."""

    names: tuple[str, ...]
    """The names of all files that are known to be there."""
    found: str = ""
    """A sentence, after a space, on those that are known to be of other libraries; empty where there are none."""
    remedy: str | None = None
    """What can be done; None where that is not known."""


def explain(names: Collection[str], read: Callable[[str], Path | None], inside: Callable[[str], str]) -> Explanation:
    """Explain what is there in place of a model, from the names of all files that are known to be there.

    Args:
        names: The names; those in subdirectories have a ``/``.
        read: The path of the file of a name, where it can be read.
        inside: How a subdirectory is given to ``registry.load``.
    """
    ordered = tuple(sorted(names, key=lambda name: (name.count("/"), name)))
    if ADAPTER_CONFIG_NAME in names:
        return Explanation(ordered, *_adapter(read))
    with_weights, others = _nested_models(names)
    kinds: dict[Kind, str] = {}
    for name in ordered:
        if (kind := kind_of(name)) is not None:
            kinds.setdefault(kind, name)
    if len(kinds) > 1:
        kinds.pop(TRAINING_STATE, None)
    if TRAINING_ARGUMENTS in names and CONFIG_NAME not in names and any(map(is_weights, names)):
        return Explanation(
            ordered,
            " The Trainer of transformers wrote it, which saves no configuration of a model that is not its own.",
            f"Write {CONFIG_NAME} there with `model.config.to_json_file(path)`; the Trainer of "
            "registry.integrations.trainer saves complete directories.",
        )
    if with_weights or (others and not kinds):
        nested = with_weights or others
        old = SENTENCE_MODULES_NAME in names
        layout = "It has the older layout of sentence-transformers" if old else "There are models in its subdirectories"
        return Explanation(
            ordered,
            f" {layout}: {', '.join(nested[:5])}.",
            f"Give the subdirectory that is meant: {inside(nested[0])!r}.",
        )
    if not kinds and any(map(SHARD.fullmatch, names)):
        return Explanation(
            ordered,
            " There are shards, and their index is not.",
            f"Download the missing file as well: {' or '.join(index for _, index in WEIGHTS_NAMES)}.",
        )
    if not kinds and len(names) > 1 and any(map(is_weight_like, names)):
        return Explanation(
            ordered,
            f" {next(filter(is_weight_like, ordered))} may hold them, under another name than those that are read.",
            f"If it does, name it {WEIGHTS_NAMES[0][0]}, or {WEIGHTS_NAMES[1][0]} where torch.save wrote it.",
        )
    if not kinds:
        return Explanation(ordered)
    listed = "; ".join(f"{name} is {kind.what}" for kind, name in kinds.items())
    return Explanation(
        ordered,
        f" There are files of other libraries, which are not read: {listed}.",
        " ".join(dict.fromkeys(kind.remedy for kind in kinds)),
    )


def _adapter(read: Callable[[str], Path | None]) -> tuple[str, str]:
    keys: dict[str, Any] = {}
    with suppress(RegistryError):
        path = read(ADAPTER_CONFIG_NAME)
        keys = read_json_object(path) if path is not None else {}
    base, kind = map(keys.get, _ADAPTER_KEYS)
    of = f"the base model {base!r:.200}" if isinstance(base, str) and base else "a base model"
    which = f"a {kind:.40} adapter" if isinstance(kind, str) and kind.isalnum() else "an adapter"
    return f" It is {which} of PEFT for {of}, and no model of its own.", KINDS[0].remedy


_ADAPTER_KEYS = ("base_model_name_or_path", "peft_type")


def _nested_models(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """The subdirectories with a configuration and weights, and those with a configuration alone."""
    files: dict[str, set[str]] = {}
    for name in names:
        directory, _, plain = name.rpartition("/")
        if directory:
            files.setdefault(directory, set()).add(plain)
    configured = sorted(directory for directory, plain in files.items() if CONFIG_NAME in plain)
    with_weights = [directory for directory in configured if any(map(is_weights, files[directory]))]
    others = [name for name in configured if name not in with_weights and not _SENTENCE_MODULE.fullmatch(name)]
    return with_weights, others


_SENTENCE_MODULE = re.compile(r"\d+_(Pooling|Normalize|Dense|LSTM|CNN|LayerNorm|WeightedLayerPooling|Dropout)")
