"""Published models: T5 1.0, and Flan-T5, which is T5 1.1 tuned to instructions (Chung et al., 2022)."""

from registry.records import Card, FileSpec

NAMES = {"t5-small": 60_506_624, "t5-base": 222_903_552, "flan-t5-small": 76_961_152, "flan-t5-base": 247_577_856}
"""Names, and their numbers of parameters."""
FILES = {"config": "config.json", "weights": "model.safetensors", "vocab": "spiece.model"}
CARDS = tuple(
    Card.on_hub(
        f"{'google' if name.startswith('flan') else 'google-t5'}/{name}",
        [FileSpec(role=role, filename=filename) for role, filename in FILES.items()],
        name=name,
        architecture="t5",
        task="seq2seq-lm",
        license="Apache-2.0",
        num_parameters=number,
    )
    for name, number in NAMES.items()
)
