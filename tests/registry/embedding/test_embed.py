"""``embed``: compared with sentence-transformers, on directories that it wrote, and with formulas."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import registry
from registry.embedding.modules import MODES, SentenceModules, read_modules
from registry.embedding.pooling import POOLINGS
from registry.errors import (
    ConfigError,
    InputError,
    IntegrityError,
    MissingFileError,
    RegistryWarning,
    UnsupportedError,
)
from registry.loading.convert import convert

NAME = "all-minilm-l6-v2"
TEXTS = ["Hello world.", "A much longer text. " * 100, "x", "", "The cat sat on the mat.", "Primes " * 9]


def test_each_mode_has_its_function() -> None:
    assert set(POOLINGS) == MODES


@pytest.mark.parametrize("mode", sorted(MODES))
def test_pooling_is_its_formula_over_the_tokens_that_count(mode: str) -> None:
    hidden = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 1, 1, 1], [0, 1, 1, 0, 0], [1, 0, 0, 0, 0]]).bool()
    for row, kept, found in zip(hidden, mask, POOLINGS[mode](hidden, mask), strict=True):
        tokens = row[kept]
        weights = torch.arange(1, 6)[kept, None]
        expected = {
            "cls": tokens[0],
            "lasttoken": tokens[-1],
            "max": tokens.max(0).values,
            "mean": tokens.mean(0),
            "mean_sqrt_len_tokens": tokens.sum(0) / len(tokens) ** 0.5,
            "weightedmean": (tokens * weights).sum(0) / weights.sum(),
        }
        torch.testing.assert_close(found, expected[mode])


# --- Against sentence-transformers ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MiniLM as a directory without modules."""
    loaded = registry.load(NAME)
    return registry.save(loaded.model, tmp_path_factory.mktemp("base") / "minilm", tokenizer=loaded.tokenizer)


@pytest.mark.parametrize(
    ("pooling", "further"),
    [
        ({"pooling_mode": "mean"}, ("normalize",)),
        ({"pooling_mode": "cls"}, ("dense", "normalize")),
        ({"pooling_mode": ("max", "mean_sqrt_len_tokens")}, ()),
        ({"pooling_mode": "weightedmean", "include_prompt": False}, ()),
        ({"pooling_mode": ("lasttoken", "mean"), "include_prompt": False}, ("dense", "dense")),
    ],
    ids=str,
)
def test_vectors_are_those_of_sentence_transformers(
    base: Path, tmp_path: Path, pooling: dict[str, Any], further: tuple[str, ...]
) -> None:
    library = pytest.importorskip("sentence_transformers", reason="the extra `integrations` is not installed")
    modules = library.sentence_transformer.modules
    torch.manual_seed(0)
    transformer = modules.Transformer(str(base), max_seq_length=40)
    chain = [transformer, modules.Pooling(384, **pooling)]
    for kind in further:
        width = chain[-1].get_embedding_dimension()
        chain.append(modules.Normalize() if kind == "normalize" else modules.Dense(width, 8))
    theirs = library.SentenceTransformer(modules=chain, prompts={"query": "ask: "}, device="cpu")
    theirs.save(str(tmp_path / "saved"))
    loaded = registry.load(tmp_path / "saved")
    registry.save(registry.load(NAME), tmp_path / "again")  # whose modules are replaced
    again = registry.load(registry.save(loaded, tmp_path / "again"))
    assert again.sentence_modules == loaded.sentence_modules
    assert set(registry.verify(tmp_path / "again").values()) == {"ok"}
    reopened = library.SentenceTransformer(str(tmp_path / "again"), device="cpu")
    for prompt in (None, "query", "tell me: "):
        how = {"prompt_name": prompt} if prompt == "query" else {"prompt": prompt}
        expected = torch.from_numpy(theirs.encode(TEXTS, **how))
        close = {"rtol": 0, "atol": 2e-6 * expected.norm(dim=1).max().item()}
        torch.testing.assert_close(loaded.embed(TEXTS, prompt=prompt, batch_size=2), expected, **close)
        torch.testing.assert_close(again.embed(TEXTS, prompt=prompt), expected, **close)
        torch.testing.assert_close(torch.from_numpy(reopened.encode(TEXTS, **how)), expected, **close)


def test_without_modules_sentence_transformers_gives_the_same_vectors(base: Path) -> None:
    library = pytest.importorskip("sentence_transformers", reason="the extra `integrations` is not installed")
    expected = torch.from_numpy(library.SentenceTransformer(str(base), device="cpu").encode(TEXTS))
    torch.testing.assert_close(registry.load(base).embed(TEXTS), expected, rtol=0, atol=5e-6)  # their length is 6


def test_the_card_says_what_the_published_model_does() -> None:
    loaded = registry.load(NAME)
    assert loaded.sentence_modules == SentenceModules(normalizes=True, max_tokens=256)
    vectors = loaded.embed(TEXTS)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(TEXTS)))
    cut = loaded.tokenizer.decode(loaded.tokenizer.encode(TEXTS[1])[1:255])
    torch.testing.assert_close(loaded.embed([cut]), vectors[1:2], rtol=0, atol=1e-6)


# --- Files ------------------------------------------------------------------------------------------------------------


def written(directory: Path, modules: list[tuple[str, str, dict[str, Any]]], **files: Any) -> SentenceModules | None:
    """What is read of modules with these classes, paths and configurations."""
    listing = [
        {"idx": i, "name": str(i), "path": path, "type": f"any.{kind}"} for i, (kind, path, _) in enumerate(modules)
    ]
    (directory / "modules.json").write_text(json.dumps(listing))
    for _, path, keys in modules[1:]:
        (directory / path).mkdir(exist_ok=True)
        (directory / path / "config.json").write_text(json.dumps(keys))
    for name, keys in files.items():
        (directory / f"{name}.json").write_text(json.dumps(keys))
    return read_modules(lambda name: directory / name if (directory / name).is_file() else None)


TRANSFORMER = ("Transformer", "", {})


def test_older_and_newer_keys_are_read(tmp_path: Path) -> None:
    older = {"word_embedding_dimension": 8, "pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}
    found = written(
        tmp_path,
        [TRANSFORMER, ("Pooling", "1_Pooling", {**older, "pooling_mode_mean_tokens": False}), ("Normalize", "2", {})],
        sentence_bert_config={"max_seq_length": 12, "do_lower_case": True},
        config_sentence_transformers={"prompts": {"q": "ask: "}, "default_prompt_name": "q"},
    )
    assert found is not None
    assert (found.pooling, found.normalizes, found.max_tokens, found.lowercases) == (("cls", "max"), True, 12, True)
    assert (dict(found.prompts), found.default_prompt) == ({"q": "ask: "}, "q")
    assert written(tmp_path, [TRANSFORMER, ("Pooling", "p", {"pooling_mode": "lasttoken"})]).pooling == ("lasttoken",)


@pytest.mark.parametrize(
    ("modules", "error", "said"),
    [
        ([("CLIPModel", "", {})], UnsupportedError, "module CLIPModel in '.' as number 0"),
        ([TRANSFORMER, ("LSTM", "1_LSTM", {})], UnsupportedError, "module LSTM in '1_LSTM'"),
        ([TRANSFORMER, ("Normalize", "1", {}), ("Pooling", "2", {})], UnsupportedError, "module Pooling"),
        ([TRANSFORMER, ("Pooling", "1", {"pooling_mode": "median"})], UnsupportedError, "pooling 'median'"),
        ([TRANSFORMER, ("Dense", "1", {"activation_function": "os.system"})], UnsupportedError, "dense layer"),
        (
            [TRANSFORMER, ("Dense", "1", {"activation_function": "torch.nn.Tanh"})],
            MissingFileError,
            "model.safetensors",
        ),
        ([("Transformer", "0_Transformer", {})], UnsupportedError, "module Transformer in '0_Transformer'"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(
    tmp_path: Path, modules: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        written(tmp_path, modules)


def test_a_damaged_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text('[{"type": 3}]')
    with pytest.raises(ConfigError, match="must list modules"):
        read_modules(lambda name: tmp_path / name if (tmp_path / name).is_file() else None)


def test_a_model_whose_modules_are_not_understood_loads_and_does_not_embed(base: Path, tmp_path: Path) -> None:
    for path in base.iterdir():
        (tmp_path / path.name).symlink_to(path)
    written(tmp_path, [TRANSFORMER])
    (tmp_path / "modules.json").write_text(json.dumps([{"type": "a.Other", "path": ""}]))
    loaded = registry.load(tmp_path)
    with pytest.raises(UnsupportedError, match="module Other"):
        loaded.embed(["a"])
    with pytest.warns(RegistryWarning, match="modules.json .* not supported, and so not saved"):
        registry.save(loaded, tmp_path / "saved")
    assert not (tmp_path / "saved/modules.json").exists()


@pytest.mark.parametrize("path", ["", ".", "..", "../other", "/tmp", "1_Pooling/more", ".hidden", "a\\b"])
def test_a_directory_of_a_module_leads_nowhere_else(tmp_path: Path, path: str) -> None:
    (tmp_path / "modules.json").write_text(
        json.dumps([{"type": "a.Transformer", "path": ""}, {"type": "a.Pooling", "path": path}])
    )
    with pytest.raises(UnsupportedError, match="module Pooling in"):
        read_modules(lambda name: tmp_path / name if name == "modules.json" else None)


def test_the_modules_of_a_card_are_saved_and_damage_to_them_is_found(tmp_path: Path) -> None:
    saved = registry.save(registry.load(NAME), tmp_path / "saved")
    torch.testing.assert_close(registry.load(saved).embed(TEXTS), registry.load(NAME).embed(TEXTS))
    (saved / "1_Pooling/config.json").write_text('{"pooling_mode": "cls"}')
    with pytest.raises(IntegrityError, match=r"1_Pooling/config.json is changed"):
        registry.verify(saved)
    with pytest.warns(RegistryWarning, match=r"1_Pooling/config.json in .* differ in size"):
        assert registry.load(saved).sentence_modules.pooling == ("cls",)


def test_a_conversion_keeps_the_modules(tmp_path: Path) -> None:
    convert(NAME, tmp_path / "converted", to="torch")
    torch.testing.assert_close(registry.load(tmp_path / "converted").embed(["a"]), registry.load(NAME).embed(["a"]))


# --- Texts ------------------------------------------------------------------------------------------------------------


def test_order_and_batches_change_nothing(base: Path) -> None:
    loaded = registry.load(base)
    together = loaded.embed(TEXTS)
    for batch_size in (1, 2, 100):
        torch.testing.assert_close(loaded.embed(TEXTS, batch_size=batch_size), together, rtol=0, atol=5e-6)
    torch.testing.assert_close(loaded.embed(TEXTS[::-1]).flip(0), together, rtol=0, atol=5e-6)
    assert loaded.embed([]).shape == (0, 384)


def test_a_model_with_a_head_embeds_as_its_base_model_does(base: Path) -> None:
    headed = registry.load(base, "sequence-classification", num_labels=2)
    torch.testing.assert_close(headed.embed(TEXTS[:3]), registry.load(base).embed(TEXTS[:3]), rtol=0, atol=5e-6)


def test_a_single_text_is_refused(base: Path) -> None:
    with pytest.raises(InputError, match="takes several texts"):
        registry.load(base).embed("a text")
