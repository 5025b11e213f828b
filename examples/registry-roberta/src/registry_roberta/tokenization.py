"""RoBERTa's tokenizer: that of GPT-2, with special tokens around texts."""

from typing import ClassVar

from registry.tokenization.batches.encoding import Template
from registry.zoo import GPT2Tokenizer


class RobertaTokenizer(GPT2Tokenizer):
    """Cuts text into the byte pairs of GPT-2: ``<s> text </s>``, and ``<s> text </s></s> pair </s>``."""

    published_classes: ClassVar[tuple[str, ...]] = ("RobertaTokenizer", "RobertaTokenizerFast", "TokenizersBackend")
    template = Template(("cls_token",), ("sep_token",), ("sep_token",), ("sep_token",))

    bos_token, eos_token = cls_token, sep_token = "<s>", "</s>"
    unk_token, pad_token, mask_token = "<unk>", "<pad>", "<mask>"
