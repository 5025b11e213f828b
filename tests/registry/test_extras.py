"""The core works without the packages of the extras; a feature that needs one says which extra installs it."""

import configparser
import subprocess
import sys
from pathlib import Path

from registry.extras import EXTRAS, import_extra

ROOT = Path(__file__).parents[2]

HIDDEN = """
import sys
from importlib.abc import MetaPathFinder

class Hidden(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name.partition(".")[0])

sys.meta_path.insert(0, Hidden())
"""


def without_extras(code: str, *names: str) -> "subprocess.CompletedProcess[str]":
    """Run code in a process in which the packages of the extras cannot be imported."""
    hidden = HIDDEN.format(names=set(names or EXTRAS))
    return subprocess.run([sys.executable, "-W", "ignore", "-c", hidden + code], capture_output=True, text=True)


CORE = """
import registry
from registry.zoo import BertConfig, BertForMaskedLM, BertTokenizer
folder = {folder!r}
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##b"]
model = BertForMaskedLM(BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                                   intermediate_size=8, max_position_embeddings=16))
vocabulary = folder + "/vocab.txt"
open(vocabulary, "w").write("\\n".join(words) + "\\n")
registry.save(model, folder + "/saved", tokenizer=BertTokenizer(vocabulary))
loaded = registry.load(folder + "/saved")
batch = loaded.tokenizer(["a ab"], return_tensors="pt")
assert loaded.model(**batch).logits.shape == (1, 5, 8), batch
registry.verify(folder + "/saved")
assert "bert-base-uncased" in registry.list_models()
"""


def test_models_load_run_and_save_without_the_extras(tmp_path: Path) -> None:
    result = without_extras(CORE.format(folder=str(tmp_path)))
    assert result.returncode == 0, result.stderr


def test_the_command_says_which_extra_it_needs() -> None:
    result = without_extras("sys.argv = ['registry', 'list']\nfrom registry.__main__ import main\nmain()", "click")
    assert result.returncode == 1
    assert result.stderr == 'The command line needs click: pip install "torch-registry[cli]"\n'


def test_a_tensorflow_checkpoint_says_which_extra_it_needs(tensorflow: Path) -> None:
    code = f"import registry\nregistry.load_model({str(tensorflow / 'gpt2')!r})"
    result = without_extras(code, "google_crc32c")
    assert "MissingDependencyError: A TensorFlow checkpoint needs the package google_crc32c" in result.stderr
    assert 'pip install "torch-registry[tensorflow-files]"' in result.stderr


def test_pages_say_which_extra_they_need() -> None:
    result = without_extras("from registry.pages.rendering import render\nrender('index.html', {})", "jinja2")
    assert 'pip install "torch-registry[pages]"' in result.stderr


def test_a_package_that_is_there_is_imported() -> None:
    assert import_extra("rich", "A table").__name__ == "rich"


def test_every_package_stands_in_its_extra() -> None:
    settings = configparser.RawConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    for module, extra in EXTRAS.items():
        assert module.replace("_", "-") in settings["options.extras_require"][extra]
    core = settings["options"]["install_requires"]
    assert not [module for module in EXTRAS if module.replace("_", "-") in core]
