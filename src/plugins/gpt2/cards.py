"""The published GPT-2 models: names, URLs, and the options that belong to their weights.

The hub comes first; after it stand the files on S3 that pytorch-pretrained-bert downloaded.  Sizes and digests are
those of the hub.  They come from public lists of its files and were checked against one another; unchecked ones are
None.
"""

from collections.abc import Mapping
from types import MappingProxyType

from registry.records import Card, FileSpec

S3 = "https://s3.amazonaws.com/models.huggingface.co/bert"

FILES = (
    ("config", "config.json"),
    ("weights", "model.safetensors"),
    ("weights", "pytorch_model.bin"),
    ("vocab", "vocab.json"),
    ("merges", "merges.txt"),
)
"""Role and name of every file, the same in each repository."""

DIGESTS: Mapping[str, tuple[str, Mapping[str, tuple[int | None, str | None]]]] = {
    "gpt2": (
        "607a30d783dfa663caf39e06633721c8d4cfcd7e",
        {
            "config.json": (665, "0daed7749b4f02b8f76240d5444551d7b08712dab4d0adb8239c56ba823bb7b4"),
            "model.safetensors": (548_105_171, "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707"),
            "pytorch_model.bin": (548_118_077, "7c5d3f4b8b76583b422fcb9189ad6c89d5d97a094541ce8932dce3ecabde1421"),
            "vocab.json": (1_042_301, "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"),
            "merges.txt": (456_318, "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"),
        },
    ),
    "gpt2-medium": (
        "6dcaa7a952f72f9298047fd5137cd6e4f05f41da",
        {
            "config.json": (718, "ef1a44d889ad1a0acc7731c78134f1b87d2d222f110e97dd10fd4117331caf22"),
            "model.safetensors": (1_519_984_962, "fc5a354a19255ad494f3d71549390baca1ccf61d1d822b9408971705c687c9cd"),
            "pytorch_model.bin": (1_520_013_706, None),
            "vocab.json": (1_042_301, "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"),
            "merges.txt": (456_318, "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"),
        },
    ),
    "gpt2-large": (
        "32b71b12589c2f8d625668d2335a01cac3249519",
        {
            "config.json": (666, "7fccdcfd6622055342a734c663ee0b61ff4fd697f42467595df0bf4448c8c170"),
            "model.safetensors": (None, "5f47f3e12f91cd33b662ce7e433b6150ad5512b5884a2cee961b50e9c3bbebce"),
        },
    ),
    "gpt2-xl": (
        "15ea56dee5df4983c59b2538573817e1667135e2",
        {
            "config.json": (689, "be48115d52314bc27327e160bf10197760db02ea689d10adb24db4102edf7a8a"),
            "model.safetensors": (None, "0f8b28eb05a8075f48b61b6f35332978c74fc7763fa9fb4051a1c30511736a6a"),
        },
    ),
    "distilgpt2": (
        "2290a62682d06624634c1f46a6ad5be0f47f38aa",
        {
            "config.json": (762, "4ec5947c1d59fee6212cdf3b0ec1a53eac02092554c5ff0a733488cbd2c64f3a"),
            "model.safetensors": (352_824_413, "e1ff18884359fe8beb795a5f414feb85a6ce3d929ad019c0d958c039d2b94a1b"),
            "pytorch_model.bin": (None, "ecbb4e22dd2b9dcc43b2622e1b87ebb9361fb31e496b98ea01a38785c1dbaa01"),
            "vocab.json": (1_042_301, "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"),
            "merges.txt": (456_318, "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"),
        },
    ),
}
"""Of each repository a commit, and of its files there the size and the sha256, as far as they are known."""


def _published(
    name: str,
    description: str,
    num_parameters: int,
    *,
    config: Mapping[str, int] = MappingProxyType({}),
    organization: str = "openai-community",
    on_s3: bool = False,
    license: str = "MIT",
) -> Card:
    """The card of a model; on S3, the names of its files begin with the model's."""
    revision, known = DIGESTS[name]
    digests = {filename: known.get(filename, (None, None)) for _, filename in FILES}
    return Card.on_hub(
        f"{organization}/{name}",
        revision=revision,
        name=name,
        architecture="gpt2",
        task="causal-lm",
        files=tuple(
            FileSpec(role=role, filename=filename, size=digests[filename][0], sha256=digests[filename][1])
            for role, filename in FILES
        ),
        elsewhere=tuple(
            FileSpec(role=role, filename=filename, urls=(f"{S3}/{name}-{filename}",))
            for role, filename in FILES
            if on_s3 and filename != "model.safetensors"  # the format is younger than the files on S3
        ),
        tokenizer={"max_len": 1024},
        config=config,
        num_parameters=num_parameters,
        languages=("en",),
        license=license,
        description=description,
    )


CARDS: tuple[Card, ...] = (
    _published("gpt2", "GPT-2, the smallest: 12 layers, English web pages.", 124_439_808, on_s3=True),
    _published(
        "gpt2-medium",
        "GPT-2 with 24 layers, English web pages.",
        354_823_168,
        config={"n_embd": 1024, "n_layer": 24, "n_head": 16},
        on_s3=True,
    ),
    _published(
        "gpt2-large",
        "GPT-2 with 36 layers, English web pages.",
        774_030_080,
        config={"n_embd": 1280, "n_layer": 36, "n_head": 20},
    ),
    _published(
        "gpt2-xl",
        "GPT-2, the largest: 48 layers, English web pages.",
        1_557_611_200,
        config={"n_embd": 1600, "n_layer": 48, "n_head": 25},
    ),
    _published(
        "distilgpt2",
        "Six layers that were taught by GPT-2's twelve.",
        81_912_576,
        config={"n_layer": 6},
        organization="distilbert",
        license="Apache-2.0",
    ),
)
