"""Cards that a site declares in a TOML file: what they give, whom they outrank, and how mistakes are told."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import registry
from registry import Card, FileSpec, hookimpl
from registry.cli import main
from registry.errors import CardFileError, PluginConflictError, PluginError, RegistryWarning, UnknownModelError

Install = Callable[..., Path]
Site = Callable[[str], Path]

OURS = """
[models.our-encoder]
architecture = "bert"
task = "masked-lm"
aliases = ["ours/encoder"]
mirrors = ["https://one.example/our-encoder/", "file:///srv/models"]
tokenizer = {do_lower_case = true, max_len = 128}
num_parameters = 12
revision = "v2"
config = {hidden_size = 16}
languages = ["en", "de"]
license = "MIT"
description = "Ours."
source = "https://example.org"
files = [
    {role = "config", filename = "config.json"},
    {role = "vocab", filename = "vocab.txt", urls = ["https://two.example/v"], sha256 = "DIGEST", size = 5},
]
""".replace("DIGEST", "0" * 64)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Write the site's file, and name it by the variable."""

    def write(text: str | bytes) -> Path:
        path = tmp_path / "cards.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        monkeypatch.setenv("REGISTRY_CARDS", str(path))
        registry.refresh()
        return path

    return write


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments, prog_name="registry")
    assert result.exit_code == 0, result.output
    return result.stdout


# --- What it gives ----------------------------------------------------------------------------------------------------


def test_a_new_name_is_a_card_like_any_other(site: Site) -> None:
    site(OURS)
    assert registry.info("our-encoder") == Card(
        name="our-encoder",
        architecture="bert",
        task="masked-lm",
        aliases=("ours/encoder",),
        tokenizer={"do_lower_case": True, "max_len": 128},
        revision="v2",
        config={"hidden_size": 16},
        num_parameters=12,
        languages=("en", "de"),
        license="MIT",
        description="Ours.",
        source="https://example.org",
        files=(
            FileSpec(
                role="config",
                filename="config.json",
                urls=("https://one.example/our-encoder/config.json", "file:///srv/models/config.json"),
            ),
            FileSpec(
                role="vocab",
                filename="vocab.txt",
                urls=(
                    *("https://one.example/our-encoder/vocab.txt", "file:///srv/models/vocab.txt"),
                    "https://two.example/v",
                ),
                sha256="0" * 64,
                size=5,
            ),
        ),
    )
    assert registry.resolve("ours/encoder").card is registry.info("our-encoder")
    assert registry.list_models("our-*") == ["our-encoder"]


def test_a_model_of_a_site_loads(site: Site, tmp_path: Path, sizes: dict[str, int], vocab_file: Path) -> None:
    from registry.zoo import BertConfig, BertForMaskedLM, BertTokenizer

    folder = registry.save(
        BertForMaskedLM(BertConfig(**sizes)), tmp_path / "saved", tokenizer=BertTokenizer(vocab_file)
    )
    files = [("config", "config.json"), ("weights", "model.safetensors"), ("vocab", "vocab.txt")]
    rows = "\n".join(f'{{role = "{role}", filename = "{name}"}},' for role, name in files)
    site(
        f'[models.ours]\narchitecture = "bert"\ntask = "masked-lm"\nmirrors = ["{folder.as_uri()}"]\nfiles = [{rows}]\n'
    )
    loaded = registry.load("ours")
    assert type(loaded.model).__name__ == "BertForMaskedLM"
    assert loaded.tokenizer.tokenize("the cat") == ["the", "cat"]


def test_mirrors_and_digests_are_added_to_a_known_card(site: Site) -> None:
    before = registry.info("bert-base-german-cased")
    site(
        '[models.bert-base-german-cased]\nmirrors = ["https://m.example/b"]\naliases = ["site/bert"]\n'
        'archives = ["https://m.example/b.tar.gz"]\n'
        f'files = [{{filename = "vocab.txt", sha256 = "{"1" * 64}", size = 7, urls = ["https://n.example/v"]}}]'
    )
    after = registry.info("bert-base-german-cased")
    hubs = len({file.filename for file in before.files})
    assert after.files[hubs:] == before.files[hubs:], "other editions stay as they are"
    for old, new in zip(before.files[:hubs], after.files[:hubs], strict=True):
        added = [f"https://m.example/b/{old.filename}"] + ["https://n.example/v"] * (old.filename == "vocab.txt")
        assert new.urls == (*added, *old.urls)
        assert (new.role, new.filename) == (old.role, old.filename)
        assert (new.sha256, new.size) == (("1" * 64, 7) if new.filename == "vocab.txt" else (None, None))
    assert after.archives == ("https://m.example/b.tar.gz", *before.archives)
    assert after.aliases == (*before.aliases, "site/bert")
    assert (after.tokenizer, after.description, after.task) == (before.tokenizer, before.description, before.task)
    assert registry.resolve("google-bert/bert-base-german-cased").card is after


def test_list_info_and_plugins_show_it(site: Site) -> None:
    path = site(OURS + '[models.gpt2]\nmirrors = ["https://m.example"]\n')
    assert "our-encoder" in run("list")
    assert re.search(r"^plugin +cards\.toml$", run("info", "our-encoder"), re.MULTILINE)
    assert json.loads(run("info", "gpt2", "--json"))["files"][0]["urls"][0].startswith("https://m.example/")
    shown = run("info", "gpt2")
    assert re.search(r"^plugin +gpt2 \(torch-registry", shown, re.MULTILINE), (
        "what is added to a card does not replace it"
    )
    shown = run("plugins")
    assert "Card gpt2 of gpt2" not in shown
    assert shown.splitlines()[1].split()[:2] == ["cards.toml", "loaded"]
    assert shown.splitlines()[1].endswith("1 card, 1 addition")
    assert {plugin.name: plugin.declares for plugin in registry.plugins()}[path.name] == {
        "cards": ("our-encoder",),
        "additions": ("gpt2",),
    }


def test_a_process_without_the_variable_reads_no_toml() -> None:
    code = "import registry, sys\nregistry.list_models()\nassert 'tomllib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- Ranking ----------------------------------------------------------------------------------------------------------


def test_a_name_that_comes_with_the_registry_keeps_its_meaning(site: Site) -> None:
    for name, alias in (("gpt2", "x/y"), ("google-gpt2", "gpt2"), ("mine", "openai-community/gpt2")):
        site(OURS.replace("[models.our-encoder]", f"[models.{name}]").replace("ours/encoder", alias))
        for asked in (name, alias):
            with pytest.raises(CardFileError, match=r"is a name of 'gpt2', which comes with the registry\.\nChoose"):
                registry.info(asked)
        assert registry.info("bert-base-uncased").name == "bert-base-uncased"
    site('[models.bert-base-cased]\naliases = ["gpt2"]\n')
    for asked in ("gpt2", "bert-base-cased"):
        with pytest.raises(CardFileError, match="comes with the registry"):
            registry.info(asked)


def test_the_site_wins_over_third_parties_and_prefer_over_the_site(site: Site, install: Install) -> None:
    source = (
        "from registry import Card, hookimpl\n@hookimpl\ndef registry_cards():\n"
        " yield Card(name='our-encoder', architecture='theirs', task='base', files=())"
    )
    install("their-dist", source, plugin="theirs")
    site(OURS)
    assert registry.info("our-encoder").architecture == "bert"
    assert "Card our-encoder of theirs (their-dist 1.0) is shadowed by the one of cards.toml." in run("plugins")
    registry.prefer("theirs")
    assert registry.info("our-encoder").architecture == "theirs"


def test_what_is_added_to_a_third_partys_card_comes_on_top_of_it(site: Site, install: Install) -> None:
    source = (
        "from registry import Card, FileSpec, hookimpl\n@hookimpl\ndef registry_cards():\n"
        " yield Card(name='theirs', architecture='theirs', task='base', files=(\n"
        "  FileSpec(role='config', filename='c.json', urls=('https://theirs.example/c.json',)),))"
    )
    install("their-dist", source, plugin="theirs")
    site('[models.theirs]\nmirrors = ["https://m.example"]')
    assert registry.info("theirs").files[0].urls == ("https://m.example/c.json", "https://theirs.example/c.json")


def test_a_plugin_that_is_registered_later_is_added_to(site: Site) -> None:
    site('[models.toy]\nmirrors = ["https://m.example"]')
    with pytest.warns(RegistryWarning, match="adds to 'toy', which no installed plugin declares"):
        assert "toy" not in registry.list_models()
    file = FileSpec(role="config", filename="c.json", urls=("https://toy.example/c.json",))
    toy = Card(name="toy", architecture="toy", task="base", files=(file,))
    registry.register(SimpleNamespace(registry_cards=hookimpl(lambda: (toy,))), "toys")
    assert registry.info("toy").files[0].urls[0] == "https://m.example/c.json"


def test_an_addition_whose_plugin_is_not_there_is_left_out_with_a_warning(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site(OURS + '[models.gpt2]\nmirrors = ["https://m.example"]\n')
    monkeypatch.setenv("REGISTRY_DISABLE_PLUGINS", "gpt2")
    assert registry.info("our-encoder").name == "our-encoder"
    with pytest.warns(RegistryWarning, match="adds to 'gpt2', which no installed plugin declares; a new model needs"):
        assert "our-encoder" in registry.list_models()
    with pytest.warns(RegistryWarning, match="adds to 'gpt2'"), pytest.raises(UnknownModelError):
        registry.info("gpt2")


def test_another_value_of_the_variable_is_another_file(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site(OURS)
    assert "our-encoder" in registry.list_models()
    monkeypatch.setenv("REGISTRY_CARDS", "")
    assert "our-encoder" not in registry.list_models()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("REGISTRY_CARDS", "~/cards.toml")
    assert "our-encoder" in registry.list_models()
    with registry.only("bert"):
        assert "our-encoder" not in registry.list_models()


ALPHA, BETA = (
    Card(
        name="shared-name",
        architecture="bert",
        task="base",
        files=(FileSpec(role="config", filename="config.json", urls=(f"https://{name}.example/config.json",)),),
    )
    for name in ("alpha", "beta")
)


def declaring(*cards: Card) -> SimpleNamespace:
    return SimpleNamespace(registry_cards=hookimpl(lambda: cards))


def test_a_conflict_of_two_plugins_concerns_only_the_name_in_conflict(site: Site) -> None:
    site(
        '[models.shared-name]\nmirrors = ["https://mirror.example/shared"]\n'
        '[models.bert-base-uncased]\nmirrors = ["https://mirror.example/bert"]\n'
        '[models.site-model]\narchitecture = "bert"\ntask = "base"\nmirrors = ["https://mirror.example/site"]\n'
        'files = [{role = "config", filename = "config.json"}]\n'
    )

    def first_url(name: str) -> str:
        return registry.info(name).files[0].urls[0]

    def stand_the_others() -> None:
        assert first_url("site-model") == "https://mirror.example/site/config.json"
        assert first_url("bert-base-uncased") == "https://mirror.example/bert/config.json"

    registry.register(declaring(ALPHA), "alpha")
    stand_the_others()
    assert first_url("shared-name") == "https://mirror.example/shared/config.json"

    registry.register(declaring(BETA), "beta")
    stand_the_others()
    assert "shared-name" in registry.list_models()
    with pytest.raises(PluginConflictError, match="'shared-name' is declared by 2 plugins"):
        registry.info("shared-name")

    registry.prefer("beta")
    stand_the_others()
    assert registry.info("shared-name").files[0].urls == (
        "https://mirror.example/shared/config.json",
        "https://beta.example/config.json",
    )

    registry.prefer()
    stand_the_others()
    with pytest.raises(PluginConflictError):
        registry.info("shared-name")
    registry.discovery.unregister("beta")
    stand_the_others()
    assert registry.info("shared-name").files[0].urls[1] == "https://alpha.example/config.json"


def test_settings_change_what_is_added_to_at_once(site: Site) -> None:
    site('[models.gpt2]\nmirrors = ["https://m.example"]\n')
    mine = Card(name="gpt2", architecture="mine", task="base", files=ALPHA.files)
    registry.register(declaring(mine), "mine")
    for setting, architecture in ((lambda: registry.prefer("mine"), "mine"), (registry.prefer, "gpt2")):
        setting()
        assert registry.info("gpt2").architecture == architecture
        assert registry.info("gpt2").files[0].urls[0] == "https://m.example/config.json"
    with registry.only("mine"):
        assert registry.info("gpt2").architecture == "mine"
        assert registry.info("gpt2").files[0].urls[0] == "https://m.example/config.json"
    registry.refresh()
    assert registry.info("gpt2") is registry.info("openai-community/gpt2")
    assert registry.info("gpt2").architecture == "gpt2"


def test_a_preferred_plugin_that_contradicts_the_site_is_an_error_of_its_model_alone(site: Site) -> None:
    site('[models.gpt2]\nfiles = [{filename = "merges.txt", size = 5}]\n[models.bert-base-cased]\naliases = ["cased"]')
    registry.register(declaring(Card(name="gpt2", architecture="mine", task="base", files=ALPHA.files)), "mine")
    registry.prefer("mine")
    with pytest.raises(CardFileError, match=r"models.gpt2.files, merges.txt: the card of 'gpt2' has no file"):
        registry.info("gpt2")
    assert registry.info("cased").name == "bert-base-cased"


def test_a_file_that_changes_is_read_again(site: Site) -> None:
    path = site(OURS)
    assert "our-encoder" in registry.list_models()
    path.write_text(OURS.replace("our-encoder", "our-other-encoder"))
    assert registry.list_models("our-*") == ["our-other-encoder"]


def test_the_variable_may_name_several_files(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    first.write_text(OURS + '[models.gpt2]\nmirrors = ["https://first.example"]\n')
    second.write_text(
        '[models.gpt2]\nmirrors = ["https://second.example"]\n[models.our-encoder]\nmirrors = ["https://second.example"]\n'
        + OURS.replace("our-encoder", "their-encoder")
    )
    monkeypatch.setenv("REGISTRY_CARDS", f"{first}{os.pathsep}{second}")
    assert registry.info("gpt2").files[0].urls[:2] == (
        "https://first.example/config.json",
        "https://second.example/config.json",
    )
    assert registry.info("our-encoder").files[0].urls[0] == "https://second.example/config.json"
    assert registry.info("our-encoder") is registry.info("our-encoder")
    assert registry.discovery.owner(registry.info("our-encoder")).name == "first.toml"
    with pytest.raises(CardFileError, match=r"second.toml, models.their-encoder: 'ours/encoder' is a name of 'our-enc"):
        registry.info("their-encoder")
    states = {plugin.name: plugin.state for plugin in registry.plugins()[:2]}
    assert states == {"first.toml": "loaded", "second.toml": "failed"}
    second.write_text("[")
    for ask in (registry.list_models, lambda: registry.info("our-encoder"), lambda: registry.info("gpt2")):
        with pytest.raises(CardFileError, match=r"second\.toml: it is not TOML"):
            ask()
    states = {plugin.name: plugin.state for plugin in registry.plugins()[:2]}
    assert states == {"first.toml": "loaded", "second.toml": "failed"}


def test_a_wrong_entry_never_sends_its_model_to_the_hub(site: Site) -> None:
    site(OURS.replace("num_parameters = 12", "num_parameters = true"))
    for name in ("our-encoder", "ours/encoder"):
        with pytest.raises(CardFileError, match=r"models\.our-encoder\.num_parameters"):
            registry.resolve(name)
    site('[models."ours/encoder"]\narchitectur = "bert"\ntask = "base"\n')
    with pytest.raises(CardFileError, match="'architectur' is not a key here"):
        registry.resolve("ours/encoder")


# --- Mistakes ---------------------------------------------------------------------------------------------------------

NEW = '[models.new]\narchitecture = "bert"\ntask = "base"\n'
KNOWN = "[models.bert-base-uncased]\n"
MINILM = "[models.all-minilm-l6-v2]\n"
FILE = 'role = "config", filename = "c.json", urls = ["https://x.example/c.json"]'


def files(*tables: str) -> str:
    return f"files = [{', '.join(f'{{{table}}}' for table in tables)}]\n"


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("[models.new\n", "cards.toml", r"it is not TOML: .*\(at line 1, column 12\)"),
        ("[models.new]\n[models.new]\n", "cards.toml", r"Cannot declare .* twice \(at line 2"),
        (b"\xff", "cards.toml", "it is not TOML: 'utf-8' codec"),
        ("x = " + "[" * 100_000, "cards.toml", "it is not TOML"),
        ("#" * (2**20 + 1), "cards.toml", "it holds more than 1,048,576 bytes"),
        ("a." * 2000 + "b = 1", "cards.toml", "it has a line with more than 1,000 dots"),
        ("[model.new]\n", "cards.toml", r"'model' is not a key here. Did you mean 'models'\?"),
        ("models = 5\n", "models", "a table is needed, not 5"),
        ("[models]\nnew = 5\n", "models.new", "a model is described by a table, not by 5"),
        (NEW, "models.new", "it has neither files nor archives"),
        (NEW + "tasks = 'x'\n", "models.new", r"'tasks' is not a key here. Did you mean 'task'\?"),
        (NEW + "description = 5\n", "models.new.description", "a text is needed, not 5"),
        (NEW + "languages = 'en'\n", "models.new.languages", "an array of texts is needed, not 'en'"),
        (NEW + "languages = ['English']\n" + files(FILE), "models.new", "must be an ISO 639 code"),
        (NEW + "num_parameters = true\n", "models.new.num_parameters", "a whole number is needed, not True"),
        (NEW + "tokenizer = {a = 2020-01-01}\n", "models.new.tokenizer.a", "text, number or truth value is needed"),
        (NEW + files("role = 'config'"), "models.new.files, number 1", "it has no filename"),
        (NEW + files("filename = 'c', urls = ['https://x.example']"), "models.new.files, c", "it has no role"),
        (NEW + files("role = 'config', filename = 'c'"), "models.new.files, c", "it has no URL"),
        (NEW + files(FILE, FILE), "models.new.files, c.json", "it is described twice"),
        (NEW + files(FILE + ", sha256 = 'A'"), "models.new.files, c.json", "sha256 must be a sha256 digest"),
        (NEW + files(FILE + ", size = -1"), "models.new.files, c.json", "size must be a whole number"),
        (NEW + files(FILE + ", sha = 'a'"), "models.new.files, c.json", "'sha' is not a key here"),
        (NEW + "files = ['c.json']\n", "models.new.files", "an array of tables is needed"),
        (NEW + files(FILE.replace("https", "ftp")), "models.new.files, c.json", "not 'ftp:"),
        (NEW + files(FILE.replace("https", "http")), "models.new.files, c.json", "declare its sha"),
        (NEW + files(FILE.replace('"c.json"', '"../c"')), "models.new.files, ../c", "plain file"),
        (NEW.replace("new", "New") + files(FILE), "models.New", "must be lower-case ASCII"),
        (NEW + "aliases = ['x']\n" + files(FILE) + NEW.replace("new", "x") + files(FILE),
         "models.x", "'x' is a name of 'new' already"),
        (KNOWN + "task = 'base'\n", "models.bert-base-uncased", r"'task' is not a key(.|\n)*needs an `architecture`"),
        (KNOWN + files("filename = 'vocab'"), "models.bert-base-uncased.files, vocab", "mean 'vocab.txt'"),
        (KNOWN + files("filename = 'vocab.txt', role = 'config'"),
         "models.bert-base-uncased.files, vocab.txt", "its role is 'vocab' on the plugin's card"),
        (MINILM + files(f"filename = 'vocab.txt', sha256 = '{'0' * 64}'"),
         "models.all-minilm-l6-v2.files, vocab.txt", "its sha256 is '07eced375cec.* contradicts"),
        (MINILM + files("filename = 'vocab.txt', size = 5"),
         "models.all-minilm-l6-v2.files, vocab.txt", "its size is 231508 on"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_file_and_line_or_key(text: str, where: str, what: str, site: Site) -> None:
    path = site(text)
    of_file = not where.startswith("models.")
    start = str(path) if where == "cards.toml" else f"{path}, {where}"
    for ask in (lambda: registry.info("gpt2" if of_file else where.split(".")[1]), registry.list_models):
        with pytest.raises(CardFileError, match=what) as caught:
            ask()
        assert caught.value.message.startswith(f"{start}: ")
        assert isinstance(caught.value, PluginError)
        assert isinstance(caught.value, ValueError)
    if not of_file:
        assert registry.info("gpt2").name == "gpt2", "the mistake is that of another model"
    assert registry.plugins()[0].state == "failed"
    assert str(caught.value) in str(registry.plugins()[0].error)


def test_a_file_that_is_not_there_or_is_wrong_is_never_passed_over(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong in (tmp_path / "none.toml", tmp_path, site("[models.new")):
        monkeypatch.setenv("REGISTRY_CARDS", str(wrong))
        for ask in (registry.list_models, lambda: registry.resolve("gpt2"), lambda: registry.resolve("gpt2")):
            with pytest.raises(CardFileError):
                ask()
        assert registry.plugins()[0].state == "failed"
        result = CliRunner().invoke(main, ["list"], prog_name="registry")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"CardFileError: {wrong}: it ")
        shown = run("plugins")
        assert "failed" in shown
        assert f"{wrong}: it " in shown
