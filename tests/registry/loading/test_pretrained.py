"""The public doors: a name, path or directory becomes a working model, or an error that helps."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import registry
from registry.errors import (
    ArchitectureMismatchError,
    ConfigError,
    CorruptWeightsError,
    MissingFileError,
    MissingTokenizerError,
    NotCachedError,
    RegistryError,
    SaveError,
    UnknownModelError,
    UnknownOptionError,
    UnknownTaskError,
    UntrainedWarning,
    VocabError,
    WeightsMismatchError,
)
from registry.zoo import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertModel,
    BertTokenizer,
)

TEXT = "the cat sat on the mat."


@pytest.fixture
def config(sizes: dict[str, int]) -> Any:
    return BertConfig(**sizes)


@pytest.fixture
def tokenizer(vocab_file: Path) -> Any:
    return BertTokenizer(str(vocab_file))


def fresh(cls: Any, config: Any, **options: Any) -> Any:
    torch.manual_seed(0)
    model = cls(config, **options)
    model.init_weights()
    return model.eval()


@pytest.fixture
def folder(tmp_path: Path, config: Any, tokenizer: Any) -> Path:
    """A saved masked language model."""
    return registry.save(fresh(BertForMaskedLM, config), tmp_path / "saved", tokenizer=tokenizer)


def hidden(model: Any, tokenizer: Any) -> torch.Tensor:
    with torch.inference_mode():
        return next(value for value in model(**tokenizer(TEXT, return_tensors="pt")) if value is not None)


# --- A name becomes a model -------------------------------------------------------------------------------------------


def test_a_saved_folder_comes_back_as_it_was(folder: Path, config: Any, tokenizer: Any) -> None:
    loaded = registry.load(folder)
    original = fresh(BertForMaskedLM, config)
    assert type(loaded.model) is BertForMaskedLM
    assert loaded.config == config
    assert loaded.card is None
    assert not loaded.model.training
    assert hidden(loaded.model, loaded.tokenizer).equal(hidden(original, tokenizer))
    assert loaded.report.new == loaded.report.missing == loaded.report.unexpected == ()


def test_the_three_doors_lead_to_the_same_model(folder: Path, tokenizer: Any) -> None:
    models = (registry.load(folder).model, registry.load_model(folder), BertForMaskedLM.from_pretrained(folder))
    first, *others = (hidden(model, tokenizer) for model in models)
    assert all(first.equal(other) for other in others)


def test_the_parts_can_be_loaded_alone(folder: Path, config: Any) -> None:
    assert registry.load_config(folder) == config == BertConfig.from_pretrained(folder)
    assert registry.load_tokenizer(folder).tokenize(TEXT) == ["the", "cat", "sat", "on", "the", "mat", "."]
    assert BertTokenizer.from_pretrained(str(folder)).get_vocab() == registry.load_tokenizer(folder).get_vocab()


def test_the_task_is_the_arguments_then_the_configurations_then_the_default(folder: Path) -> None:
    assert type(registry.load_model(folder, "base", allow_missing="pooler.*")) is BertModel
    assert type(registry.load_model(folder)) is BertForMaskedLM
    keys = json.loads((folder / "config.json").read_text())
    del keys["architectures"]
    (folder / "config.json").write_text(json.dumps(keys))
    (folder / "registry.json").unlink()
    assert type(registry.load_model(folder, allow_missing="pooler.*")) is BertModel


def test_extra_keywords_go_to_the_class_else_to_the_configuration(folder: Path) -> None:
    model = registry.load_model(folder, "sequence-classification", num_labels=5, hidden_dropout_prob=0.0)
    assert model.classifier.weight.shape == (5, 24)
    assert model.config.num_labels == 5
    assert model.config.hidden_dropout_prob == 0.0
    assert BertForSequenceClassification.from_pretrained(folder, 3).classifier.weight.shape == (3, 24)


def test_the_number_of_labels_survives_saving(folder: Path, tmp_path: Path) -> None:
    model = BertForSequenceClassification.from_pretrained(folder, num_labels=5)
    torch.nn.init.ones_(model.classifier.weight)
    torch.nn.init.ones_(model.bert.pooler.dense.weight)
    model.save_pretrained(tmp_path / "again")
    assert BertForSequenceClassification.from_pretrained(tmp_path / "again").config.num_labels == 5


def test_weights_are_float32_on_the_cpu_unless_asked_otherwise(folder: Path) -> None:
    half = registry.load_model(folder, dtype=torch.float16)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.float16}
    half.save_pretrained(folder.parent / "half")
    assert json.loads((folder.parent / "half" / "config.json").read_text())["dtype"] == "float16"
    again = registry.load_model(folder.parent / "half")
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float32}


def test_a_given_state_dict_is_used_and_no_weights_are_read(folder: Path, config: Any) -> None:
    other = fresh(BertForMaskedLM, config)
    with torch.no_grad():
        other.bert.embeddings.LayerNorm.bias.fill_(3.0)
    state = other.state_dict()
    before = {name: tensor.clone() for name, tensor in state.items()}
    (folder / "model.safetensors").unlink()
    model = BertForMaskedLM.from_pretrained(folder, state_dict=state)
    assert model.bert.embeddings.LayerNorm.bias.eq(3.0).all()
    with torch.no_grad():
        model.bert.embeddings.LayerNorm.bias.fill_(4.0)
    assert list(state) == list(before)
    assert all(state[name].equal(before[name]) for name in before), "the caller's tensors are the caller's"


def test_torch_is_absent_until_a_model_is_built(folder: Path) -> None:
    script = f"""
import sys, registry
registry.list_models(), registry.info("all-minilm-l6-v2"), registry.resolve({str(folder)!r}), registry.plugins()
config = registry.load_config({str(folder)!r})
tokenizer = registry.load_tokenizer({str(folder)!r})
batch = registry.zoo.BertTokenizer.from_pretrained({str(folder)!r})("the cat", padding=True)
assert not {{"torch", "numpy", "requests", "safetensors"}} & set(sys.modules), "too early"
registry.load_model({str(folder)!r})
assert "torch" in sys.modules
assert "torch._dynamo" not in sys.modules, "imported for nothing, in seconds"
"""
    subprocess.run([sys.executable, "-c", script], check=True)


# --- Saving and loading again -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["safetensors", "torch"])
@pytest.mark.parametrize("max_shard_size", [None, 5000, "20KB"])
def test_both_formats_come_back_whole_or_sharded(
    tmp_path: Path, config: Any, tokenizer: Any, format: Any, max_shard_size: Any
) -> None:
    model = fresh(BertForPreTraining, config)
    where = registry.save(model, tmp_path / "m", tokenizer=tokenizer, format=format, max_shard_size=max_shard_size)
    assert (len(list(where.glob("*-of-*"))) > 1) == (max_shard_size is not None)
    loaded = registry.load(where)
    assert type(loaded.model) is BertForPreTraining
    for name, tensor in model.state_dict().items():
        assert loaded.model.state_dict()[name].equal(tensor), name
    assert loaded.model.cls.predictions.decoder.weight is loaded.model.bert.embeddings.word_embeddings.weight


def test_pretrained_saves_all_that_belongs_together(folder: Path, tmp_path: Path) -> None:
    again = registry.load(registry.load(folder).save(tmp_path / "again"))
    assert again.tokenizer.get_vocab() == registry.load(folder).tokenizer.get_vocab()
    manifest = json.loads((tmp_path / "again" / "registry.json").read_text())
    assert (manifest["architecture"], manifest["task"]) == ("bert", "masked-lm")
    assert str(folder) in manifest["origin"]
    assert set(manifest["files"]) == {path.name for path in (tmp_path / "again").iterdir()} - {"registry.json"}


def test_a_model_is_saved_into_the_folder_it_was_mapped_from(folder: Path, tokenizer: Any) -> None:
    model = registry.load_model(folder)
    expected = hidden(model, tokenizer)
    with torch.no_grad():
        model.bert.embeddings.LayerNorm.bias.add_(0)  # touched, as training would
    model.save_pretrained(folder)
    assert hidden(model, tokenizer).equal(expected)
    assert hidden(registry.load_model(folder), tokenizer).equal(expected)


def test_changing_the_format_over_an_old_folder_leaves_one_weight_file(folder: Path) -> None:
    registry.load(folder).save(folder, format="torch")
    assert (folder / "pytorch_model.bin").exists()
    assert not (folder / "model.safetensors").exists()
    registry.load_model(folder)


def test_a_wrapped_model_is_unwrapped_and_anything_else_refused(tmp_path: Path, config: Any) -> None:
    class Wrapped(torch.nn.Module):
        def __init__(self, module: torch.nn.Module) -> None:
            super().__init__()
            self.module = module

    registry.save(Wrapped(fresh(BertModel, config)), tmp_path / "m")
    assert type(registry.load_model(tmp_path / "m")) is BertModel
    with pytest.raises(SaveError, match="Linear"):
        registry.save(torch.nn.Linear(2, 2), tmp_path / "n")
    with pytest.raises(SaveError, match="pickle"):
        registry.save(fresh(BertModel, config), tmp_path / "n", format="pickle")
    with pytest.raises(SaveError, match="is not a size"):
        registry.save(fresh(BertModel, config), tmp_path / "n", max_shard_size="lots")
    assert not (tmp_path / "n").exists()


# --- Bad input --------------------------------------------------------------------------------------------------------


def test_an_unknown_name_is_refused_with_suggestions() -> None:
    with pytest.raises(UnknownModelError) as caught:
        registry.load("bert-base-uncasd")
    assert caught.value.suggestions[0] == "bert-base-uncased"
    assert "registry list" in str(caught.value)


def test_an_unknown_task_is_refused_with_the_tasks_there_are(folder: Path) -> None:
    with pytest.raises(UnknownTaskError, match="Did you mean 'masked-lm'") as caught:
        registry.load(folder, "maskedlm")
    assert "question-answering" in str(caught.value)


@pytest.mark.parametrize("door", [registry.load, registry.load_model, BertModel.from_pretrained])
def test_an_unknown_keyword_is_refused_before_weights_are_read(folder: Path, door: Callable[..., Any]) -> None:
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(UnknownOptionError, match="Did you mean 'revision'"):
        door(folder, reviison="main")
    with pytest.raises(UnknownOptionError, match="Did you mean 'num_hidden_layers'"):
        door(folder, num_hiden_layers=1)


def test_a_second_positional_text_is_taken_for_a_cache_folder_and_refused(folder: Path) -> None:
    for given in ("./cache", Path("cache")):
        with pytest.raises(UnknownOptionError, match="cache_dir="):
            BertModel.from_pretrained(folder, given)


def test_a_folder_of_another_architecture_is_refused(folder: Path) -> None:
    (folder / "registry.json").unlink()
    keys = {"model_type": "gpt2", "n_embd": 8, "architectures": ["GPT2LMHeadModel"]}
    (folder / "config.json").write_text(json.dumps(keys))
    with pytest.raises(ArchitectureMismatchError, match="gpt2"):
        BertModel.from_pretrained(folder)
    (folder / "config.json").write_text(
        json.dumps({"n_embd": 8, "n_head": 2, "n_ctx": 16, "n_layer": 1, "vocab_size": 9})
    )
    with pytest.raises((ArchitectureMismatchError, WeightsMismatchError)):
        BertModel.from_pretrained(folder)


def test_missing_files_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / "registry.json").unlink()
    (folder / "model.safetensors").unlink()
    with pytest.raises(MissingFileError, match="weights"):
        registry.load(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingFileError, match=r"config\.json"):
        registry.load(tmp_path / "empty")


def test_damaged_files_are_refused(folder: Path) -> None:
    shutil.copytree(folder, folder.parent / "copy")
    (folder.parent / "copy" / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config\.json"):
        registry.load(folder.parent / "copy")
    data = (folder / "model.safetensors").read_bytes()
    (folder / "registry.json").unlink()
    (folder / "model.safetensors").write_bytes(data[:-10])
    with pytest.raises(CorruptWeightsError):
        registry.load(folder)


def test_missing_unexpected_and_misshapen_weights_are_refused_together(folder: Path, config: Any) -> None:
    state = dict(fresh(BertForMaskedLM, config).state_dict())
    del state["bert.encoder.layer.0.output.dense.bias"]
    state["bert.encoder.layer.7.output.dense.bias"] = torch.zeros(24)
    state["bert.embeddings.LayerNorm.weight"] = torch.zeros(25)
    with pytest.raises(WeightsMismatchError) as caught:
        BertForMaskedLM.from_pretrained(folder, state_dict=state)
    for name in ("layer.0.output.dense.bias", "layer.7.output.dense.bias", "embeddings.LayerNorm.weight"):
        assert name in str(caught.value)


def test_a_model_without_tokenizer_files_loads_and_says_so_when_asked(folder: Path) -> None:
    (folder / "vocab.txt").unlink()
    (folder / "registry.json").unlink()
    loaded = registry.load(folder)
    assert loaded.model is not None
    with pytest.raises(MissingTokenizerError, match=r"vocab\.txt"):
        loaded.tokenizer.tokenize("x")
    with pytest.raises(MissingTokenizerError):
        registry.load_tokenizer(folder)


def test_a_tokenizer_with_ids_beyond_the_embedding_is_refused(folder: Path) -> None:
    with (folder / "vocab.txt").open("a") as file:
        file.write("beyond\n")
    (folder / "registry.json").unlink()
    with pytest.raises(VocabError, match="'beyond'"):
        registry.load(folder)


def test_from_tf_reads_nothing_but_what_was_first_released(folder: Path) -> None:
    with pytest.raises(MissingFileError, match=r"Looked for: a TensorFlow checkpoint"):
        BertModel.from_pretrained(folder, from_tf=True)


def test_a_class_is_only_built_from_its_own_configuration() -> None:
    with pytest.raises(TypeError, match="BertConfig"):
        BertModel({"hidden_size": 4})


def test_an_interrupted_save_is_told_on_loading(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(path.read_text() + " ")
    with pytest.warns(registry.errors.RegistryWarning, match=r"config\.json"):
        registry.load_model(folder)


@pytest.fixture
def site(folder: Path) -> Iterator[Path]:
    """A plugin of a site, preferred over ours: a name that everybody knows, with the files of a tiny model."""

    class Site:
        @registry.hookimpl
        def registry_cards(self) -> Iterator[Any]:
            yield registry.Card(
                name="bert-base-uncased",
                architecture="bert",
                task="masked-lm",
                files=tuple(
                    registry.FileSpec(role=role, filename=name, urls=(f"file:{folder / name}",))
                    for role, name in (
                        ("config", "config.json"),
                        ("weights", "model.safetensors"),
                        ("vocab", "vocab.txt"),
                    )
                ),
                tokenizer={"do_lower_case": False, "max_len": 20},
            )

    registry.register(Site(), name="site")
    registry.prefer("site")
    yield folder
    registry.prefer()
    registry.discovery.unregister("site")


def test_options_that_belong_to_the_weights_travel_with_the_card(site: Path) -> None:
    loaded = registry.load("bert-base-uncased")
    assert loaded.card is not None
    assert loaded.card.task == "masked-lm"
    assert type(loaded.model) is BertForMaskedLM
    assert loaded.tokenizer.max_len == 20
    assert loaded.tokenizer.tokenize("Paris") == ["Paris"]
    assert BertTokenizer.from_pretrained("bert-base-uncased", do_lower_case=True).tokenize("Paris") != ["Paris"]


def test_every_error_is_one_of_ours() -> None:
    assert issubclass(UnknownModelError, RegistryError)
    with pytest.raises(KeyError):
        registry.load("no-such-model")
    with pytest.raises(OSError, match="https") as caught:
        registry.load("https://example.org/model.tar.gz")  # offline, as all tests are
    assert isinstance(caught.value, NotCachedError)


def test_question_answering_has_a_head_that_the_file_lacks(folder: Path) -> None:
    with pytest.warns(UntrainedWarning, match=r"qa_outputs\.weight, qa_outputs\.bias"):
        model = BertForQuestionAnswering.from_pretrained(folder)
    assert set(model.load_report.new) == {"qa_outputs.weight", "qa_outputs.bias"}
    assert any(name.startswith("cls.predictions.") for name in model.load_report.dropped)
    assert model.qa_outputs.weight.std() > 0
