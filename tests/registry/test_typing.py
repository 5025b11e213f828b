"""What type checkers say of a user's script: nothing of a right one, and each misspelled word of a wrong one."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from registry.generation.generate import GenerationOptions, generate
from registry.tokenization.options import COMMON, CommonOptions

ROOT = Path(__file__).parents[2]

RIGHT = """
from typing import Any, assert_type

import torch

import registry
from registry.tokenization.base import Tokenizer
from registry.zoo import BertConfig, BertForMaskedLM, BertTokenizer, GPT2LMHeadModel, ClassOfAnotherPlugin

loaded = registry.load("all-minilm-l6-v2", dtype="bfloat16")
print(loaded.config.hidden_size, loaded.model.encoder.layer[0].attention, loaded.report.new)
assert_type(loaded.tokenizer, Tokenizer)
assert_type(loaded.embed(["a text"]), torch.Tensor)
batch = loaded.tokenizer(["a text"], padding=True, return_tensors="pt")
print(loaded.model(**batch).last_hidden_state, loaded.model.device, registry.load_config("gpt2").n_embd)


def score(told: registry.Pretrained[BertConfig, BertForMaskedLM, BertTokenizer], ids: torch.Tensor) -> torch.Tensor:
    assert_type(told.config.hidden_size, int)
    assert_type(told.tokenizer.do_lower_case, bool)
    return told.model(ids, attention_mask=torch.ones_like(ids)).logits


def of_any(told: registry.Pretrained) -> Any:
    return told.model


model = BertForMaskedLM.from_pretrained("bert-base-uncased", num_labels=3)
assert_type(model, BertForMaskedLM)
assert_type(model(torch.ones(1, 2, dtype=torch.long), output_hidden_states=True).logits, torch.Tensor)
tokenizer = BertTokenizer.from_pretrained("bert-base-uncased", do_lower_case=False)
assert_type(tokenizer, BertTokenizer)
assert_type(BertTokenizer("vocab.txt", do_lower_case=True, padding_side="left").vocab_size, int)
gpt2 = GPT2LMHeadModel.from_pretrained("gpt2", torch_dtype=None)
assert_type(gpt2.generate(batch["input_ids"], max_new_tokens=3, top_k=5), torch.Tensor)
assert_type(gpt2.generate(batch["input_ids"], max_new_tokens=3, return_dict=True).sequences, torch.Tensor)
registry.save(model, "saved", tokenizer=tokenizer, format="torch")
other = ClassOfAnotherPlugin(3).anything
"""

WRONG = """
import torch

import registry
from registry.zoo import BertConfig, BertForMaskedLM, BertTokenizer, GPT2LMHeadModel

config = BertConfig(hiden_size=96)  # wrong
print(config.hiden_size)  # wrong
model = BertForMaskedLM(config)
ids = torch.ones(1, 2, dtype=torch.long)
model(ids, atention_mask=ids)  # wrong
model(ids, ids)  # wrong
print(model(ids).logit)  # wrong
tokenizer = BertTokenizer("vocab.txt", do_lower_cas=True)  # wrong
BertTokenizer("vocab.txt", pading_side="left")  # wrong
tokenizer("a text", truncaton=True)  # wrong
GPT2LMHeadModel.from_pretrained("gpt2").generate(ids, max_new_token=3)  # wrong
registry.save(model, "saved", format="pickle")  # wrong
registry.load("gpt2", dtype=32)  # wrong
registry.lode("gpt2")  # wrong
"""


def found_wrong(text: str, name: str) -> list[int]:
    """The numbers of the lines of a script of which a checker's messages speak."""
    return sorted({int(line.split(f"{name}:", 1)[1].split(":")[0]) for line in text.splitlines() if f"{name}:" in line})


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("user")
    (folder / "right.py").write_text(RIGHT)
    (folder / "wrong.py").write_text(WRONG)
    return folder


CHECKERS: dict[str, list[str]] = {
    "mypy": ["--config-file", str(ROOT / "pyproject.toml"), "--no-error-summary"],  # with the cache of the repository
    "basedpyright": ["--pythonpath", sys.executable],  # pyright, which brings its node along
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "checker",
    ["mypy", pytest.param("basedpyright", marks=pytest.mark.integrations)],  # of the extra `integrations`
)
def test_a_right_script_passes_and_each_misspelled_word_is_found(checker: str, scripts: Path) -> None:
    pytest.importorskip(checker)
    settings = {"typeCheckingMode": "standard", "extraPaths": [str(ROOT / "src")]}  # the mode of pyright itself
    (scripts / "pyrightconfig.json").write_text(json.dumps(settings))
    files = [str(scripts / name) for name in ("right.py", "wrong.py")]
    command = [sys.executable, "-m", checker, *CHECKERS[checker], *files]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT if checker == "mypy" else scripts
    )
    assert found_wrong(run.stdout, "right.py") == [], run.stdout + run.stderr
    lines = WRONG.splitlines()
    wrong = [number for number, line in enumerate(lines, 1) if line.endswith("# wrong")]
    assert found_wrong(run.stdout, "wrong.py") == wrong, run.stdout + run.stderr


def test_the_stub_of_the_zoo_is_what_its_script_writes() -> None:
    spec = importlib.util.spec_from_file_location("zoo_stub", ROOT / "scripts/zoo_stub.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.STUB.read_text(encoding="utf-8") == module.text(), "run scripts/zoo_stub.py"


def test_what_type_checkers_are_told_of_keywords_is_what_there_is() -> None:
    assert CommonOptions.__annotations__.keys() == COMMON.keys() - {"max_len"}
    options = generate.__wrapped__.__kwdefaults__.keys()
    assert GenerationOptions.__annotations__.keys() == options - {"return_dict"}
