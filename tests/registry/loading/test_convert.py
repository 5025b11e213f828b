"""Converting, inspecting and comparing checkpoints, on the command line as users do."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file

import registry
from registry.cli import main
from registry.errors import CorruptWeightsError, RegistryWarning, SaveError
from registry.loading.convert import convert
from registry.saving.manifest import read_manifest
from registry.weights import inspect as inspection
from registry.weights import write as saving
from registry.weights.inspect import largest_difference


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="registry")


def files_in(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in folder.iterdir()}


# --- convert ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["safetensors", "torch"])
@pytest.mark.parametrize(
    ("source", "options", "model"),
    [
        ("bert_pretraining", (), "BertForPreTraining"),
        ("bert_squad/model.ckpt-7", (), "BertForQuestionAnswering"),
        ("bert_classifier", ("--set", "num_labels=3"), "BertForSequenceClassification"),
        ("bert_multiple_choice", ("--set", "num_labels=1"), "BertForSequenceClassification"),  # one name for both
        ("gpt2", (), "GPT2LMHeadModel"),
        ("transfo_xl", (), "TransfoXLLMHeadModel"),
        ("transfo_xl/model.ckpt.index", (), "TransfoXLLMHeadModel"),
        ("transfo_xl_characters", (), "TransfoXLLMHeadModel"),
        ("transfo_xl_one_table", (), "TransfoXLLMHeadModel"),
    ],
)
def test_a_checkpoint_of_tensorflow_becomes_a_saved_directory(
    tensorflow: Path, tmp_path: Path, source: str, options: tuple[str, ...], model: str, to: str
) -> None:
    target = tmp_path / "m"
    result = run("convert", tensorflow / source, target, "--to", to, *options)
    assert result.exit_code == 0, result.output
    assert re.search(rf"^model +{model}$", result.stdout, re.MULTILINE)
    paths = files_in(target)
    manifest = read_manifest(paths)
    assert manifest is not None
    assert set(manifest.files) == {"config.json", "model.safetensors" if to == "safetensors" else "pytorch_model.bin"}
    assert_computes_the_same(registry.load_model(target), tensorflow / source, model, options)
    done = run("diff", tensorflow / source, target)
    if model == "BertForQuestionAnswering":  # answers need no pooler, and no class has both
        assert re.search("^dropped .*/attention/output/dense/bias/adam_m", result.stdout, re.MULTILINE)
        assert done.stdout.splitlines()[-1] == "39 of 41 tensors are equal."
    else:
        assert (done.exit_code, len(done.stdout.splitlines())) == (0, 1), done.output


@pytest.mark.parametrize("to", ["safetensors", "torch"])
@pytest.mark.parametrize("names", [True, False])
def test_arrays_of_numpy_become_a_saved_directory(
    gpt_release: Callable[[bool], Path], tmp_path: Path, names: bool, to: str
) -> None:
    source, target = gpt_release(names), tmp_path / "m"
    result = run("convert", source, target, "--to", to)
    assert result.exit_code == 0, result.output
    assert re.search(r"^tensors +26$", result.stdout, re.MULTILINE)
    assert_computes_the_same(registry.load_model(target), source, "OpenAIGPTLMHeadModel")
    assert run("diff", source, target).exit_code == 0


def assert_computes_the_same(model: Any, source: Path, name: str, options: tuple[str, ...] = ()) -> None:
    """What was converted is of this class, and all its outputs are, bit for bit, those of its source."""
    assert type(model).__name__ == name
    labels = {"num_labels": int(options[1].removeprefix("num_labels="))} if options else {}
    original = type(model).from_pretrained(source, **labels)
    ids = torch.randint(0, 13, (2, 6), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        pairs = list(zip(tensors_in(model(ids)), tensors_in(original(ids)), strict=True))
    assert pairs
    assert all(torch.equal(one, other) for one, other in pairs)


def tensors_in(output: Any) -> Iterator[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        yield output
    elif output is not None:
        for part in output:
            yield from tensors_in(part)


def test_a_tokenizer_comes_along(tensorflow: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(tensorflow / "bert_pretraining", tmp_path / "source"))
    (source / "vocab.txt").write_text(
        "".join(f"{word}\n" for word in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"))
    )
    done = convert(source, tmp_path / "m")
    assert done.tokenizer == "BertTokenizer"
    assert registry.load(tmp_path / "m").tokenizer.tokenize("a b") == ["a", "[UNK]"]


def test_a_conversion_into_the_folder_of_its_source_is_what_loads_from_there(tensorflow: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tensorflow / "gpt2", tmp_path / "m"))
    with pytest.warns(RegistryWarning, match=r"still holds .*model\.ckpt\.index"):
        convert(folder, folder)
    report = registry.load_model(folder).load_report
    assert report is not None
    assert "model.ckpt.index" in report.ignored_files


def test_what_was_written_wrongly_does_not_take_the_place_of_what_was_there(
    tensorflow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = convert(tensorflow / "gpt2", tmp_path / "m").folder
    before = {name: path.read_bytes() for name, path in files_in(folder).items()}
    kind = saving.WRITE_FORMATS["safetensors"]

    def spoil(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
        save_file({name: tensor + 1 for name, tensor in tensors.items()}, path)

    monkeypatch.setitem(
        saving.WRITE_FORMATS,  # type: ignore[arg-type]
        "safetensors",
        saving._WriteFormat(kind.filename, kind.index, kind.keeps_ties, spoil),
    )
    with pytest.raises(SaveError, match="came back with different values"):
        convert(tensorflow / "gpt2", folder)
    assert {name: path.read_bytes() for name, path in files_in(folder).items()} == before


def test_progress_is_shown_when_asked_for(tensorflow: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert(tensorflow / "gpt2", tmp_path / "m", progress=True)
    assert "56" in capsys.readouterr().err, "28 tensors read and 28 compared"
    convert(tensorflow / "gpt2", tmp_path / "n", progress=False)
    assert capsys.readouterr().err == ""


def test_a_damaged_source_ends_with_4_and_leaves_nothing(tensorflow: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(tensorflow / "gpt2", tmp_path / "source"))
    shard = source / "model.ckpt.data-00000-of-00001"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x55")
    result = run("convert", source, tmp_path / "m")
    assert result.exit_code == 4
    assert result.stderr.startswith("CorruptWeightsError")
    assert not (tmp_path / "m").exists()


def test_a_field_that_is_none_is_wrong_usage(tensorflow: Path, tmp_path: Path) -> None:
    assert run("convert", tensorflow / "gpt2", tmp_path / "m", "--set", "num_labels").exit_code == 2


# --- inspect ----------------------------------------------------------------------------------------------------------


def test_inspect_prints_a_table_of_headers(tmp_path: Path) -> None:
    save_file({"b": torch.zeros(2, 3), "a": torch.tensor(7)}, tmp_path / "weights.any")
    assert run("inspect", tmp_path / "weights.any").stdout.splitlines() == [
        "name  shape   type         size",
        "a     scalar  int64     8 bytes",
        "b     2 x 3   float32  24 bytes",
        "2 tensors, 32 bytes, format safetensors: weights.any.",
    ]


@pytest.mark.parametrize("name", ["types", "gpt2/model.ckpt", "bert_squad/model.ckpt-7.index"])
def test_inspect_reads_checkpoints_of_tensorflow(tensorflow: Path, name: str) -> None:
    found = json.loads(run("inspect", tensorflow / name, "--json").stdout)
    assert all(set(look) == {"shape", "dtype", "nbytes"} for look in found.values())


def test_inspect_calls_arrays_by_the_names_of_the_architecture(gpt_release: Callable[[bool], Path]) -> None:
    folder = gpt_release(False)
    names = [line.split()[0] for line in run("inspect", folder).stdout.splitlines()]
    assert names[1:4] == ["model/we:0/positions", "model/we:0/tokens", "model/h0/attn/c_attn/w:0"]
    (folder / "config.json").unlink()
    assert run("inspect", folder).stdout.splitlines()[1].split()[0] == "0"


@pytest.mark.parametrize("config", ['{"model_type": "unheard-of"}', '{"x": 1}', "{"])
def test_inspect_and_diff_do_without_a_configuration_that_nobody_understands(tmp_path: Path, config: str) -> None:
    (tmp_path / "config.json").write_text(config)
    save_file({"a": torch.zeros(2)}, tmp_path / "model.safetensors")
    assert run("inspect", tmp_path).stdout.splitlines()[-1].startswith("1 tensors, 8 bytes")
    assert run("diff", tmp_path, tmp_path).exit_code == 0


def test_inspect_and_diff_take_the_name_of_a_model() -> None:
    found = json.loads(run("inspect", "all-minilm-l6-v2", "--json").stdout)
    assert found["embeddings.word_embeddings.weight"] == {"shape": [30522, 384], "dtype": "float32", "nbytes": 46881792}
    done = run("diff", "all-minilm-l6-v2", "all-minilm-l6-v2")
    assert (done.exit_code, done.stdout) == (0, "103 of 103 tensors are equal.\n")


def test_inspect_of_a_name_looks_at_the_weights_alone(asked: list[tuple[str, ...]]) -> None:
    """What else belongs to the model may be out of reach."""
    assert inspection.find("all-minilm-l6-v2").files == ("model.safetensors",)
    assert asked == [("weights",)]


def test_inspect_needs_no_torch_for_any_format_of_ours(
    tensorflow: Path, tmp_path: Path, gpt_release: Callable[[bool], Path]
) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / "pytorch_model.bin")
    save_file({"a": torch.zeros(2)}, tmp_path / "model.safetensors")
    for path in (
        tmp_path / "pytorch_model.bin",
        tmp_path / "model.safetensors",
        tensorflow / "gpt2",
        gpt_release(True),
    ):
        code = (
            "import sys\nfrom registry.cli import main\n"
            f"main(['inspect', {str(path)!r}], standalone_mode=False)\nassert 'torch' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_inspect_names_ignored_files(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / "pytorch_model.bin")
    save_file({"a": torch.zeros(2)}, tmp_path / "model.safetensors")
    assert run("inspect", tmp_path).stderr == "Ignored: pytorch_model.bin.\n"


def test_inspect_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"<!DOCTYPE html>")
    assert run("inspect", tmp_path / "x.bin").exit_code == 4
    assert run("inspect", tmp_path / "nothing.bin").exit_code == 3


# --- diff -------------------------------------------------------------------------------------------------------------


def test_diff_shows_shapes_differences_and_what_one_side_lacks(tmp_path: Path) -> None:
    left = {"a": torch.zeros(2), "b": torch.zeros(3), "c": torch.ones(1), "same": torch.ones(2)}
    right = {"a": torch.tensor([0.0, 0.5]), "b": torch.zeros(4), "d": torch.ones(1), "same": torch.ones(2)}
    save_file(left, tmp_path / "left.safetensors")
    torch.save(right, tmp_path / "right.bin")
    result = run("diff", tmp_path / "left.safetensors", tmp_path / "right.bin")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "name  A          B          largest difference",
        "a     float32 2  float32 2  0.5",
        "b     float32 3  float32 4",
        "c     float32 1  -",
        "d     -          float32 1",
        "1 of 5 tensors are equal.",
    ]
    found = json.loads(run("diff", tmp_path / "left.safetensors", tmp_path / "right.bin", "--json").stdout)
    assert [difference["name"] for difference in found] == ["a", "b", "c", "d"]


def test_diff_knows_other_spellings_and_tied_names(tensorflow: Path, tmp_path: Path) -> None:
    folder = convert(tensorflow / "bert_pretraining", tmp_path / "m").folder
    model = registry.load_model(folder)
    state = {
        f"module.{name}".replace("LayerNorm.weight", "LayerNorm.gamma"): t for name, t in model.state_dict().items()
    }
    torch.save(state, tmp_path / "other.bin")
    assert run("diff", folder, tmp_path / "other.bin").exit_code == 0
    torch.nn.init.zeros_(model.bert.pooler.dense.bias)
    torch.save(state, tmp_path / "other.bin")
    result = run("diff", folder, tmp_path / "other.bin")
    assert result.exit_code == 1
    assert "bert.pooler.dense.bias" in result.stdout


@pytest.mark.parametrize(
    ("one", "other", "largest"),
    [
        ([1.0, float("nan")], [1.0, float("nan")], 0.0), ([float("inf")], [float("inf")], 0.0),
        ([1.0, float("nan")], [1.0, 2.0], float("inf")), ([1, 2], [1, 5], 3.0),
        ([], [], 0.0), ([1.0], [1.0, 2.0], None),
    ],
)  # fmt: skip
def test_the_largest_difference_counts_nan(one: Any, other: Any, largest: float | None) -> None:
    assert largest_difference(torch.tensor(one), torch.tensor(other)) == largest


# --- A format of a third party ----------------------------------------------------------------------------------------

THIRD_PARTY = """
from registry import hookimpl
from registry.records import WeightLoaderSpec

@hookimpl
def registry_weight_loaders():
    here = "third_party"
    yield WeightLoaderSpec(format="lines", detect=f"{here}:detect", loader=f"{here}:load", names=f"{here}:NAMES")

def detect(paths):
    return any(path.read_bytes()[:6] == b"#lines" for path in paths.values())

def load(paths):
    import torch
    from registry.weights.shards import LazyTensors
    path = next(path for path in paths.values() if path.read_bytes()[:6] == b"#lines")
    rows = dict(line.split(" = ") for line in path.read_text().splitlines()[1:])
    return LazyTensors({name: lambda row=row: torch.tensor(eval(row, {})) for name, row in rows.items()})

from registry.weights.names import NameTable
NAMES = NameTable(("our {name}", "{name}"))
"""


def test_a_format_of_a_third_party_is_loaded_inspected_compared_and_converted(
    install: Callable[..., Path], tensorflow: Path, tmp_path: Path
) -> None:
    install("third-party-dist", THIRD_PARTY, plugin="third_party")
    model = registry.load_model(tensorflow / "gpt2")
    folder = tmp_path / "theirs"
    folder.mkdir()
    shutil.copy(tensorflow / "gpt2" / "config.json", folder)
    rows = [f"our {name} = {tensor.tolist()}" for name, tensor in model.state_dict().items()]
    (folder / "anything.xyz").write_text("\n".join(["#lines", *rows]))  # known by its content, whatever its name
    loaded = registry.load_model(folder)
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert run("inspect", folder).stdout.splitlines()[-1].startswith("29 tensors")
    assert run("diff", folder, tensorflow / "gpt2").exit_code == 0
    assert run("convert", folder, tmp_path / "m").exit_code == 0
    assert run("diff", tmp_path / "m", tensorflow / "gpt2").exit_code == 0
    (folder / "anything.xyz").write_text("lines")
    with pytest.raises((CorruptWeightsError, registry.errors.MissingFileError)):
        registry.load_model(folder)
