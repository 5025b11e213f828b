"""The site of all models: what its files say, and that they lead nowhere but to each other."""

import configparser
import json
import math
import os
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

import registry
from registry import Card, FileSpec, hookimpl
from registry.catalog import search
from registry.cli import main
from registry.errors import SaveError
from registry.pages.catalog import write_catalog
from registry.pages.rendering import TEMPLATES
from registry.pages.snippets import python_snippet, shell_snippet

HOSTILE = '<script>alert("1")</script> & <b>'


class Page(HTMLParser):
    """What a page refers to, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.assets: list[str] = []
        self.words: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        if tag == "a":
            self.links.append(str(values["href"]))
        for name in ("src", "srcset", "data", "action", *(["href"] if tag == "link" else [])):
            if name in values:
                self.assets.append(str(values[name]))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    write_catalog(directory, search())
    return directory


def page(site: Path, name: str) -> Page:
    return Page((site / "models" / f"{name}.html").read_text("utf-8"))


def test_the_table_has_a_row_for_every_model_and_each_its_page(site: Path) -> None:
    index = Page((site / "index.html").read_text("utf-8"))
    for card in search():
        assert f"models/{card.name}.html" in index.links
        assert card.name in index.text
        assert card.description in index.text
        assert Page((site / "models" / f"{card.name}.html").read_text("utf-8")).text.count(card.name) > 2
    assert len(os.listdir(site / "models")) == len(search())


def test_links_inside_the_site_lead_somewhere_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        found = Page(path.read_text("utf-8"))
        for asset in found.assets:
            assert asset.startswith("data:") or (path.parent / asset).is_file(), asset
        for link in found.links:
            assert link.startswith("https://") or (path.parent / link.partition("#")[0]).is_file(), link
    for name in ("style.css", "catalog.js"):
        text = (site / name).read_text("utf-8")
        assert not any(word in text for word in ("http:", "https:", "@import", "url(", "fetch(", "import("))


def test_the_page_of_a_model_gives_sources_digests_and_memory(site: Path) -> None:
    card = registry.info("all-minilm-l6-v2")
    found = page(site, card.name)
    for file in card.files:
        assert str(file.sha256) in found.text
        for url in file.urls:
            assert url in found.text
            assert (url in found.links) == url.startswith("https:")
    assert "float32 90.9 MB" in found.text, "4 bytes for each of 22,713,216 parameters"
    assert "bfloat16 or float16 45.4 MB" in found.text
    assert "training, float32 363 MB" in found.text
    assert "on this computer" in found.text
    assert "encoder.layer" in found.text
    assert str(registry.info("gpt2").files[1].sha256) in page(site, "gpt2").text
    assert "not known" in page(site, "openai-gpt").text, "nobody knows its digests"


def test_the_records_are_there_for_programs(site: Path) -> None:
    found = json.loads((site / "catalog.json").read_text("utf-8"))
    models = {model["name"]: model for model in found["models"]}
    assert list(models) == [card.name for card in search()]
    assert models["all-minilm-l6-v2"]["files"][1]["size"] == 90_868_376
    assert models["all-minilm-l6-v2"]["cached"] is True
    assert models["all-minilm-l6-v2"]["plugin"].startswith("bert (torch-registry ")


def test_what_a_card_says_is_text(tmp_path: Path) -> None:
    hostile = Card(
        name="hostile", architecture="toy", task="base", files=(), description=HOSTILE, tokenizer={"a": HOSTILE}
    )
    registry.register(SimpleNamespace(registry_cards=hookimpl(lambda: (hostile,))), "hostile")
    write_catalog(tmp_path / "site", [hostile])
    for path in (tmp_path / "site").rglob("*.html"):
        found = Page(path.read_text("utf-8"))
        assert HOSTILE in found.text
        assert found.tags.count("script") == 1
        assert "<b>" not in path.read_text("utf-8")
    assert "The number of parameters is not known." in page(tmp_path / "site", "hostile").text


def test_a_site_is_replaced_and_pages_of_models_that_are_gone_are_removed(tmp_path: Path) -> None:
    cards = [card for card in search() if card.architecture == "gpt2"]
    write_catalog(tmp_path, cards)
    write_catalog(tmp_path, cards[:2])
    assert sorted(os.listdir(tmp_path / "models")) == sorted(f"{card.name}.html" for card in cards[:2])
    assert cards[3].name not in (tmp_path / "index.html").read_text("utf-8")


def test_a_site_that_was_broken_off_is_finished_by_the_next_run(tmp_path: Path) -> None:
    pages = iter(range(3))

    def interrupt(_number: int) -> None:
        if next(pages) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_catalog(tmp_path, search(), advance=interrupt)
    assert not list(tmp_path.rglob("*.tmp"))
    write_catalog(tmp_path, search())
    assert len(os.listdir(tmp_path / "models")) == len(search())
    assert (tmp_path / "index.html").is_file()


@pytest.mark.parametrize("catalog", [None, "[]", "{", '{"models": 3}'])
def test_a_directory_of_other_things_is_refused_and_left_as_it_was(catalog: str | None, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")
    if catalog is not None:
        (tmp_path / "catalog.json").write_text(catalog)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(SaveError, match="is not an earlier catalog"):
        write_catalog(tmp_path, search())
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="registry")


def test_the_command_writes_the_site_and_says_where(tmp_path: Path) -> None:
    with registry.only("gpt2"):
        result = run("catalog", tmp_path / "site")
        assert (result.exit_code, result.stdout) == (0, "")
        assert result.stderr == f"Wrote 5 models; open {tmp_path / 'site' / 'index.html'}.\n"
        found = json.loads(run("catalog", tmp_path / "site", "--json").stdout)
        assert found == {"index": str(tmp_path / "site" / "index.html"), "models": 5}
    (tmp_path / "file").touch()
    assert run("catalog", tmp_path / "file").exit_code == 2


# --- Snippets ---------------------------------------------------------------------------------------------------------


def saved(task: str, directory: Path, vocab_file: Path, sizes: dict[str, int]) -> Card:
    """The card of a small model with random weights, in a directory."""
    from registry.tokenization.byte_level import bytes_to_unicode

    torch.manual_seed(0)
    zoo = registry.zoo
    if task in ("causal-lm", "double-heads"):
        architecture, files = "gpt2", {"vocab": "vocab.json", "merges": "merges.txt"}
        tokenizer = zoo.GPT2Tokenizer({token: number for number, token in enumerate(bytes_to_unicode().values())}, [])
        config = zoo.GPT2Config(vocab_size=256, n_positions=64, n_embd=24, n_layer=1, n_head=2)
        model = {"causal-lm": zoo.GPT2LMHeadModel, "double-heads": zoo.GPT2DoubleHeadsModel}[task](config)
    else:
        architecture, files = "bert", {"vocab": "vocab.txt"}
        names = {"base": "BertModel", "pretraining": "BertForPreTraining", "masked-lm": "BertForMaskedLM"}
        name = names.get(task, f"BertFor{''.join(word.title() for word in task.split('-'))}")
        tokenizer, model = zoo.BertTokenizer(vocab_file), getattr(zoo, name)(zoo.BertConfig(**sizes))
    registry.save(model, directory, tokenizer=tokenizer)
    files = {"config": "config.json", "weights": "model.safetensors", **files}
    specs = [FileSpec(role=role, filename=f, urls=((directory / f).absolute().as_uri(),)) for role, f in files.items()]
    return Card(name=f"small-{task}", architecture=architecture, task=task, files=tuple(specs))


@pytest.mark.parametrize(
    "task",
    ["base", "pretraining", "masked-lm", "question-answering", "sequence-classification", "token-classification"]
    + ["next-sentence-prediction", "causal-lm", "double-heads"],
)
def test_the_lines_to_copy_run(task: str, tmp_path: Path, vocab_file: Path, sizes: dict[str, int]) -> None:
    card = saved(task, tmp_path / "model", vocab_file, sizes)
    registry.register(SimpleNamespace(registry_cards=hookimpl(lambda: (card,))), "small")
    names: dict[str, Any] = {}
    exec(python_snippet(card), names)
    result = names.get(
        "hidden", names.get("logits", names.get("ids", getattr(names.get("answer"), "start_logits", None)))
    )
    assert isinstance(result, torch.Tensor)
    assert math.isfinite(result.detach().float().sum())
    command = shell_snippet(card)
    if command is not None:
        import shlex

        result = run(*shlex.split(command)[1:])
        assert (result.exit_code, bool(result.stdout)) == (0, True), result.stderr


def test_templates_style_sheets_and_scripts_are_installed_with_the_package() -> None:
    settings = configparser.ConfigParser()
    settings.read(Path(__file__).parents[3] / "setup.cfg", encoding="utf-8")
    patterns = settings["options.package_data"]["*"].split(", ")
    for path in TEMPLATES.rglob("*.*"):
        assert any(path.match(pattern) for pattern in patterns), path
