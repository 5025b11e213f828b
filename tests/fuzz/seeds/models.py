"""Well-formed directories of models, and files of models about their use."""

import json
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save as safetensors_of
from tests.fuzz.inputs import Files
from tests.fuzz.seeds.made import FIXTURES, SIZES, WORDS, as_json, bert, written

import registry
from registry.files.atomic import content_writer
from registry.files.filenames import JOURNAL_NAME
from registry.files.journal import Journal, StagedFile, staging_name
from registry.loading.untrained import fingerprints
from registry.saving.folder import write_folder
from registry.zoo import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    OpenAIGPTConfig,
    OpenAIGPTModel,
    TransfoXLConfig,
    TransfoXLModel,
)


def configurations() -> list[Files]:
    """Saved models of every architecture, some with their manifests; and what older and other libraries leave."""
    small = {"vocab_size": 10, "n_embd": 4, "n_layer": 1, "n_head": 1}
    older = json.loads((FIXTURES / "tensorflow/transfo_xl/config.json").read_text())
    models = [
        bert(),
        BertForSequenceClassification(BertConfig(**SIZES, id2label={0: "no", 1: "yes"})),  # type: ignore[arg-type]
        GPT2LMHeadModel(GPT2Config(**small, n_positions=8)),
        OpenAIGPTModel(OpenAIGPTConfig(**small, n_positions=8)),
        TransfoXLModel(TransfoXLConfig.from_dict(older)),
    ]
    found = []
    for model in models:
        model.init_weights()
        model.initial_values = fingerprints(model.state_dict(), list(model.state_dict())[-2:])
        found.append(written(partial(registry.save, model)))
    without = [{name: data for name, data in files.items() if name != "registry.json"} for files in found]
    found += [*without, {**without[0], "config.json": as_json(SIZES)}]
    return [*found, {"adapter_config.json": as_json({"base_model_name_or_path": "a/b", "peft_type": "LORA"})}]


def saved_directories() -> list[Files]:
    """Directories that were saved, and such of which saving was interrupted, before and after the first rename."""

    def save(directory: Path) -> None:
        writers = {"config.json": content_writer("{}"), "model.safetensors": content_writer(b"weights")}
        write_folder(directory, writers, about={"architecture": "bert", "untrained": {"a": "b"}})

    def interrupted(directory: Path) -> None:
        save(directory)
        staging = staging_name()
        (directory / staging).mkdir()
        names = ("config.json", "model-00001-of-00001.safetensors")
        for name in names:
            (directory / staging / name).write_bytes(b"new")
        files = {name: StagedFile.of(directory / staging / name) for name in names}
        Journal(directory=directory, staging=staging, files=files, removed=("model.safetensors", "vocab.txt")).begin()

    def halfway(directory: Path) -> None:
        interrupted(directory)
        staging = json.loads((directory / JOURNAL_NAME).read_text())["staging"]
        (directory / staging / "config.json").replace(directory / "config.json")

    return [written(write) for write in (save, interrupted, halfway)]


def generation_configs() -> list[Files]:
    """Defaults of generation, of all kinds."""
    return [
        {"generation_config.json": as_json(keys)}
        for keys in (
            {
                "max_new_tokens": 2,
                "do_sample": True,
                "temperature": 0.7,
                "top_k": 5,
                "top_p": 0.9,
                "eos_token_id": [1, 2],
                "pad_token_id": 0,
                "transformers_version": "5",
            },
            {
                "max_length": 6,
                "num_beams": 2,
                "length_penalty": 0.5,
                "early_stopping": True,
                "no_repeat_ngram_size": 2,
                "num_return_sequences": 2,
            },
            {
                "max_new_tokens": 2,
                "repetition_penalty": 1.2,
                "bad_words_ids": [[1], [2, 3]],
                "suppress_tokens": [4],
                "min_new_tokens": 1,
                "eos_token_id": 3,
            },
            {
                "max_new_tokens": 2,
                "do_sample": True,
                "min_p": 0.1,
                "typical_p": 0.9,
                "max_time": 1.0,
                "stop_strings": ["b"],
                "guidance_scale": 1.0,
            },
        )
    ]


def sentence_modules() -> list[Files]:
    """A model of sentence-transformers."""

    def save(directory: Path) -> None:
        vocabulary = directory / "words.txt"
        vocabulary.write_text("\n".join([*WORDS, ""]))
        registry.save(bert(), directory, tokenizer=BertTokenizer(vocabulary))
        vocabulary.unlink()
        (directory / "registry.json").unlink()

    module = "sentence_transformers.models."
    dense = {"linear.weight": torch.ones(2, 4), "linear.bias": torch.zeros(2)}

    return [
        {
            **written(save),
            "modules.json": as_json(
                [
                    {"idx": number, "name": str(number), "path": path, "type": module + kind}
                    for number, (path, kind) in enumerate(
                        [
                            ("", "Transformer"),
                            ("1_Pooling", "Pooling"),
                            ("2_Dense", "Dense"),
                            ("3_Normalize", "Normalize"),
                        ]
                    )
                ]
            ),
            "1_Pooling/config.json": as_json(
                {
                    "word_embedding_dimension": 4,
                    "pooling_mode_mean_tokens": True,
                    "pooling_mode_cls_token": False,
                    "include_prompt": False,
                }
            ),
            "2_Dense/config.json": as_json(
                {
                    "in_features": 4,
                    "out_features": 2,
                    "bias": True,
                    "activation_function": "torch.nn.modules.activation.Tanh",
                }
            ),
            "2_Dense/model.safetensors": safetensors_of(dense),
            "sentence_bert_config.json": as_json({"max_seq_length": 8, "do_lower_case": True}),
            "config_sentence_transformers.json": as_json(
                {"prompts": {"query": "the "}, "default_prompt_name": "query"}
            ),
        }
    ]
