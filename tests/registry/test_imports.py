"""What importing costs and reaches: measured in fresh processes, and read from the source."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import registry

CORE = Path(registry.__file__).parent

ORDER = (
    *("collector", "errors", "numbers", "namespace", "records", "hookspecs", "harvest"),
    *("distributions", "installed", "card_file"),
    *("discovery", "resolution", "files", "fields", "config"),
    *("serialization", "tokenization", "weights", "inputs", "layers", "outputs", "generation", "loading", "model"),
    *("evaluation", "pretrained", "inspection", "conversion", "catalogue", "zoo", "probe", "pages", "cli", "__main__"),
    *("testing",),
)
"""A module imports only from those before it: DESIGN, section 3."""

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


def modules() -> Iterator[tuple[str, str, ast.Module]]:
    """Every module of the core: its name below ``registry``, the name's first part, and its source as a tree."""
    for path in sorted(CORE.rglob("*.py")):
        parts = path.relative_to(CORE).with_suffix("").parts
        if parts != ("__init__",):
            yield ".".join(parts).removesuffix(".__init__"), parts[0], ast.parse(path.read_text("utf-8"))


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
    assert added <= {"registry", *sys.builtin_module_names}
    assert not added & set(HEAVY)


def test_listing_on_the_command_line_imports_nothing_heavy() -> None:
    command = "from registry.cli import main\nmain(['list'], standalone_mode=False)"
    assert not loaded_after(command) & {
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
    assert seen == {**registry._MODULES, "zoo": "registry"}


def test_no_public_name_is_also_the_name_of_a_module() -> None:
    names = {name.partition(".")[0] for name, _, _ in modules()}
    assert names & set(registry.__all__) == {"zoo"}


# --- The source -------------------------------------------------------------------------------------------------------


def test_the_core_imports_only_downwards() -> None:
    for name, folder, tree in modules():
        for imported in imports(tree):
            above = imported.partition(".")[0]
            if above != "__version__":
                assert ORDER.index(above) <= ORDER.index(folder), f"{name} imports {imported}"


def test_the_core_names_no_plugin() -> None:
    plugin = re.compile(r"(?<![a-z])(bert|gpt|gpt2|openai|transfo|transformer_?xl)(?![a-z])", re.IGNORECASE)
    for name, _, tree in modules():
        for line, word in words(tree):
            word = re.sub("pytorch_pretrained_bert", "", word, flags=re.IGNORECASE)  # the ancestor's name
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
