"""Generation as one function: greedy decoding, sampling or beam search, as the arguments say."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, overload

import torch
from torch import Tensor, nn

from registry.config.keywords import instead_of_attribute, refusing_foreign
from registry.errors import InputError, UnknownAttributeError, UnsupportedError, did_you_mean

if TYPE_CHECKING:  # what generates is imported when something is generated: this module is imported with every model
    from registry.generation.beams import EarlyStopping
    from registry.generation.logits import LogitsProcessor
    from registry.generation.output import GenerationOutput
    from registry.generation.prompts import EndIds, WhenFull
    from registry.generation.sampling import OnToken
    from registry.generation.stopping import StoppingCriterion
    from registry.tokenization.base import Tokenizer


class GenerationOptions(TypedDict, total=False):
    """The keywords of ``generate`` for type checkers, which find misspelled ones."""

    attention_mask: Tensor | None
    decoder_input_ids: Tensor | None
    max_new_tokens: int | None
    min_new_tokens: int | None
    min_length: int | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    typical_p: float | None
    repetition_penalty: float | None
    no_repeat_ngram_size: int | None
    bad_words_ids: Sequence[Sequence[int]] | None
    suppress_tokens: Sequence[int] | None
    forced_bos_token_id: int | None
    forced_eos_token_id: "EndIds"
    logits_processor: "Sequence[LogitsProcessor] | None"
    num_beams: int | None
    length_penalty: float | None
    early_stopping: "EarlyStopping | None"
    eos_token_id: "EndIds"
    pad_token_id: int | None
    stop_strings: str | Sequence[str] | None
    tokenizer: "Tokenizer | None"
    max_time: float | None
    stopping_criteria: "Sequence[StoppingCriterion] | None"
    num_return_sequences: int | None
    generator: torch.Generator | None
    when_full: "WhenFull | None"
    on_token: "OnToken | None"


class GenerationDefaults(dict[str, Any]):
    """Defaults of ``generate``, by the keys of ``generation_config.json``, which are attributes as well."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """The default of an option; None where there is none."""
            if name not in self:
                _refuse_unless_key(name)
            return self.get(name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set the default of an option.

        Raises:
            UnknownAttributeError: There is no such option.
        """
        _refuse_unless_key(name)
        self[name] = value


def _refuse_unless_key(name: str) -> None:
    from registry.generation.settings import KEYS

    if name not in KEYS:
        advice = instead_of_attribute(name) or did_you_mean(name, KEYS)
        raise UnknownAttributeError(f"generation_config has no attribute {name!r}.{advice}")


@overload
def generate(
    model: nn.Module, input_ids: Tensor, *, return_dict: Literal[False] = False, **options: Unpack[GenerationOptions]
) -> Tensor: ...
@overload
def generate(
    model: nn.Module, input_ids: Tensor, *, return_dict: Literal[True], **options: Unpack[GenerationOptions]
) -> "GenerationOutput": ...
@refusing_foreign
def generate(
    model: nn.Module,
    input_ids: Tensor,
    *,
    attention_mask: Tensor | None = None,
    decoder_input_ids: Tensor | None = None,
    max_new_tokens: int | None = None,
    min_new_tokens: int | None = None,
    min_length: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    typical_p: float | None = None,
    repetition_penalty: float | None = None,
    no_repeat_ngram_size: int | None = None,
    bad_words_ids: Sequence[Sequence[int]] | None = None,
    suppress_tokens: Sequence[int] | None = None,
    forced_bos_token_id: int | None = None,
    forced_eos_token_id: "EndIds" = None,
    logits_processor: "Sequence[LogitsProcessor] | None" = None,
    num_beams: int | None = None,
    length_penalty: float | None = None,
    early_stopping: "EarlyStopping | None" = None,
    eos_token_id: "EndIds" = None,
    pad_token_id: int | None = None,
    stop_strings: str | Sequence[str] | None = None,
    tokenizer: "Tokenizer | None" = None,
    max_time: float | None = None,
    stopping_criteria: "Sequence[StoppingCriterion] | None" = None,
    num_return_sequences: int | None = None,
    generator: torch.Generator | None = None,
    when_full: "WhenFull | None" = None,
    on_token: "OnToken | None" = None,
    return_dict: bool = False,
) -> "Tensor | GenerationOutput":
    """Continue prompts: by beam search with ``num_beams`` above 1, else by sampling with a ``temperature`` above 0.

    Otherwise decoding is greedy.  An encoder-decoder reads the prompts once, and generates their answers.  Dropout is
    off meanwhile, also during training.  An option that is not given is that of ``model.generation_config``, which
    comes from ``generation_config.json``, if it has one.

    Args:
        model: A causal model, or an encoder-decoder.
        input_ids: The prompts, ``(batch, tokens)``.
        attention_mask: 0 at the padding of the prompts, ``(batch, tokens)``.
        decoder_input_ids: What the answers of an encoder-decoder begin with, ``(batch, tokens)``; None for the token
            of its configuration.
        max_new_tokens: The most tokens to generate.
        min_new_tokens: The fewest tokens before an end token.
        min_length: The same, counted with the prompt, or with what an answer begins with.
        temperature: Divides the logits before sampling.
        top_k: Sample from the ``top_k`` most likely tokens.
        top_p: Sample from the most likely tokens that have this probability together.
        min_p: Sample from tokens at least this times as likely as the most likely.
        typical_p: Sample from the most typical tokens that have this probability together.
        repetition_penalty: Above 1, makes tokens less likely that the sequence has already.
        no_repeat_ngram_size: Sequences of so many tokens occur once.
        bad_words_ids: Sequences of ids that are not generated.
        suppress_tokens: Ids that are not generated.
        forced_bos_token_id: The id after a prompt, or a beginning of an answer, of one token: of the language of an
            answer, for example.
        forced_eos_token_id: The id, or one of the ids, with which the last of ``max_new_tokens`` ends a sequence.
        logits_processor: What else is done to the logits, ``(input_ids, scores) -> scores``; those of transformers fit.
        num_beams: Sequences that beam search keeps for each prompt.
        length_penalty: The exponent of the length by which beam search divides a score.
        early_stopping: When beam search ends: False, True or ``"never"``; see ``beam_search``.
        eos_token_id: The id, or the ids, that end a sequence; None for those of the configuration, if it has any.
        pad_token_id: The id after the end of a sequence; None for its first end token, or of an encoder-decoder for
            that of its configuration.
        stop_strings: Strings that end a sequence, wherever in its last token they end; they stay in it.
        tokenizer: The tokenizer, for ``stop_strings``; ids that it does not have are not generated.
        max_time: Seconds after which all sequences end.
        stopping_criteria: What else ends sequences, ``(input_ids, scores) -> (rows,)``; those of transformers fit.
        num_return_sequences: Sequences that are returned for each prompt.
        generator: Source of random numbers.
        when_full: What happens to a sequence that outgrows the context, ``"error"`` or ``"slide"``.
        on_token: Called with the ids of each step.
        return_dict: Return scores and log-probabilities as well.

    Returns:
        The ids of prompts and continuations, ``(batch * num_return_sequences, tokens)``, or of an encoder-decoder those
        of the answers, with what they begin with; with ``return_dict`` a ``GenerationOutput``.

    Raises:
        InputError: An argument is impossible, alone or with the others, or the model does not predict next tokens.
        ConfigError: ``model.generation_config`` asks for what is not supported.
        UnknownOptionError: There is no such argument; where another library has it, the message has the word to use.
    """
    arguments = locals()
    given = {key: value for key, value in arguments.items() if value is not None and key not in CALL}
    from registry.generation.output import Record
    from registry.generation.prompts import configured_end, prompts_of
    from registry.generation.settings import settings_of
    from registry.generation.state import Seq2SeqModel, started, starting

    decoder, input_ids, attention_mask = started(model, input_ids, attention_mask, decoder_input_ids)
    _refuse_prompt_learning(model)
    with starting(model):
        padding = prompts_of(input_ids, attention_mask).padding
        options = settings_of(getattr(model, "generation_config", {}), given, input_ids.shape[1])
        options.setdefault("eos_token_id", configured_end(model))
        if isinstance(model, Seq2SeqModel):
            options.setdefault("pad_token_id", getattr(getattr(model, "config", None), "pad_token_id", None))
        if "max_new_tokens" not in options:
            raise InputError("max_new_tokens is required: how many tokens to generate at most.")
        _name_processors(options, padding, input_ids, _first_unknown(tokenizer, model))
        _name_criteria(options, padding, tokenizer)
        record = Record() if return_dict else None
        with evaluating(model):
            select, options = _strategy(options)
            found = select(decoder, input_ids, attention_mask=attention_mask, record=record, **options)
    return found if record is None else record.output(found)


def _refuse_prompt_learning(model: nn.Module) -> None:
    """Raise UnsupportedError where PEFT puts virtual tokens before texts, by a method which is not used here."""
    wrapper = getattr(vars(model).get("prepare_inputs_for_generation"), "__self__", None)
    if wrapper is not None and wrapper is not model:
        raise UnsupportedError(
            f"{type(wrapper).__name__} of PEFT puts virtual tokens before each text, as in prompt tuning, and "
            "generate would continue the text without them.",
            hint="Adapters of another kind, such as LoRA, generate; virtual tokens work in forward and in training.",
        )


CALL = ("model", "input_ids", "attention_mask", "decoder_input_ids", "tokenizer", "return_dict")
"""Arguments that are not options."""


def _first_unknown(tokenizer: "Tokenizer | None", model: nn.Module) -> int | None:
    """The lowest id of a model that its tokenizer does not have: the rows of a vocabulary may be rounded up."""
    rows = getattr(getattr(model, "config", None), "total_tokens_embeddings", None)
    return None if tokenizer is None or rows is None or rows <= len(tokenizer) else len(tokenizer)


def _name_processors(options: dict[str, Any], padding: Tensor, input_ids: Tensor, unknown: int | None) -> None:
    """Replace the options for logits by processors, before the caller's own; ids from ``unknown`` on are forbidden."""
    from registry.generation.logits import forbid_end, forbid_from, forbid_repeated_ngrams, forbid_words
    from registry.generation.prompts import check_ids, check_positive_int, check_unused, end_ids

    named: list[LogitsProcessor] = [] if unknown is None else [partial(forbid_from, first=unknown)]
    if size := options.pop("no_repeat_ngram_size", 0):
        check_positive_int("no_repeat_ngram_size", size)
        named.append(partial(forbid_repeated_ngrams, size=size, padding=padding))
    if words := options.pop("bad_words_ids", ()):
        for word in words:
            check_ids("bad_words_ids", word)
        named.append(partial(forbid_words, words=words))
    ends = end_ids(options["eos_token_id"], input_ids.device)
    if least := options.pop("min_new_tokens", 0):
        check_unused("next to min_new_tokens", min_length=options.pop("min_length", None))
        check_positive_int("min_new_tokens", least)
        length = input_ids.shape[1] + least
        named.append(partial(forbid_end, ends=ends, length=length, padding=torch.zeros_like(padding)))
    if least := options.pop("min_length", 0):
        check_positive_int("min_length", least)
        named.append(partial(forbid_end, ends=ends, length=least, padding=padding))
    named += _forcing(options, padding, input_ids)
    if tokens := options.pop("suppress_tokens", ()):
        check_ids("suppress_tokens", tokens)
        named.append(partial(forbid_words, words=[[token] for token in tokens]))
    options["logits_processor"] = [*named, *options.get("logits_processor", ())]


def _forcing(options: dict[str, Any], padding: Tensor, input_ids: Tensor) -> "list[LogitsProcessor]":
    """The processors that leave no choice of the first token, and of the last.  Takes the options that say so."""
    from registry.generation.logits import force_at
    from registry.generation.prompts import check_positive_int, end_ids

    first, last = options.pop("forced_bos_token_id", None), options.pop("forced_eos_token_id", None)
    forced: list[LogitsProcessor] = []
    if first is not None:
        tokens = end_ids(first, input_ids.device, "forced_bos_token_id")
        forced.append(partial(force_at, tokens=tokens, length=1, padding=padding))
    if last is not None:
        check_positive_int("max_new_tokens", options["max_new_tokens"])
        tokens = end_ids(last, input_ids.device, "forced_eos_token_id")
        length = input_ids.shape[1] + options["max_new_tokens"] - 1
        forced.append(partial(force_at, tokens=tokens, length=length, padding=torch.zeros_like(padding)))
    return forced


def _name_criteria(options: dict[str, Any], padding: Tensor, tokenizer: "Tokenizer | None") -> None:
    """Replace the options that name stopping criteria by those, before the caller's own."""
    from registry.generation.prompts import check_positive
    from registry.generation.stopping import after_seconds, at_strings

    named: list[StoppingCriterion] = []
    if strings := options.pop("stop_strings", ()):
        strings = [strings] if isinstance(strings, str) else list(strings)
        if tokenizer is None or not all(isinstance(string, str) and string for string in strings):
            raise InputError("stop_strings needs strings that are not empty, and tokenizer=.")
        named.append(at_strings(strings, tokenizer, padding))
    if (seconds := options.pop("max_time", None)) is not None:
        check_positive("max_time", seconds)
        named.append(after_seconds(seconds))
    options["stopping_criteria"] = [*named, *options.get("stopping_criteria", ())]


def _strategy(options: dict[str, Any]) -> tuple[Callable[..., Tensor], dict[str, Any]]:
    """The function that generates with these options, and those that it takes.

    Raises:
        InputError: Some of them have no effect together.
    """
    from registry.generation.beams import beam_search
    from registry.generation.prompts import check_unused
    from registry.generation.sampling import greedy, sample

    of_sampling = ("top_k", "top_p", "min_p", "typical_p", "generator")
    of_beams = ("length_penalty", "early_stopping")
    given, options = options, {key: value for key, value in options.items() if key not in ("num_beams", "temperature")}
    temperature = given.get("temperature", 0.0)
    if given.get("num_beams", 1) != 1:
        told = {key: given.get(key) for key in (*of_sampling, "on_token")}
        check_unused("in beam search", temperature=temperature or None, **told)
        return beam_search, {**options, "num_beams": given["num_beams"]}
    check_unused("without beams", **{key: given.get(key) or None for key in of_beams if given.get(key) != 1.0})
    options = {key: value for key, value in options.items() if key not in of_beams}
    if temperature != 0.0:
        return sample, {**options, "temperature": temperature}
    several = options.pop("num_return_sequences", 1)
    told = {key: given.get(key) for key in of_sampling}
    check_unused("at temperature 0", num_return_sequences=None if several == 1 else several, **told)
    return greedy, options


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Have ``model`` in evaluation mode for a while; then each module is again in the mode in which it was."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
