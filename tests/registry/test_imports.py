"""What importing costs and reaches: measured in fresh processes, and read from the source."""

import ast
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import registry

CORE = Path(registry.__file__).parent

ORDER = {
    "_version": "the version",
    "formatting": "text for people: numbers, lists, control characters escaped",
    "errors": "every error and warning, as one tree",
    "extras": "packages that only some of the work needs, and the extra that installs each",
    "garbage": "Python's garbage collector, paused while models are made",
    "files": "facts about files: published names, first bytes, digests, URLs, strict JSON, atomic writing",
    "namespace": "the package `plugins`, where an application hides it",
    "records": "what plugins declare, as values",
    "hookspecs": "the six hooks",
    "discovery": "entry points -> plugins -> records; a site's card files",
    "cache": "what was downloaded, by its digest",
    "download": "HTTP, resumption, the hub, the policy of a load",
    "archives": "tar and zip, member by member",
    "sources": "a name -> a source -> files",
    "config": "configurations, and the architecture of one",
    "saving": "a directory that appears complete, and its manifest",
    "tokenization": "what tokenizers share",
    "weights": "formats of weights, names of weights",
    "nn": "layers, inputs, outputs: what `modeling.py` imports",
    "sharding": "models divided over processes: plans, shares of tensors, divided layers",
    "generation": "sampling, beams, perplexity",
    "embedding": "texts -> vectors, as sentence-transformers computes them",
    "loading": "files -> a model; a model -> files",
    "distributed": "what is done with models that processes share: estimates, checkpoints of training",
    "bulk": "texts -> vectors or numbers, over files, processes and machines",
    "integrations": "classes of other libraries, made to fit",
    "catalog": "what is available: models, layers, plugins",
    "zoo": "every class by its name",
    "pages": "models and attention as web pages",
    "cli": "the commands",
    "__main__": "`python -m registry`",
    "testing": "the conformance kit for plugins",
}
"""The rooms of the core, in order: a module imports only from its own room and those above it, also in functions."""

ROOMS = tuple(ORDER)

HEAVY = (
    "torch",
    "pluggy",
    "requests",
    "regex",
    "numpy",
    "attrs",
    "attr",
    "click",
    "safetensors",
    "sentencepiece",
    "rich",
)


def loaded_after(code: str) -> set[str]:
    """Names of the modules that a fresh interpreter has loaded after running ``code``."""
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint('\\n' + ' '.join(sys.modules))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(run.stdout.splitlines()[-1].split())


@cache
def modules() -> list[tuple[str, str, ast.Module]]:
    """Every module of the core: its name below ``registry``, the name's first part, and its source as a tree."""
    paths = {path.relative_to(CORE).with_suffix("").parts: path for path in sorted(CORE.rglob("*.py"))}
    return [
        (".".join(parts).removesuffix(".__init__"), parts[0], ast.parse(path.read_text("utf-8")))
        for parts, path in paths.items()
        if parts != ("__init__",)
    ]


def imports(tree: ast.Module) -> Iterator[str]:
    """The modules of ``registry`` that a module imports, wherever in it, by their names below ``registry``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "the core imports by full names"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.removeprefix("registry.") for name in names if name.startswith("registry."))


# --- In fresh processes -----------------------------------------------------------------------------------------------


def test_importing_the_registry_imports_nothing_else() -> None:
    added = loaded_after("import registry") - loaded_after("")
    assert added <= {"registry", "registry._version", *sys.builtin_module_names}
    assert not added & set(HEAVY)


def test_commands_that_compute_nothing_import_nothing_heavy() -> None:
    commands = (
        *("list", "info all-minilm-l6-v2", "config all-minilm-l6-v2", "tokenize all-minilm-l6-v2 a", "cache list"),
        *("search german --no-hub", "resolve gpt2", "env", "help pull", "completion bash"),
    )
    calls = "".join(f"main({command.split()!r}, standalone_mode=False)\n" for command in commands)
    assert not loaded_after(f"from registry.cli import main\n{calls}") & {
        "torch",
        "requests",
        "regex",
        "numpy",
        "safetensors",
        "sentencepiece",
        "rich",
        "jinja2",
    }


@pytest.mark.parametrize(
    "name", ["hookimpl", "Card", "plugins", "resolve", "list_models", "info", "load_config", "zoo"]
)
def test_names_that_need_no_weights_need_no_torch(name: str) -> None:
    assert "torch" not in loaded_after(f"import registry\nregistry.{name}")


def test_a_configuration_and_a_tokenizer_need_no_torch() -> None:
    code = "from registry.zoo import BertConfig, BertTokenizer\nBertConfig().to_json_string()"
    assert not loaded_after(code) & {"torch", "numpy", "requests"}


# --- Public names -----------------------------------------------------------------------------------------------------


def test_every_public_name_is_there() -> None:
    for name in registry.__all__:
        assert getattr(registry, name) is not None, name
    assert set(registry.__all__) <= set(dir(registry))
    assert not hasattr(registry, "no_such_name")
    with pytest.raises(ImportError):
        from registry import no_such_name  # noqa: F401


def test_type_checkers_see_the_public_names() -> None:
    tree = ast.parse((CORE / "__init__.py").read_text("utf-8"))
    seen = {
        alias.asname: str(node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("registry")
        for alias in node.names
    }
    assert seen == {**registry._MODULES, "zoo": "registry", "__version__": "registry._version"}


def test_no_public_name_is_also_the_name_of_a_module() -> None:
    """``import registry.x`` would put the module in place of the function; ``zoo`` is meant as the module."""
    rooms = {folder for _, folder, _ in modules()}
    assert rooms & set(registry.__all__) == {"zoo"}


# --- The source -------------------------------------------------------------------------------------------------------


def test_every_room_is_in_the_order() -> None:
    assert {folder for _, folder, _ in modules()} <= set(ORDER)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_those_above_it(room: str) -> None:
    wrong = [
        f"{name} imports {imported}"
        for name, folder, tree in modules()
        if folder == room
        for imported in imports(tree)
        if ROOMS.index(imported.partition(".")[0]) > ROOMS.index(room)
    ]
    assert not wrong, "\n".join(wrong)


def test_rooms_are_small() -> None:
    """At most a dozen loose modules, and some fourteen in a directory."""
    loose = list(CORE.glob("*.py"))
    assert len(loose) <= 12, loose
    sizes = Counter(path.parent for path in CORE.rglob("*.py") if path.name != "__init__.py")
    assert {str(folder): size for folder, size in sizes.items() if size > 14} == {}


def test_no_two_classes_share_a_name() -> None:
    """One word, one meaning: in the core and the first-party plugins together."""
    places = defaultdict(list)
    for path in sorted(CORE.parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{path.relative_to(CORE.parent)}:{node.lineno}")
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_the_core_names_no_plugin() -> None:
    plugin = re.compile(r"(?<![a-z])(bert|gpt|gpt2|openai|transfo|transformer_?xl)(?![a-z])", re.IGNORECASE)
    for name, _, tree in modules():
        for line, word in words(tree):
            word = re.sub("pytorch_pretrained_bert", "", word, flags=re.IGNORECASE)  # whose cache is read
            word = word.replace("sentence_bert_config", "")  # a file of sentence-transformers, whatever the model
            assert not plugin.search(word), f"{name}, line {line}: {word!r}"


def words(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every name and every text in the source, but docstrings, where plugins may be examples."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        for value in (
            getattr(node, field, None) for field in ("id", "attr", "arg", "name", "asname", "module", "value")
        ):
            if isinstance(value, str) and id(node) not in docstrings:
                yield getattr(node, "lineno", 0), value
