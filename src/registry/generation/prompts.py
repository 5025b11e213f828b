"""Arguments of decoding, checked before anything is computed."""

import math
from collections.abc import Collection
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from registry.errors import InputError
from registry.nn.inputs import check_mask, check_shape

WhenFull: TypeAlias = Literal["error", "slide"]
"""What happens to a text that outgrows the context of the model: refused, or continued with the younger half."""
EndIds: TypeAlias = int | Collection[int] | None
"""The ids that end a text."""
LARGEST_INTEGER = 2**63
"""Numbers stay below: torch counts in 64 bits."""
LARGEST_EXPONENT = 20
"""Of a length, whose power must be a number."""


class Prompts(NamedTuple):
    """Texts to continue, with their padding on the left."""

    ids: Tensor
    """``(batch, tokens)``."""
    padding: Tensor
    """How many of its ids are padding, ``(batch,)``."""

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        return self.ids.shape[1] - int(self.padding.min())

    def followed_by(self, new: Tensor) -> Tensor:
        """Prompts and new tokens, ``(batch * n, tokens)``, for ``n`` continuations of each prompt."""
        return torch.cat([self.ids.repeat_interleave(len(new) // len(self.ids), dim=0), new], dim=1)


def prompts_of(input_ids: Tensor, attention_mask: Tensor | None) -> Prompts:
    """The prompts in a batch that is padded anywhere.  Raises InputError unless each has a token."""
    check_tensor(input_ids)
    if input_ids.dim() != 2:
        raise InputError(
            f"input_ids must have two dimensions, (batch, tokens), not the shape {tuple(input_ids.shape)}.",
            hint="Of a single prompt, pass input_ids[None]." if input_ids.dim() == 1 else None,
        )
    if input_ids.dtype not in (torch.int32, torch.int64):
        raise InputError(f"input_ids must be whole numbers, not {input_ids.dtype}.")
    check_shape(attention_mask, input_ids, "attention_mask")
    check_mask(attention_mask)
    tokens = torch.ones_like(input_ids) if attention_mask is None else (attention_mask != 0).long()
    if not tokens.numel() or not tokens.any(dim=1).all():
        raise InputError(
            "A prompt is empty, which leaves nothing to continue.",
            hint="Begin with the token that separates texts in the training data.",
        )
    padding_first = tokens.sort(dim=1, stable=True).indices
    return Prompts(input_ids.long().gather(1, padding_first), tokens.shape[1] - tokens.sum(dim=1))


def check_tensor(input_ids: object) -> None:
    """Raise InputError unless what a model is to read is a tensor."""
    if not isinstance(input_ids, Tensor):
        raise InputError(
            f"input_ids must be a tensor, (batch, tokens), not a {type(input_ids).__name__}.",
            hint='tokenizer([text], return_tensors="pt")["input_ids"] makes one; `Pretrained.generate` takes texts.',
        )


def check_room(longest: int, max_new_tokens: int, context: int, when_full: WhenFull) -> None:
    """Raise InputError unless the context holds the prompts and, where it may not slide, what is generated.

    The last token need not fit: the model does not read it.
    """
    check_positive_int("max_new_tokens", max_new_tokens)
    if when_full not in ("error", "slide"):
        raise InputError(f"when_full must be 'error' or 'slide', not {when_full!r}.")
    if longest > context:
        raise InputError(
            f"A prompt has {longest} tokens, but the model's context is {context}.",
            hint=f"Truncate it, for example to its last tokens: input_ids[:, -{context}:].",
        )
    if when_full == "error" and longest + max_new_tokens - 1 > context:
        raise InputError(
            f"A prompt of {longest} tokens and {max_new_tokens} new ones exceed the model's context of {context}.",
            hint=f"Ask for at most {context - longest + 1}, or drop the oldest tokens: when_full='slide'.",
        )


def configured_end(model: Any) -> EndIds:
    """The id, or the ids, that end a text by the configuration of a model; None where it has none.

    Files of before 2023 have no other place for it, whether the architecture has a field for it or not.
    """
    config = getattr(model, "config", None)
    found = getattr(config, "eos_token_id", None)
    return getattr(config, "extra", {}).get("eos_token_id") if found is None else found


def end_ids(eos_token_id: EndIds, device: torch.device, name: str = "eos_token_id") -> Tensor:
    """The ids that end a text, ``(ids,)``; for None, none.  ``name`` is that of the option, for errors."""
    given = () if eos_token_id is None else eos_token_id
    ids = list(given) if isinstance(given, Collection) else [given]
    if not all(_is_number(one, int) and one >= 0 for one in ids):
        raise InputError(f"{name} must be an id, several, or None, not {eos_token_id!r}.")
    return torch.tensor(list(dict.fromkeys(ids)), dtype=torch.long, device=device)


def padding_id(pad_token_id: int | None, ends: Tensor) -> int:
    """The id that stands after the end of a sequence: as asked, else the first end token, else 0."""
    if pad_token_id is None:
        return int(ends[0]) if len(ends) else 0
    if not (_is_number(pad_token_id, int) and pad_token_id >= 0):
        raise InputError(f"pad_token_id must be an id, or None, not {pad_token_id!r}.")
    return pad_token_id


def check_ids(name: str, ids: Collection[int]) -> None:
    """Raise InputError unless ``ids``, called ``name``, are ids, and there is one."""
    if not (isinstance(ids, Collection) and ids and all(_is_number(one, int) and one >= 0 for one in ids)):
        raise InputError(f"{name} must hold ids, at least one, not {ids!r}.")


def check_positive_int(name: str, value: int, *, most: float = math.inf) -> None:
    """Raise InputError unless ``value``, called ``name``, is a whole number above 0 and at most ``most``."""
    if not (_is_number(value, int) and 0 < value <= most):
        raise InputError(f"{name} must be a whole number above 0{_limit(most)}, not {value!r}.")


def check_positive(name: str, value: float, *, most: float = math.inf) -> None:
    """Raise InputError unless ``value``, called ``name``, is a finite number above 0 and at most ``most``."""
    if not (_is_number(value, float) and 0 < value <= most):
        raise InputError(f"{name} must be a number above 0{_limit(most)}, not {value!r}.")


def check_exponent(name: str, value: float) -> None:
    """Raise InputError unless ``value``, called ``name``, is a number of which powers can be computed."""
    if not (_is_number(value, float) and abs(value) <= LARGEST_EXPONENT):
        raise InputError(f"{name} must be a number from -{LARGEST_EXPONENT} to {LARGEST_EXPONENT}, not {value!r:.40}.")


def check_unused(where: str, **options: object) -> None:
    """Raise InputError for an option that is given, where none of ``options`` has a meaning."""
    for name, value in options.items():
        if value is not None:
            raise InputError(f"{name}={value!r} has no effect {where}.")


def _is_number(value: object, kind: type[int] | type[float]) -> bool:
    if not isinstance(value, (int, kind)) or isinstance(value, bool):
        return False
    return math.isfinite(value) if isinstance(value, float) else abs(value) < LARGEST_INTEGER


def _limit(most: float) -> str:
    return f" and at most {most:g}" if math.isfinite(most) else ""
