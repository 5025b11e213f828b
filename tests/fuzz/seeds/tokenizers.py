"""Well-formed files of tokenizers."""

import io
import json
from collections.abc import Mapping
from typing import Any

from tests.fuzz.inputs import Files
from tests.fuzz.seeds.made import FIXTURES, SIZES, WORDS, as_json

from registry.zoo import (
    GPT2Tokenizer,
)


def _with_config(config: Mapping[str, Any], files: Files) -> Files:
    return {"config.json": as_json(config), **files}


PLAIN = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
STRIPPED = {**PLAIN, "lstrip": True}


def _template(*parts: tuple[str, int]) -> list[dict[str, Any]]:
    """Parts of a template: texts, or special tokens, with the numbers of their segments."""
    kinds = [("Sequence" if len(name) == 1 else "SpecialToken", name, number) for name, number in parts]
    return [{kind: {"id": name, "type_id": number}} for kind, name, number in kinds]


BERT_JSON = {
    "version": "1.0",
    "added_tokens": [
        *({"id": number, "content": word, **PLAIN, "special": True} for number, word in enumerate(WORDS[:5])),
        {"id": len(WORDS), "content": "new", **dict.fromkeys(PLAIN, True), "special": False},
    ],
    "normalizer": {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": None,
        "lowercase": True,
    },
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {
        "type": "TemplateProcessing",
        "single": _template(("[CLS]", 0), ("A", 0), ("[SEP]", 0)),
        "pair": _template(("[CLS]", 0), ("A", 0), ("[SEP]", 0), ("B", 1), ("[SEP]", 1)),
        "special_tokens": {
            word: {"id": word, "ids": [WORDS.index(word)], "tokens": [word]} for word in ("[CLS]", "[SEP]")
        },
    },
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
    "truncation": None,
    "padding": None,
    "model": {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": {word: number for number, word in enumerate(WORDS)},
    },
}
"""A ``tokenizer.json`` of BERT, as the library tokenizers writes it."""
MERGES = ["t h", "th e", "Ġ c", "a t", "Ġc at"]
CHARACTERS = ["<|endoftext|>", *"abcdethĠ,.!", "th", "the", "Ġc", "at", "Ġcat"]
BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
GPT2_JSON = {
    "version": "1.0",
    "added_tokens": [{"id": 0, "content": "<|endoftext|>", **PLAIN, "special": True}],
    "normalizer": None,
    "pre_tokenizer": {**BYTES, "add_prefix_space": False},
    "post_processor": {**BYTES, "trim_offsets": False},
    "decoder": BYTES,
    "model": {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": "",
        "end_of_word_suffix": "",
        "fuse_unk": False,
        "byte_fallback": False,
        "vocab": {token: number for number, token in enumerate(CHARACTERS)},
        "merges": MERGES,
    },
}
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content | trim }}\n{% endfor %}"
    "{% if add_generation_prompt %}a:{% endif %}"
)


def tokenizers() -> list[Files]:
    """The JSON files of tokenizers."""
    bert_config = {"model_type": "bert", **SIZES}
    gpt2_config = {"model_type": "gpt2", "vocab_size": 20, "n_embd": 4, "n_layer": 1, "n_head": 1, "n_positions": 8}
    options = {
        "do_lower_case": True,
        "model_max_length": 64,
        "unk_token": "[UNK]",
        "tokenizer_class": "BertTokenizer",
        "tokenize_chinese_chars": True,
        "strip_accents": None,
        "clean_up_tokenization_spaces": True,
        "padding_side": "left",
        "added_tokens_decoder": {"4": {"content": "[MASK]", **STRIPPED, "special": True}},
        "extra_special_tokens": ["the"],
        "chat_template": TEMPLATE,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    special = {"cls_token": "[CLS]", "mask_token": {"content": "[MASK]", **STRIPPED}}
    gpt2_files = {
        "vocab.json": as_json({token: number for number, token in enumerate(CHARACTERS)}),
        "merges.txt": "\n".join(["#version: 0.2", *MERGES, ""]).encode(),
    }
    vocabulary = {"vocab.txt": "\n".join([*WORDS, ""]).encode()}
    return [
        _with_config(bert_config, {"tokenizer.json": as_json(BERT_JSON)}),
        _with_config(gpt2_config, {"tokenizer.json": as_json(GPT2_JSON)}),
        _with_config(
            bert_config,
            {**vocabulary, "tokenizer_config.json": as_json(options), "special_tokens_map.json": as_json(special)},
        ),
        _with_config(
            bert_config,
            {
                **vocabulary,
                "added_tokens.json": as_json({"new": len(WORDS), "[NEW]": len(WORDS) + 1}),
                "tokenizer_config.json": as_json(
                    {
                        "do_lower_case": False,
                        "chat_template": [
                            {"name": "default", "template": TEMPLATE},
                            {"name": "tools", "template": "{{ messages[0].content }}"},
                        ],
                    }
                ),
                "chat_template.jinja": TEMPLATE.encode(),
            },
        ),
        _with_config(
            gpt2_config,
            {
                **gpt2_files,
                "tokenizer_config.json": as_json(
                    {"add_prefix_space": True, "add_bos_token": True, "bos_token": "<|endoftext|>", "errors": "replace"}
                ),
            },
        ),
    ]


def vocabularies() -> list[Files]:
    """The files of vocabularies of every architecture, short."""
    bert_lines = [*(FIXTURES / "vocabularies/bert/vocab.txt").read_text().split("\n")[:70]]
    found = [_with_config({"model_type": "bert", **SIZES}, {"vocab.txt": "\n".join(bert_lines).encode()})]
    for architecture in ("gpt2", "gpt"):
        directory = FIXTURES / "vocabularies" / architecture
        merges = (directory / "merges.txt").read_text().split("\n")[:40]
        pieces = json.loads((directory / "vocab.json").read_text())
        made = {left + right for left, _, right in (merge.partition(" ") for merge in merges)}
        kept = [
            piece
            for piece in pieces
            if len(piece.removesuffix("</w>")) == 1 or piece in made or piece in ("<unk>", "<|endoftext|>")
        ]
        numbered = {piece: number for number, piece in enumerate(kept)}
        config = {
            "model_type": "gpt2" if architecture == "gpt2" else "openai-gpt",
            "vocab_size": len(kept),
            "n_embd": 4,
            "n_layer": 1,
            "n_head": 1,
        }
        files = {"vocab.json": as_json(numbered), "merges.txt": "\n".join([*merges, ""]).encode()}
        found += [_with_config(config, files), _with_config(config, {**files, "special_tokens.txt": b"<s>\n<e>\n"})]
    config = json.loads((FIXTURES / "tensorflow/transfo_xl/config.json").read_text())
    found.append(
        _with_config({"model_type": "transfo-xl", **config}, {"vocab.txt": b"<eos>\n<unk>\nthe 3\ncat 2\n,\n"})
    )
    return found


def sentencepiece_models() -> list[Files]:
    """Small models of every type."""
    import sentencepiece

    found = []
    for kind, size in (("bpe", 60), ("unigram", 45), ("char", 40), ("word", 12)):
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["the cat sat on the mat , and the dog sat .", "ein Name wird ein Modell"] * 3),
            model_writer=model, vocab_size=size, model_type=kind, minloglevel=2, hard_vocab_limit=False,
            normalization_rule_name="identity",
        )  # fmt: skip
        found.append({"tokenizer.model": model.getvalue()})
    return found


def gpt2_tokenizer() -> GPT2Tokenizer:
    """A tokenizer for what is generated."""
    directory = FIXTURES / "vocabularies" / "gpt2"
    return GPT2Tokenizer(directory / "vocab.json", directory / "merges.txt")
