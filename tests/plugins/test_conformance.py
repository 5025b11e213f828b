"""Every first-party plugin keeps the contract which the kit checks for third parties."""

from pathlib import Path

from plugins.bert.tokenization import BertTokenizer
from plugins.gpt.tokenization import OpenAIGPTTokenizer
from plugins.gpt2.tokenization import GPT2Tokenizer
from registry.testing import Conformance
from registry.tokenization.byte_level import bytes_to_unicode

LETTERS = "abcdefghijklmnopqrstuvwxyz."


class TestBert(Conformance):
    plugin = "bert"
    config = {
        "vocab_size": 70,
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 40,
        "max_position_embeddings": 32,
    }
    unsupported = {
        "exact-text": "upper case, accents and runs of blanks are given up",
        "left-padding": "positions are absolute and count from the first column, as in the published models",
    }

    def make_tokenizer(self, folder: Path) -> BertTokenizer:
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
        (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in [*words, "the", "cat"]))
        return BertTokenizer(folder / "vocab.txt", max_len=32)


class TestGPT(Conformance):
    plugin = "gpt"
    config = {"vocab_size": 61, "n_positions": 20, "n_embd": 24, "n_layer": 2, "n_head": 4}
    unsupported = {"exact-text": "upper case, accents and runs of blanks are given up"}

    def make_tokenizer(self, folder: Path) -> OpenAIGPTTokenizer:
        symbols = ["<unk>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS), "th", "the</w>"]
        vocab = {symbol: number for number, symbol in enumerate(symbols)}
        return OpenAIGPTTokenizer(vocab, [("t", "h"), ("th", "e</w>")], max_len=20, use_spacy=False)


class TestGPT2(Conformance):
    plugin = "gpt2"
    config = {"vocab_size": 300, "n_positions": 20, "n_embd": 24, "n_layer": 2, "n_head": 4}
    texts = (*Conformance.texts, "Every  byte\tcounts:\n  naïve 你好 \U0001f468\u200d\U0001f469.")

    def make_tokenizer(self, folder: Path) -> GPT2Tokenizer:
        rules = [("t", "h"), ("th", "e"), ("Ġ", "the")]
        tokens = [*bytes_to_unicode().values(), *map("".join, rules), "<|endoftext|>"]
        return GPT2Tokenizer({token: number for number, token in enumerate(tokens)}, rules, max_len=20)
