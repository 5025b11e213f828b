"""The namespace ``plugins``, where an application uses the name for its own."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

LOADS_BERT = """
import registry
from registry.zoo import BertConfig
assert BertConfig.__module__ == "plugins.bert.config", BertConfig
assert registry.info("bert-base-uncased").architecture == "bert"
"""

PICKLES = """
import multiprocessing, pickle, sys
import registry
from registry.zoo import BertConfig

def width(config):
    return config.hidden_size

if __name__ == "__main__":
    config = BertConfig(hidden_size=24, num_attention_heads=4)
    assert pickle.loads(pickle.dumps(config)) == config
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(width, [config]) == [24]
    print("done")
"""


def run(folder: Path, code: str, python: str = sys.executable, **environment: str) -> str:
    """Run ``code`` as the application in a directory does, and return what it prints."""
    (folder / "main.py").write_text(textwrap.dedent(code))
    done = subprocess.run(
        [python, "main.py"], cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(params=["package", "module", "namespace", "nothing"])
def application(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The directory of an application that has its own ``plugins``, in one of the ways there are."""
    package = tmp_path / "plugins"
    if request.param == "package":
        package.mkdir()
        (package / "__init__.py").write_text("mine = True\n")
    elif request.param == "module":
        (tmp_path / "plugins.py").write_text("mine = True\n")
    elif request.param == "namespace":
        package.mkdir()
    if package.exists():
        (package / "own.py").write_text("mine = True\n")
    return tmp_path


def test_first_party_plugins_load_whatever_the_application_has(application: Path) -> None:
    run(application, LOADS_BERT)


def test_the_modules_of_the_application_stay_importable(application: Path) -> None:
    own = (application / "plugins" / "own.py").exists()
    first = "import plugins" if (application / "plugins").exists() or (application / "plugins.py").exists() else ""
    run(application, first + LOADS_BERT + ("import plugins.own; assert plugins.own.mine" if own else ""))
    run(application, LOADS_BERT + ("import plugins.own; assert plugins.own.mine" if own else ""))
    if (application / "plugins.py").exists():
        run(application, LOADS_BERT + "import plugins; assert plugins.mine")


def test_a_module_of_the_application_wins_over_ours_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "plugins" / "other").mkdir(parents=True)
    (tmp_path / "plugins" / "__init__.py").touch()
    (tmp_path / "plugins" / "other" / "__init__.py").write_text("mine = True\n")
    run(tmp_path, LOADS_BERT + "import plugins.other; assert plugins.other.mine")


def test_what_a_plugin_made_is_unpickled_in_a_spawned_process(application: Path) -> None:
    assert run(application, PICKLES) == "done\n"


def test_a_third_party_may_add_to_the_namespace(application: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    site = tmp_path_factory.mktemp("site")
    (site / "toy_dist-1.0.dist-info").mkdir()
    (site / "toy_dist-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-dist\nVersion: 1.0\n")
    (site / "toy_dist-1.0.dist-info" / "entry_points.txt").write_text("[registry.v1]\ntoy = plugins.toy\n")
    (site / "plugins").mkdir()
    (site / "plugins" / "toy.py").write_text(
        "from registry import Card, hookimpl\n@hookimpl\ndef registry_cards():\n"
        " yield Card(name='toy', architecture='toy', task='base', files=())\n"
    )
    run(application, LOADS_BERT + "assert 'toy' in registry.list_models()", PYTHONPATH=str(site))


@pytest.fixture(scope="session")
def wheel_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter in which this tree is installed from a wheel, with the packages that are installed here."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(copy_of_tree(folder))]
    subprocess.run(build, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    python = str(folder / "venv" / "bin" / "python")
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    here = [path for path in sys.path if path.endswith("site-packages")]
    (Path(site) / "these.pth").write_text("\n".join(here))
    install = [*pip, "--python", python, "install", "--no-deps", "--ignore-installed", *map(str, folder.glob("*.whl"))]
    subprocess.run(install, check=True, capture_output=True)
    return python


def copy_of_tree(folder: Path) -> Path:
    """What a wheel is built from, where building leaves nothing in the tree under test."""
    import shutil

    ignored = shutil.ignore_patterns("*.egg-info", "__pycache__", "build")
    shutil.copytree(ROOT / "src", folder / "tree" / "src", ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "tree")
    return folder / "tree"


@pytest.mark.slow
def test_a_wheel_behaves_as_the_tree_does(
    application: Path, wheel_python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)  # it may name this very tree
    where = run(
        application, LOADS_BERT + "import plugins.bert.config as c; print(registry.__file__, c.__file__)", wheel_python
    )
    venv = str(Path(wheel_python).parent.parent)
    assert all(path.startswith(venv) for path in where.split()), where
    assert run(application, PICKLES, wheel_python) == "done\n"
    listed = json.loads(
        subprocess.run(
            [str(Path(wheel_python).parent / "registry"), "plugins", "--json"],
            cwd=application, capture_output=True, text=True, check=True,
        ).stdout
    )  # fmt: skip
    ours = {plugin["name"]: plugin["state"] for plugin in listed if plugin["first_party"]}
    assert ours == {"bert": "loaded", "gpt": "loaded", "gpt2": "loaded", "transfo_xl": "loaded"}
