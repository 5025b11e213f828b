"""The tokenizer next to that of transformers, and what commands do with texts."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
import transformers
from click.testing import CliRunner

import registry
from registry.cli import main
from registry.errors import ConfigError, MissingTokenizerError, VocabError
from registry_t5.config import T5Config
from registry_t5.modeling import T5ForConditionalGeneration
from registry_t5.tokenization import T5Tokenizer
from training import SENTENCES, trained

TEXTS = (
    *SENTENCES,
    "The <extra_id_0> walks in <extra_id_1>the park",
    "  two  spaces \t and a tab\n",
    "ﬁne ½ na\u0308ive Ａ",
    "</s> and <pad> <unk>",
    "<extra_id_0><extra_id_9><extra_id_10>",
    "",
    " ",
    "\u2581x \u2581",
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ``spiece.model`` as it is published."""
    where = tmp_path_factory.mktemp("published")
    (where / "spiece.model").write_bytes(trained())
    (where / "tokenizer_config.json").write_text(json.dumps({"extra_ids": 10, "tokenizer_class": "T5Tokenizer"}))
    (where / "config.json").write_text(json.dumps({"model_type": "t5"}))
    return where


@pytest.fixture(scope="module")
def theirs(directory: Path) -> Any:
    return transformers.T5Tokenizer.from_pretrained(directory)


@pytest.fixture(scope="module", params=["spiece.model", "tokenizer.json", "saved"])
def ours(request: pytest.FixtureRequest, directory: Path, theirs: Any, tmp_path_factory: Any) -> T5Tokenizer:
    """The tokenizer, of each file that may hold it."""
    if request.param == "spiece.model":
        return T5Tokenizer.from_pretrained(directory)
    where = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(where)
    assert not (where / "spiece.model").exists()
    paths = {path.name: path for path in where.iterdir()}
    tokenizer = T5Tokenizer.from_files(paths)
    if request.param == "saved":
        where = tmp_path_factory.mktemp("ours")
        tokenizer.save_pretrained(where)
        assert {path.name for path in where.iterdir()} == {"spiece.model", "tokenizer_config.json"}
        return T5Tokenizer.from_files({path.name: path for path in where.iterdir()})
    return tokenizer


def test_ids_are_those_of_transformers(ours: T5Tokenizer, theirs: Any) -> None:
    assert ours.get_vocab() == theirs.get_vocab()
    for text in TEXTS:
        assert ours(text)["input_ids"] == theirs(text)["input_ids"], text
    assert dict(ours("a name", "a model")) == dict(theirs("a name", "a model"))
    for text in SENTENCES:
        assert ours.decode(ours.encode(text), skip_special_tokens=True) == text


def test_ids_of_odd_texts_are_those_of_sentencepiece(ours: T5Tokenizer) -> None:
    """``tokenizers`` differs where a mark follows a space, since it normalizes both together."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=trained())
    draw = random.Random(1)
    for _ in range(200):
        text = "".join(map(chr, draw.choices(range(1, 0x2FFF), k=12)))
        assert ours.encode(text) == [*processor.encode(text), 1], text


def test_sentinels_end_the_vocabulary_the_last_one_first(ours: T5Tokenizer) -> None:
    last = len(ours) - 1
    assert ours.convert_ids_to_tokens([last, last - 9]) == ["<extra_id_0>", "<extra_id_9>"]
    assert (ours.pad_token_id, ours.eos_token_id, ours.unk_token_id, ours.bos_token) == (0, 1, 2, None)
    assert ours.decode([last, 1], skip_special_tokens=True) == ""


def test_what_is_saved_loads_in_transformers(ours: T5Tokenizer, theirs: Any, tmp_path: Path) -> None:
    ours.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5"}))
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert [again(text)["input_ids"] for text in TEXTS] == [theirs(text)["input_ids"] for text in TEXTS]


def test_tokens_are_added_behind_the_sentinels(tmp_path: Path) -> None:
    tokenizer = T5Tokenizer(trained(), extra_ids=3)
    before = len(tokenizer)
    assert tokenizer.add_tokens("<new>") == 1
    assert tokenizer("a <new>")["input_ids"][-2:] == [before, 1]
    tokenizer.save_pretrained(tmp_path)
    again = T5Tokenizer.from_files({path.name: path for path in tmp_path.iterdir()})
    assert again.get_vocab() == tokenizer.get_vocab()
    assert len(T5Tokenizer(trained(), extra_ids=0)) == before - 3


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingTokenizerError, match=r"needs spiece\.model or tokenizer\.json"):
        T5Tokenizer.from_files({})
    with pytest.raises(ConfigError, match="extra_ids"):
        T5Tokenizer(trained(), extra_ids=True)
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE"}}))
    with pytest.raises(VocabError, match="must be a Unigram"):
        T5Tokenizer.from_files({"tokenizer.json": tmp_path / "tokenizer.json"})


# --- Commands ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with random weights."""
    torch.manual_seed(0)
    sizes: Any = {"d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 2, "num_heads": 4}
    tokenizer = T5Tokenizer(trained(), extra_ids=10)
    made = T5ForConditionalGeneration(T5Config(vocab_size=len(tokenizer), **sizes))
    return Path(registry.save(made, tmp_path_factory.mktemp("t5") / "model", tokenizer=tokenizer))


PROMPT = "translate English to German: The house is small."


def run(*arguments: object) -> str:
    done = CliRunner().invoke(main, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_generate_prints_the_answer_alone(model: Path) -> None:
    loaded = registry.load(model)
    batch = loaded.tokenizer(PROMPT, return_tensors="pt")
    ids = loaded.model.generate(**batch, max_new_tokens=8)
    answer = loaded.tokenizer.decode(ids[0], skip_special_tokens=True)
    assert loaded.generate(PROMPT, max_new_tokens=8) == answer
    assert run("generate", model, PROMPT, "-n", 8).rstrip("\n") == answer
    found = json.loads(run("generate", model, PROMPT, "-n", 8, "--num-beams", 3, "--json"))
    beams = loaded.model.generate(**batch, max_new_tokens=8, num_beams=3)[0, 1:]
    assert found["ids"] == beams.tolist()
    several = loaded.generate([PROMPT, "a name"], max_new_tokens=8)
    assert several == [answer, loaded.generate("a name", max_new_tokens=8)]


def test_texts_are_embedded_by_the_encoder(model: Path) -> None:
    loaded = registry.load(model)
    read = loaded.model.encode(**loaded.tokenizer(PROMPT, return_tensors="pt")).last_hidden_state
    vectors = loaded.embed([PROMPT, "a name"])
    torch.testing.assert_close(vectors[0], read[0].mean(0))
    (line, _) = run("embed", model, PROMPT, "a name").splitlines()
    torch.testing.assert_close(torch.tensor(json.loads(line)["vector"]), vectors[0], atol=1e-5, rtol=1e-4)


def test_attention_is_that_of_the_encoder(model: Path, tmp_path: Path) -> None:
    run("attention", model, "a name becomes", tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size > 1000
