"""Transformer-XL keeps the contract which the kit checks for third parties."""

from pathlib import Path

from plugins.transfo_xl.tokenization import TransfoXLTokenizer
from registry.testing import Conformance


class TestTransfoXL(Conformance):
    plugin = "transfo_xl"
    config = {
        "vocab_size": 50,
        "cutoffs": [20, 35],
        "tie_projs": [False, True, True],
        "d_model": 16,
        "d_embed": 16,
        "n_head": 4,
        "d_head": 4,
        "d_inner": 24,
        "n_layer": 2,
        "mem_len": 12,
        "tgt_len": 8,
        "clamp_len": 10,
    }
    unsupported = {
        "exact-text": "runs of blanks are given up",
        "special-tokens": "they are words like others, which stand between spaces, as in the published vocabulary",
    }

    def make_tokenizer(self, folder: Path) -> TransfoXLTokenizer:
        words = dict.fromkeys(["<unk>", "<eos>", *" ".join(self.texts).split()])
        return TransfoXLTokenizer({word: number for number, word in enumerate(words)})
