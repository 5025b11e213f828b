"""Tokenizers of causal models: a special token may begin each text, and another one end it."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeGuard

from registry.errors import VocabError
from registry.tokenization.base import Tokenizer
from registry.tokenization.batches.encoding import Template
from registry.tokenization.options import FLAG, Option


class CausalTokenizer(Tokenizer):
    """Base of tokenizers of causal models; a subclass with a ``template`` of its own has that instead.

    Args:
        add_bos_token: Whether ``bos_token`` is put before each text.
        add_eos_token: Whether ``eos_token`` is put after each text.
    """

    options: ClassVar[Mapping[str, Option]] = {**Tokenizer.options, "add_bos_token": FLAG, "add_eos_token": FLAG}

    add_bos_token: bool = False
    add_eos_token: bool = False

    def _template(self, wanted: bool) -> Template[list[int]]:
        if not wanted or any(self.template):
            return super()._template(wanted)
        start = [self.special_id("bos_token")] if self.add_bos_token else []
        end = [self.special_id("eos_token")] if self.add_eos_token else []
        return Template(start, end, end, start)


def cls_and_sep(processor: Mapping[str, Any] | None, origin: str) -> dict[str, Any]:
    """The special tokens that a ``post_processor`` of RoBERTa or BERT puts around texts, as options.

    Anything else raises VocabError.
    """
    found = processor or {}
    cls, sep = found.get("cls"), found.get("sep")
    if found.get("type") not in ("RobertaProcessing", "BertProcessing") or not (
        _is_numbered(cls) and _is_numbered(sep)
    ):
        raise VocabError(f"{origin}: post_processor puts texts between tokens in a way that is not supported.")
    return {"cls_token": cls[0], "sep_token": sep[0]}


def _is_numbered(token: Any) -> TypeGuard[list[Any]]:
    """Whether this is a token with its id."""
    return isinstance(token, list) and len(token) == 2 and isinstance(token[0], str)


def bos_and_eos(processor: Mapping[str, Any] | None, origin: str) -> dict[str, Any]:
    """The tokens that the ``post_processor`` of a ``tokenizer.json`` puts around texts, as options.

    That is nothing, a token before it, one after it, or both; anything else raises VocabError.
    """
    for part in _parts(processor):
        if part.get("type") == "ByteLevel":  # is about offsets
            continue
        single, pair = ([_special(one) for one in _listed(part.get(kind))] for kind in ("single", "pair"))
        if part.get("type") == "TemplateProcessing" and pair == 2 * single:
            match single:
                case [None]:
                    return {}
                case [str(bos), None]:
                    return {"bos_token": bos, "add_bos_token": True}
                case [None, str(eos)]:
                    return {"eos_token": eos, "add_eos_token": True}
                case [str(bos), None, str(eos)]:
                    return {"bos_token": bos, "add_bos_token": True, "eos_token": eos, "add_eos_token": True}
        raise VocabError(
            f"{origin}: post_processor puts texts between tokens in a way that is not supported.",
            hint="Supported are bos_token before each text and eos_token after it.",
        )
    return {}


def _parts(processor: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """The processors that a ``post_processor`` consists of."""
    if processor is None:
        return
    is_sequence = isinstance(processor, Mapping) and processor.get("type") == "Sequence"
    for part in _listed(processor.get("processors")) if is_sequence else (processor,):
        yield part if isinstance(part, Mapping) else {}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _special(part: Any) -> Any:
    """The special token in a part of a template; None for a text."""
    special = part.get("SpecialToken") if isinstance(part, Mapping) else {}
    return special.get("id", UNKNOWN) if isinstance(special, Mapping) else special


UNKNOWN = object()
"""Stands for a part that nobody understands."""
