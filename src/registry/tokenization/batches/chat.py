"""Conversations to batches, by the chat template of a model."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from registry.errors import InputError
from registry.tokenization.batches.encoder import BatchEncoder
from registry.tokenization.options import SPECIAL_TOKENS
from registry.tokenization.published.templates import DEFAULT

if TYPE_CHECKING:
    from registry.tokenization.batches.batch import Batch
    from registry.tokenization.published.rendering import Spans

TOOLS = "tool_use"
"""The name of the template that is taken where there are tools."""
END = "CONTINUE_FINAL_MESSAGE_TAG "
"""Marks the end of the message that is to be continued."""


class ChatEncoder(BatchEncoder):
    """Conversations as inputs of a model."""

    chat_template: str | Mapping[str, str] | None = None
    """How ``apply_chat_template`` writes conversations, a template of Jinja; or several by their names."""

    def apply_chat_template(
        self,
        conversation: Sequence[Any],
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool | str = False,
        tokenize: bool = True,
        return_dict: bool = True,
        return_assistant_tokens_mask: bool = False,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
        *,
        padding: bool | str = False,
        truncation: bool = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        **variables: Any,
    ) -> Any:
        """Write a conversation as the model was trained to read it.

        Args:
            conversation: Messages, ``{"role": "user", "content": "..."}``; or a list of such lists.
            tools: JSON schemas of functions that the model may call, where the template has a place for them.
            documents: Documents that the model may cite, likewise.
            chat_template: A template, or the name of one of the tokenizer's; None for its own.
            add_generation_prompt: Whether the text ends where an answer begins, if the template can do so.
            continue_final_message: Whether the last message is left open, to be continued; or its key that is.
            tokenize: Whether ids are returned rather than the text.
            return_dict: Whether a batch is returned rather than its ids alone.
            return_assistant_tokens_mask: Whether ``assistant_masks`` is added, 1 at tokens of the assistant, as far as
                the template declares them.
            tokenizer_kwargs: Further keywords of a call of the tokenizer.
            padding: As in a call of the tokenizer.
            truncation: As in a call of the tokenizer.
            max_length: As in a call of the tokenizer.
            return_tensors: As in a call of the tokenizer.
            variables: Variables of the template.

        Returns:
            A batch, ids, or a text; of several conversations, a batch or a list of texts.

        Raises:
            InputError: There is no template, or it refuses the conversation.
            MissingDependencyError: Jinja is not installed.
        """
        if continue_final_message and (add_generation_prompt or return_assistant_tokens_mask):
            raise InputError("continue_final_message excludes add_generation_prompt and return_assistant_tokens_mask.")
        from registry.tokenization.published.rendering import render

        template = self.get_chat_template(chat_template, tools)
        if not conversation:
            raise InputError("A conversation needs at least one message.")
        several = not isinstance(conversation[0], Mapping)
        options = {"tools": tools, "documents": documents, "add_generation_prompt": add_generation_prompt}
        values = {**self.special_tokens_map, **options, **variables}
        key = continue_final_message if isinstance(continue_final_message, str) else "content"
        chats = [list(chat) for chat in (conversation if several else [conversation])]
        write = partial(_left_open, key=key) if continue_final_message else render
        rendered = [write(template, messages(chat), values) for chat in chats]
        texts = [text for text, _ in rendered]
        if not tokenize:
            return texts if several else texts[0]
        call = {"padding": padding, "truncation": truncation, "max_length": max_length, **(tokenizer_kwargs or {})}
        batch = self(texts if several else texts[0], add_special_tokens=False, return_tensors=return_tensors, **call)
        if return_assistant_tokens_mask:
            self._add_assistant_masks(batch, [spans for _, spans in rendered], return_tensors, several)
        return batch if return_dict else batch["input_ids"]

    def get_chat_template(self, chat_template: str | None = None, tools: Sequence[Any] | None = None) -> str:
        """The template that ``apply_chat_template`` takes for these arguments.  Raises InputError if there is none."""
        own = self.chat_template
        if isinstance(own, Mapping):
            name = chat_template or (TOOLS if tools is not None and TOOLS in own else DEFAULT)
            if name not in own and chat_template is None:
                raise InputError(f"Name one of the chat templates: chat_template may be {', '.join(map(repr, own))}.")
            return own.get(name, name)
        found = chat_template or own
        if found is None:
            raise InputError(
                f"This {type(self).__name__} has no chat template: its model was not trained on conversations.",
                hint="Pass chat_template=..., a Jinja template, or save it next to the model as chat_template.jinja.",
            )
        return found

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """The special tokens that have a role, by its name."""
        named = {name: getattr(self, name) for name in SPECIAL_TOKENS}
        return {name: token for name, token in named.items() if token is not None}

    def _add_assistant_masks(self, batch: "Batch", spans: "list[Spans]", return_tensors: Any, several: bool) -> None:
        masks = [_mask(batch, row, spans[text]) for row, text in enumerate(batch.text_index)]
        from registry.tokenization.batches.formats import FORMATS

        form = FORMATS[return_tensors]
        column = form.stacked("assistant_masks", [form.row_of(mask) for mask in masks])
        batch["assistant_masks"] = column if several or return_tensors else column[0]


def messages(chat: Sequence[Any]) -> list[Any]:
    """The messages without keys whose value is None, for which few templates are prepared.  Raises InputError."""
    for number, message in enumerate(chat):
        if not isinstance(message, Mapping):
            raise InputError(f"Message {number} must be a mapping with role and content, not {message!r:.80}.")
    return [{key: value for key, value in message.items() if value is not None} for message in chat]


def _left_open(template: str, chat: list[Any], values: Mapping[str, Any], key: str) -> "tuple[str, Spans]":
    """The text of a conversation up to the end of the last message."""
    from registry.tokenization.published.rendering import render

    *before, last = chat
    content = last.get(key)
    if not isinstance(content, str) or key not in template:
        raise InputError(f"The last message cannot be continued: it has no {key!r}, or the template does not use it.")
    text, _ = render(template, [*before, {**last, key: content + END}], values)
    place = text.rfind(END.strip())
    if place < 0 or content.strip() not in text:
        raise InputError("The last message cannot be continued: the template changes its text.")
    return (text[:place] if text[place:].startswith(END) else text[:place].rstrip()), []


def _mask(batch: "Batch", row: int, spans: "Spans") -> list[int]:
    """1 for each token of a row that has characters in one of the spans."""
    found: list[int] = []
    for token in range(len(batch.word_ids(row))):
        chars = batch.token_to_chars(row, token)
        found.append(int(chars is not None and any(chars.start < end and start < chars.end for start, end in spans)))
    return found
