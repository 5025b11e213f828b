"""``registry chat``: a conversation by the model's chat template."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import registry
from plugins.gpt2.config import GPT2Config
from plugins.gpt2.modeling import GPT2LMHeadModel
from plugins.gpt2.tokenization import GPT2Tokenizer
from registry.formatting import printable
from registry.tokenization.byte_level import bytes_to_unicode

TEMPLATE = (
    "{% for m in messages %}{{ m['role'][0] }}:{{ m['content'] }};{% endfor %}"
    "{% if add_generation_prompt %}a:{% endif %}"
)


@pytest.fixture
def chatty(tmp_path: Path) -> Path:
    """A GPT-2 with random weights over single bytes, and a chat template."""
    torch.manual_seed(0)
    vocab = {token: number for number, token in enumerate([*bytes_to_unicode().values(), "<|endoftext|>"])}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=257, n_positions=128, n_embd=24, n_layer=2, n_head=4)).eval()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return registry.save(model, tmp_path / "chatty", tokenizer=GPT2Tokenizer(vocab, [], chat_template=TEMPLATE))


def test_each_line_is_a_message_and_the_model_sees_those_before(chatty: Path, run: Any) -> None:
    result = run("chat", chatty, "-n", 6, "--system", "brief", "--json", input="hi\n\nyou\n")
    messages = json.loads(result.stdout)["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user", "assistant"]
    assert [message["content"] for message in messages if message["role"] == "user"] == ["hi", "you"]
    loaded = registry.load(chatty)
    text = f"s:brief;u:hi;a:{messages[2]['content']};u:you;a:"
    ids = loaded.tokenizer([text], return_tensors="pt")["input_ids"]
    new = loaded.model.generate(ids, max_new_tokens=6, eos_token_id=loaded.tokenizer.eos_token_id)[0, ids.shape[1] :]
    assert messages[4]["content"] == loaded.tokenizer.decode(new.tolist(), skip_special_tokens=True)


def test_one_message_is_answered_and_nothing_is_read(chatty: Path, run: Any) -> None:
    answer = json.loads(run("chat", chatty, "hi", "-n", 6, "--json").stdout)["messages"][1]["content"]
    assert run("chat", chatty, "hi", "-n", 6).stdout == printable(answer) + "\n"


def test_a_model_without_a_template_does_not_chat(writer: Path, run: Any) -> None:
    result = run("chat", writer, "hi")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "has no chat template" in result.stderr
