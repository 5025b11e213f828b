"""Conversations by chat templates, against transformers; and what a template may not do."""

import json
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, GPT2TokenizerFast

from plugins.gpt2.tokenization import GPT2Tokenizer
from registry.errors import ConfigError, InputError, MissingDependencyError

SMALL = Path(__file__).parents[3] / "fixtures" / "vocabularies" / "gpt2"
TEMPLATE = """{%- for message in messages %}
{%- if message.role not in ('system', 'user', 'assistant') %}
    {{- raise_exception('who is ' + message.role + '?') }}
{%- endif %}
{{- '<' + message['role'] + '>' }}
{%- if message.role == 'assistant' %}
    {%- generation %} {{ message.content | trim }}{% endgeneration %}
{%- else %} {{ message.content | trim }}
{%- endif %}{{ eos_token }}
{%- endfor %}
{%- if tools %}{{ tools | tojson }}
    {%- for tool in tools %}{% if loop.index > 1 %}{% break %}{% endif %}{{ tool.name }}{% endfor %}
{%- endif %}
{%- set ns = namespace(n=0) %}{% set ns.n = ns.n + 1 %}{{ ns.n }}{{ mood | default('') }}
{%- if add_generation_prompt %}<assistant>{% endif %}"""
CHAT = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": " Who wrote «it»? ", "name": None},
    {"role": "assistant", "content": "Ada did"},
]
OTHER = [{"role": "user", "content": "Hello"}]
FILES = {"vocab": str(SMALL / "vocab.json"), "merges": str(SMALL / "merges.txt")}
END = "<|endoftext|>"


@pytest.fixture
def pair() -> tuple[GPT2Tokenizer, Any]:
    theirs = GPT2TokenizerFast(**FILES, chat_template=TEMPLATE, pad_token=END)
    return GPT2Tokenizer(FILES["vocab"], chat_template=TEMPLATE, pad_token=END), theirs


@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {"add_generation_prompt": True},
        {"continue_final_message": True},
        {"continue_final_message": "content"},
        {"tools": [{"name": "née", "a": 1}, {"name": "b"}]},
        {"mood": "gay", "eos_token": "!"},
        {"chat_template": "{{ messages | length }}{{ messages[0].content }}"},
    ],
    ids=str,
)
def test_a_conversation_is_written_as_by_the_reference(
    pair: tuple[GPT2Tokenizer, Any], keywords: dict[str, Any]
) -> None:
    ours, theirs = pair
    text = ours.apply_chat_template(CHAT, tokenize=False, **keywords)
    assert text == theirs.apply_chat_template(CHAT, tokenize=False, **keywords)
    assert dict(ours.apply_chat_template(CHAT, **keywords)) == dict(theirs.apply_chat_template(CHAT, **keywords))
    ids = ours.apply_chat_template(CHAT, return_dict=False, **keywords)
    assert ids == theirs.apply_chat_template(CHAT, return_dict=False, **keywords) == ours.encode(text)


def test_several_conversations_are_a_batch(pair: tuple[GPT2Tokenizer, Any]) -> None:
    ours, theirs = pair
    keywords: dict[str, Any] = {"padding": True, "return_tensors": "pt", "return_assistant_tokens_mask": True}
    found, expected = (one.apply_chat_template([CHAT, OTHER], **keywords) for one in pair)
    assert found.keys() == expected.keys()
    for key in found:
        assert found[key].tolist() == expected[key].tolist(), key
    alone, expected = (one.apply_chat_template(CHAT, return_assistant_tokens_mask=True) for one in pair)
    assert dict(alone) == dict(expected)
    assert sum(alone["assistant_masks"]) > 1
    assert ours.apply_chat_template([CHAT, OTHER], tokenize=False) == theirs.apply_chat_template(
        [CHAT, OTHER], tokenize=False
    )


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("in_config", [False, True])
def test_templates_are_read_and_written_back(tmp_path: Path, several: bool, in_config: bool) -> None:
    template: Any = {"default": TEMPLATE, "tool_use": "tools: {{ tools[0].name }}"} if several else TEMPLATE
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    GPT2TokenizerFast(**FILES, chat_template=template).save_pretrained(tmp_path)
    if in_config:
        (tmp_path / "chat_template.jinja").unlink()
        shutil.rmtree(tmp_path / "additional_chat_templates", ignore_errors=True)
        entries = [{"name": name, "template": text} for name, text in template.items()] if several else template
        keys = json.loads((tmp_path / "tokenizer_config.json").read_text())
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({**keys, "chat_template": entries}))
    ours = GPT2Tokenizer.from_pretrained(tmp_path)
    assert ours.chat_template == template
    again = tmp_path / "again"
    ours.save_pretrained(again)
    (again / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    tools = [{"name": "search"}]
    others = GPT2Tokenizer.from_pretrained(again), AutoTokenizer.from_pretrained(again)
    for other in (pickle.loads(pickle.dumps(ours)), *others):
        assert other.chat_template == template
        for given in (None, tools):
            text = other.apply_chat_template(CHAT, given, tokenize=False)
            assert text == ours.apply_chat_template(CHAT, given, tokenize=False)
    if several:
        assert ours.apply_chat_template(CHAT, tools, tokenize=False) == "tools: search"
        assert ours.apply_chat_template(CHAT, tools, tokenize=False, chat_template="default") != "tools: search"


def test_a_tokenizer_without_a_template_says_so() -> None:
    tokenizer = GPT2Tokenizer(FILES["vocab"])
    with pytest.raises(InputError, match="has no chat template"):
        tokenizer.apply_chat_template(CHAT)
    tokenizer.chat_template = {"a": "x"}
    with pytest.raises(InputError, match="chat_template may be 'a'"):
        tokenizer.apply_chat_template(CHAT)
    with pytest.raises(ConfigError, match="chat_template must be a template"):
        tokenizer.chat_template = 5


@pytest.mark.parametrize(
    ("template", "chat", "fault"),
    [
        (TEMPLATE, [{"role": "judge", "content": "x"}], "who is judge"),
        ("{% if %}", OTHER, "cannot be rendered"),
        ("{{ messages.__class__.__mro__ }}", OTHER, "unsafe|undefined|cannot be rendered"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", OTHER, "cannot be rendered"),
        ("{% set n = namespace() %}{% set n.__class__ = 1 %}", OTHER, "cannot be rendered"),
        ("{{ messages.append(1) }}", OTHER, "cannot be rendered"),
        ("{{ 1 / 0 }}", OTHER, "cannot be rendered: ZeroDivisionError"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", OTHER, "cannot be rendered: RecursionError"),
        ("{{ messages | tojson(indent=[]) }}{{ 'a' + 1 }}", OTHER, "cannot be rendered: TypeError"),
        (TEMPLATE, [], "at least one message"),
        (TEMPLATE, ["x"], "Message 0 must be a mapping"),
    ],
)
def test_what_cannot_be_written_is_an_error(
    pair: tuple[GPT2Tokenizer, Any], template: str, chat: list[Any], fault: str
) -> None:
    with pytest.raises(InputError, match=fault):
        pair[0].apply_chat_template(chat if chat != ["x"] else [chat], chat_template=template)


def test_a_last_message_that_is_not_written_cannot_be_continued(pair: tuple[GPT2Tokenizer, Any]) -> None:
    with pytest.raises(InputError, match="the template changes its text"):
        pair[0].apply_chat_template(CHAT, chat_template="{{ messages[0].content }}", continue_final_message=True)
    with pytest.raises(InputError, match="excludes add_generation_prompt"):
        pair[0].apply_chat_template(CHAT, continue_final_message=True, add_generation_prompt=True)


def test_a_template_sees_data_and_no_objects(pair: tuple[GPT2Tokenizer, Any]) -> None:
    class Word(str):
        def run(self) -> str:
            return "ran"

    chat = [{"role": "user", "content": Word("hello"), "image": object()}]
    template = "{{ messages[0].content }}{{ messages[0].image }}{{ messages[0].content.run is defined }}"
    assert pair[0].apply_chat_template(chat, chat_template=template, tokenize=False) == "hello<object>False"


def test_jinja_is_asked_for_when_it_is_missing(
    pair: tuple[GPT2Tokenizer, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import jinja2

    monkeypatch.setattr(jinja2, "__version__", "3.1.5")
    with pytest.raises(MissingDependencyError, match=r"needs jinja2 3\.1\.6: the sandbox of 3\.1\.5"):
        pair[0].apply_chat_template(CHAT, chat_template="of its own")
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingDependencyError, match="A chat template needs the package jinja2"):
        pair[0].apply_chat_template(CHAT)
