"""Outputs of ``forward``: one record for each kind of head.

The loss comes first where there is one, and fields have the names of transformers.  A field is an attribute; what was
not asked for, or what the model does not have, is None there, and is absent everywhere else: ``output[0]``,
``output[:2]``, ``tuple(output)`` and unpacking have the fields that are there, in their order, ``output["logits"]`` and
``dict(output)`` have them by name.  All have these two fields:

``hidden_states``
    With ``output_hidden_states``, the embeddings and then the output of each layer, each ``(..., tokens, width)``.
``attentions``
    With ``output_attentions``, the attention weights of each layer, each ``(batch, heads, tokens, tokens)``; with a
    cache, the last axis has all tokens so far.

At padding, hidden states and logits are zero, unless a field says otherwise.

A record is a dictionary of the fields that are there, and a node of torch's pytrees, so that distributed training,
export and trainers look inside.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import wraps
from inspect import Parameter, get_annotations, signature
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform

from torch import Tensor
from torch.utils import _pytree as pytree

from registry.config.keywords import unknown_keyword
from registry.errors import InputError, UnknownOptionError

NEEDED: Any = None
"""The default of a field that a model always gives; libraries that copy a record give all fields as one mapping."""


class Field:
    """A field of a record: the value in its dictionary, None where it is absent."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, output: "Output | None", owner: type | None = None) -> Any:
        return self if output is None else dict.get(output, self.name)

    def __set__(self, output: "Output", value: Any) -> None:
        output[self.name] = value


class Output(dict[str, Any]):
    """A record of what a model computed, by name.

    Iterating gives the fields, not their names, unlike other dictionaries.  ``Class(mapping)`` makes a record of the
    fields in a mapping.
    """

    __slots__ = ()
    field_names: ClassVar[tuple[str, ...]]
    """All fields, absent ones included."""

    def __init__(self, *values: Any, **fields: Any) -> None:
        if len(values) == 1 and isinstance(values[0], dict):
            fields, values = {**values[0], **fields}, ()
        for name, value in zip(self.field_names, values, strict=False):
            if value is not None:
                dict.__setitem__(self, name, value)
        if fields or len(values) > len(self.field_names):
            self._set_by_name(len(values), fields)

    def _set_by_name(self, given: int, fields: dict[str, Any]) -> None:
        """Set fields by name, after so many that were given by position."""
        names = self.field_names[given:]
        unknown = [name for name in fields if name not in names]
        if unknown or given > len(self.field_names):
            raise TypeError(f"{type(self).__name__} has the fields {', '.join(self.field_names)}, not {unknown}.")
        for name in names:
            if fields.get(name) is not None:
                dict.__setitem__(self, name, fields[name])

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that are there."""
        return tuple(self.values())

    def __getitem__(self, key: int | str | slice) -> Any:
        """A field by its name, or by its position among those that are there; or several, by a slice."""
        if isinstance(key, (int, slice)):
            return self.to_tuple()[key]
        if not isinstance(key, str):
            raise TypeError(f"A {type(self).__name__} is a record, not a tensor: write {self._of_field('[...]')}.")
        if key not in self:
            raise KeyError(f"{key}: this {type(self).__name__} has {', '.join(self.keys())}")
        return super().__getitem__(key)

    def __setitem__(self, name: str, value: Any) -> None:
        """Set a field, which keeps its position; None makes it absent."""
        if name not in self.field_names:
            raise KeyError(f"{name}: {type(self).__name__} has the fields {', '.join(self.field_names)}")
        fields = {**self, name: value}
        self.clear()
        self.update({name: fields[name] for name in self.field_names if fields.get(name) is not None})

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values())

    if not TYPE_CHECKING:  # a type checker knows the fields

        def __getattr__(self, name: str) -> Any:
            """Raise AttributeError; for what a tensor has, with the line to write."""
            advice = (
                f": it is a record, not a tensor. Write {self._of_field('.' + name)}" if hasattr(Tensor, name) else ""
            )
            raise AttributeError(f"A {type(self).__name__} has no attribute {name!r}{advice}.", name=name, obj=self)

    def _of_field(self, what: str) -> str:
        """How a part of the tensor is written that was meant by the record: of the loss for its gradients."""
        fields = [name for name in self.keys() if name != "loss" or what in (".backward", ".item")]
        return f"output.{(fields or ['loss'])[0]}{what}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.items())})"


OutputT = TypeVar("OutputT", bound=Output)


@dataclass_transform(eq_default=False)
def record(cls: type[OutputT]) -> type[OutputT]:
    """Make a class of annotated fields a record, and a node of pytrees.

    Args:
        cls: A subclass of ``Output``, whose fields have defaults.
    """
    cls.field_names = tuple(get_annotations(cls))
    for name in cls.field_names:
        setattr(cls, name, Field(name))

    def flatten(output: OutputT) -> tuple[list[Any], list[str]]:
        return list(output.values()), list(output.keys())

    def flatten_with_keys(output: OutputT) -> tuple[list[tuple[pytree.KeyEntry, Any]], list[str]]:
        return [(pytree.MappingKey(name), value) for name, value in output.items()], list(output.keys())

    def unflatten(values: Iterable[Any], names: list[str]) -> OutputT:
        return cls(**dict(zip(names, values, strict=True)))

    pytree.register_pytree_node(
        cls,
        flatten,
        unflatten,
        serialized_type_name=f"{cls.__module__}.{cls.__qualname__}",
        flatten_with_keys_fn=flatten_with_keys,
    )
    return cls


@record
class EncoderOutput(Output):
    """Output of an encoder."""

    last_hidden_state: Tensor = NEEDED
    """Output of the last layer, ``(batch, tokens, width)``."""
    pooler_output: Tensor | None = None
    """One vector for each sequence, ``(batch, width)``, where the model has a pooler."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@record
class DecoderOutput(Output):
    """Output of a causal model without a head."""

    last_hidden_state: Tensor = NEEDED
    """Output of the last layer, ``(..., tokens, width)``."""
    past_key_values: Sequence[tuple[Tensor, Tensor]] | None = None
    """Keys and values of each layer, ``(batch, heads, tokens so far, width of a head)``, for the next call; None with
    ``use_cache=False``."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@record
class CausalLMOutput(Output):
    """Output of a causal language model."""

    loss: Tensor | None = None
    """Mean over the tokens that are labeled and have one before them."""
    logits: Tensor = NEEDED
    """Logits of the token after each token, ``(..., tokens, vocabulary)``."""
    past_key_values: Sequence[tuple[Tensor, Tensor]] | None = None
    """Keys and values of each layer, ``(batch, heads, tokens so far, width of a head)``, for the next call; None with
    ``use_cache=False``."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@record
class MemoryOutput(Output):
    """Output of a causal model with a memory, without a head."""

    last_hidden_state: Tensor = NEEDED
    """Output of the last layer, ``(batch, tokens, width)``."""
    mems: Sequence[Tensor] | None = None
    """Input of each layer at the latest tokens, ``(batch, tokens in memory, width)``, for the next call; None with
    ``use_cache=False``."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@record
class MemoryLMOutput(Output):
    """Output of a causal language model with a memory."""

    loss: Tensor | None = None
    """Mean over the tokens that are labeled and have one before them."""
    losses: Tensor | None = None
    """Negative log-probability of the token after each token, ``(batch, tokens)``; zero where nothing is labeled."""
    logits: Tensor | None = None
    """Log-probabilities of the token after each token, ``(batch, tokens, vocabulary)``; None with labels, whose losses
    need a small part of them."""
    mems: Sequence[Tensor] | None = None
    """Input of each layer at the latest tokens, ``(batch, tokens in memory, width)``, for the next call; None with
    ``use_cache=False``."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@record
class DoubleHeadsOutput(Output):
    """Output of a causal language model with a multiple-choice head."""

    loss: Tensor | None = None
    """The language model's: mean over the tokens that are labeled and have one before them."""
    mc_loss: Tensor | None = None
    """The choice's: mean over what is labeled."""
    logits: Tensor = NEEDED
    """Logits of the token after each token, ``(..., choices, tokens, vocabulary)``."""
    mc_logits: Tensor = NEEDED
    """Logits of the choices, ``(..., choices)``."""
    past_key_values: Sequence[tuple[Tensor, Tensor]] | None = None
    """Keys and values of each layer, ``(batch, heads, tokens so far, width of a head)``, for the next call; None with
    ``use_cache=False``."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@record
class Seq2SeqOutput(Output):
    """Output of an encoder-decoder without a head."""

    last_hidden_state: Tensor = NEEDED
    """Output of the decoder's last layer, ``(batch, tokens of the decoder, width)``."""
    past_key_values: Sequence[tuple[Tensor, Tensor, Tensor, Tensor]] | None = None
    """Of each layer of the decoder the keys and values, and then those of the encoded text, each ``(batch, heads,
    tokens, width of a head)``, for the next call; None with ``use_cache=False``."""
    decoder_hidden_states: tuple[Tensor, ...] | None = None
    decoder_attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None
    """Weights of each layer of the decoder to the encoded text, ``(batch, heads, tokens of the decoder, tokens)``."""
    encoder_last_hidden_state: Tensor | None = None
    """Output of the encoder's last layer, ``(batch, tokens, width)``."""
    encoder_hidden_states: tuple[Tensor, ...] | None = None
    encoder_attentions: tuple[Tensor, ...] | None = None


@record
class Seq2SeqLMOutput(Output):
    """Output of an encoder-decoder with a language model head; what has no text here is as in ``Seq2SeqOutput``."""

    loss: Tensor | None = None
    """Mean over the tokens that are labeled."""
    logits: Tensor = NEEDED
    """Logits of the token after each of the decoder, ``(batch, tokens of the decoder, vocabulary)``."""
    past_key_values: Sequence[tuple[Tensor, Tensor, Tensor, Tensor]] | None = None
    decoder_hidden_states: tuple[Tensor, ...] | None = None
    decoder_attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: tuple[Tensor, ...] | None = None
    encoder_attentions: tuple[Tensor, ...] | None = None


@record
class PretrainingOutput(Output):
    """Output of a masked language model with a next-sentence head."""

    loss: Tensor | None = None
    """The sum of both losses, if both kinds of labels are given."""
    prediction_logits: Tensor = NEEDED
    """Logits of the word at each token, ``(batch, tokens, vocabulary)``."""
    seq_relationship_logits: Tensor = NEEDED
    """Logits of "the second sentence follows" and "it is a random one", ``(batch, 2)``."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@record
class MaskedLMOutput(Output):
    """Output of a masked language model."""

    loss: Tensor | None = None
    """Mean over the labeled tokens."""
    logits: Tensor = NEEDED
    """Logits of the word at each token, ``(batch, tokens, vocabulary)``."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@record
class ClassificationOutput(Output):
    """Output of a classifier of sequences, tokens, pairs of sentences or choices."""

    loss: Tensor | None = None
    """Mean over what is labeled."""
    logits: Tensor = NEEDED
    """Logits: ``(batch, classes)``, ``(batch, choices)``, or for tokens ``(batch, tokens, classes)``."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@record
class QuestionAnsweringOutput(Output):
    """Output of a classifier of the ends of an answer."""

    loss: Tensor | None = None
    """The mean of the losses of both ends, if both are given."""
    start_logits: Tensor = NEEDED
    """Logits of each token as the first of the answer, ``(batch, tokens)``; -10,000 at padding."""
    end_logits: Tensor = NEEDED
    """Logits of each token as the last of the answer, ``(batch, tokens)``; -10,000 at padding."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


# --- What is asked for ------------------------------------------------------------------------------------------------


FLAGS = ("output_hidden_states", "output_attentions", "use_cache")
"""Arguments of ``forward`` that a configuration may set; None asks it."""


def with_defaults_of_configuration(forward: Callable[..., Any]) -> Callable[..., Any]:
    """``forward`` of a model, which takes what its caller does not say from ``self.config``.

    Args:
        forward: The method.  It is given values for those of ``FLAGS`` that it declares.

    Returns:
        The method, which takes ``return_dict`` as well: false makes a plain tuple of the output.
    """
    parameters = signature(forward).parameters
    flags = [name for name in FLAGS if name in parameters]
    takes_any = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values())
    positional = sum(parameter.kind is Parameter.POSITIONAL_OR_KEYWORD for parameter in parameters.values()) - 1

    @wraps(forward)
    def call(self: Any, *args: Any, return_dict: bool | None = None, **kwargs: Any) -> Any:
        if len(args) > positional:
            raise _too_many(type(self), [*parameters], len(args))
        for name in kwargs:
            if name not in parameters and not takes_any:
                raise _unknown(type(self), name, [*parameters])
        config = self.config
        said = {name: getattr(config, name) for name in flags if kwargs.get(name) is None}
        output = forward(self, *args, **{**kwargs, **said})  # a new dictionary: torch.compile minds a change of its own
        if config.return_dict if return_dict is None else return_dict:
            return output
        return tuple(value for value in output if value is not None)

    call.__configured__ = True  # type: ignore[attr-defined]
    return call


def _too_many(model: Any, parameters: Sequence[str], given: int) -> InputError:
    """The error for arguments without names, whose order is another one in each library."""
    former = [name for name in getattr(model, "former_order", ()) if name in parameters]
    names = former or [name for name in parameters if name not in ("self", "input_ids")]
    shown = ", ".join(f"{name}=..." for name in names[: given - 1])
    source = " This is the order of older programs; transformers has another." if former else ""
    return InputError(
        f"{model.__name__} takes one argument without a name, input_ids, and was given {given}: write the names of the "
        f"others.",
        hint=f"model(input_ids, {shown}), if that is what they are.{source}",
    )


def _unknown(model: type, name: str, parameters: Collection[str]) -> UnknownOptionError:
    known = [parameter for parameter in parameters if parameter != "self"]
    hint = f"It takes {', '.join(known)}."
    return unknown_keyword(name, f"{model.__name__} does not take the argument {name!r}.", known, hint)


def is_configured(forward: Callable[..., Any]) -> bool:
    """Whether this is what ``with_defaults_of_configuration`` made."""
    return hasattr(forward, "__configured__")
