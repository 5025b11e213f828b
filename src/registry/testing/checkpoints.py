"""The whole way: save, load by name, folder and in another process, and refuse what is damaged."""

import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from registry import discovery
from registry.errors import ConfigError, RegistryError, RegistryWarning, WeightsMismatchError
from registry.files.filenames import MANIFEST_NAME
from registry.hookspecs import hookimpl
from registry.loading import pretrained
from registry.records import Card, FileSpec, WeightLoaderSpec
from registry.testing.models import both, tensors_of
from registry.testing.suite import Suite, needs
from registry.weights import checkpoint

if TYPE_CHECKING:
    from registry.loading.model import Model

FORMATS = ("safetensors", "torch")
"""Formats in which every model is saved."""

DAMAGES: Mapping[str, Callable[[bytes], bytes]] = {
    "cut in half": lambda data: data[: len(data) // 2],
    "cut by a byte": lambda data: data[:-1],
    "emptied": lambda _data: b"",
    "replaced by an HTML page": lambda _data: b"<!DOCTYPE html><html><body>Not found</body></html>",
    "overwritten at the start": lambda data: b"\xff" * min(64, len(data)) + data[64:],
}
"""What happens to files, by what is then to be said of them."""

SPAWNED = """
import sys, pickle, torch, registry
folder, inputs, there = sys.argv[1:]
inputs = torch.load(inputs, weights_only=True)
loaded = registry.load(folder)
model, config = pickle.load(open(f"{folder}.pickle", "rb"))
with torch.inference_mode():
    outputs = [m(**inputs) for m in (loaded.model, model)]
assert loaded.config == config, "the pickled configuration differs"
torch.save([{f: v for f, v in zip(o._fields, o) if isinstance(v, torch.Tensor)} for o in outputs], there)
"""
"""What a fresh interpreter runs: it loads a folder, and a pickle, and computes."""


@pytest.mark.filterwarnings("ignore::registry.errors.RegistryWarning")  # of long rows, among others
class CheckpointSuite(Suite):
    """Saved models, as another program finds them."""

    # --- Save and load

    @pytest.mark.parametrize("weights_format", FORMATS)
    def test_a_saved_model_loads_with_equal_outputs(
        self, task: str, weights_format: Any, registry_folder: Path, request: pytest.FixtureRequest
    ) -> None:
        """``registry.load`` of the folder finds the class, every weight bit by bit, and the tokenizer."""
        model = self.make_model(task)
        tokenizer = None if "tokenizer" in self.lacks else request.getfixturevalue("registry_tokenizer")
        model.save_pretrained(registry_folder / "model", tokenizer=tokenizer, format=weights_format)
        loaded = pretrained.load(registry_folder / "model")
        assert type(loaded.model) is type(model), f"the folder is loaded as {type(loaded.model).__name__}"
        assert loaded.config == model.config
        assert set(loaded.report.loaded + loaded.report.tied) == set(model.state_dict()), f"{loaded.report}"
        self._assert_same(loaded.model, model, task)
        if tokenizer is not None:
            for text in self.texts:
                assert loaded.tokenizer.encode(text) == tokenizer.encode(text)

    def test_it_loads_in_half_precision(self, task: str, registry_folder: Path) -> None:
        """With ``dtype=torch.bfloat16`` every parameter has that type, and a forward pass works."""
        self.make_model(task).save_pretrained(registry_folder / "model")
        model = pretrained.load_model(registry_folder / "model", task, dtype=torch.bfloat16)
        assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
        for field, value in tensors_of(model(**self.make_inputs(task))):
            assert value.isfinite().all(), field

    def test_it_loads_by_name(self, registry_folder: Path) -> None:
        """A card that lists the files of a saved folder loads as the folder does."""
        task = self.main_task()
        model = self.make_model(task)
        folder = model.save_pretrained(registry_folder / "model")
        roles = {"config.json": "config", "model.safetensors": "weights"}
        files = tuple(
            FileSpec(role=role, filename=name, urls=(f"file:{folder / name}",)) for name, role in roles.items()
        )
        card = Card(name="conformance-tiny", architecture=self.architecture, task=task, files=files)
        with registered(card):
            loaded = pretrained.load("conformance-tiny")
        assert loaded.card is card
        self._assert_same(loaded.model, model, task)

    @pytest.mark.another_process
    def test_it_loads_and_unpickles_in_another_process(self, registry_folder: Path) -> None:
        """Workers are spawned: they find the plugin by its metadata, and its classes by their pickled names."""
        task = self.main_task()
        model, inputs = self.make_model(task), self.make_inputs(task)
        folder = model.save_pretrained(registry_folder / "model")
        folder.with_name("model.pickle").write_bytes(pickle.dumps((model, model.config)))
        torch.save(inputs, registry_folder / "inputs")
        there = registry_folder / "outputs"
        run = subprocess.run(  # noqa: S603  # this interpreter, and the program above
            [sys.executable, "-c", SPAWNED, str(folder), str(registry_folder / "inputs"), str(there)],
            env=spawned_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        for outputs in torch.load(there, weights_only=True):
            for field, value in tensors_of(model(**inputs)):
                self.assert_close(field, outputs[field], value)

    def _assert_same(self, one: "Model", other: "Model", task: str) -> None:
        """Both have the same weights, bit by bit, and so return the same numbers.

        A sum may differ in its last bit, since tensors that are mapped from a file lie otherwise in memory.
        """
        tensors = one.state_dict()
        for name, tensor in other.state_dict().items():
            assert torch.equal(tensors[name], tensor), f"{name} differs"
        inputs = self.make_inputs(task)
        with torch.inference_mode():
            for field, (found, wanted) in both(one(**inputs), other(**inputs)):
                self.assert_close(field, found, wanted)

    # --- Other heads

    def test_every_head_loads_from_the_trunk_alone(self, task: str, registry_folder: Path) -> None:
        """A head which the file lacks is drawn anew and reported; it is a whole part, and no part of the trunk."""
        if "base" not in [spec.task for spec in self.specs()]:
            pytest.skip("there is no model of the trunk alone")
        self.make_model("base").save_pretrained(registry_folder / "model")
        model = pretrained.load_model(registry_folder / "model", task)
        assert model.load_report is not None
        full = model.layout.in_full(list(model.state_dict()))
        for name in model.load_report.new:
            assert model.layout.part_of(full[name]), f"{name} belongs to no part, and was made up"
        assert all(parameter.isfinite().all() for parameter in model.parameters())

    # --- Refusals

    def test_no_weight_is_made_up(self, task: str, registry_folder: Path) -> None:
        """Without any one tensor of the trunk, or with half a head, loading is refused: no model is silently random."""
        model = self.make_model(task)
        folder = model.save_pretrained(registry_folder / "model")
        whole = model.state_dict()
        for name in whole:
            if not _may_be_missed(model, name):
                rest = {key: tensor for key, tensor in whole.items() if key != name}
                with refused(WeightsMismatchError, f"the model was loaded without {name}"):
                    type(model).from_pretrained(folder, state_dict=rest)

    def test_no_weight_is_passed_over(self, task: str, registry_folder: Path) -> None:
        """A tensor that the model does not know, or of another shape, is refused."""
        model = self.make_model(task)
        folder = model.save_pretrained(registry_folder / "model")
        whole = model.state_dict()
        name = next(iter(whole))
        for wrong in ({"no_such.weight": torch.zeros(1)}, {name: whole[name][..., :-1]}):
            with refused(WeightsMismatchError, f"the model was loaded with another {next(iter(wrong))}"):
                type(model).from_pretrained(folder, state_dict={**whole, **wrong})

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_damaged_weights_are_refused(self, damage: str, registry_folder: Path) -> None:
        """By an error of the registry's tree, whatever a parser raises; in every format that is read."""
        task = self.main_task()
        model = self.make_model(task)
        for number, (name, write) in enumerate(self._formats()):
            folder = registry_folder / str(number)
            write(model, folder)
            (folder / MANIFEST_NAME).unlink(missing_ok=True)
            self._assert_same(pretrained.load_model(folder, task), model, task)
            for path in sorted(folder.iterdir()):
                if path.name != "config.json":
                    with damaged(path, DAMAGES[damage]):
                        self._refuses_or_is_right(folder, task, model, f"{name}: {path.name}, {damage}")

    def _refuses_or_is_right(self, folder: Path, task: str, model: Any, what: str) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RegistryWarning)
                loaded = pretrained.load_model(folder, task)
        except RegistryError:
            return
        except Exception as problem:  # noqa: BLE001  # of a type that no caller expects
            pytest.fail(f"{what}: {type(problem).__name__} instead of an error of the registry: {problem}")
        try:
            self._assert_same(loaded, model, task)
        except AssertionError:
            pytest.fail(f"{what}: loaded with other numbers")

    def _formats(self) -> "Iterator[tuple[str, Callable[[Any, Path], Any]]]":
        """Every format that is written, or that this plugin alone reads; and what writes a folder in it."""
        for name in FORMATS:
            yield name, partial(_save, format=name)
        of_core = {spec.format for spec in checkpoint.FORMATS}  # damaged in its own tests; a plugin only adds names
        for record in discovery.records(self.plugin):
            if not isinstance(record, WeightLoaderSpec) or record.format in of_core:
                continue
            if record.architecture in ("*", self.architecture):
                yield record.format, partial(self._write, format=record.format)

    def _write(self, model: Any, folder: Path, *, format: str) -> None:
        folder.mkdir()
        model.config.to_json_file(folder / "config.json")
        self.write_checkpoint(format, model, folder)

    @pytest.mark.parametrize("text", ["", "{", "[]", "\x00", '{"vocab_size": NaN}'])
    def test_a_damaged_configuration_is_refused(self, text: str, registry_folder: Path) -> None:
        """By a ConfigError, when the folder is loaded as this architecture."""
        (registry_folder / "config.json").write_text(text)
        with pytest.raises(ConfigError):
            discovery.load_class(self.config_spec()).from_pretrained(registry_folder)

    @needs("tokenizer")
    @pytest.mark.parametrize("damage", ["emptied", "replaced by bytes that are no text"])
    def test_a_damaged_vocabulary_is_refused(
        self, damage: str, registry_folder: Path, request: pytest.FixtureRequest
    ) -> None:
        """By an error of the registry's tree, for each file that the tokenizer writes."""
        tokenizer = request.getfixturevalue("registry_tokenizer")
        tokenizer.save_pretrained(registry_folder)
        data = b"" if damage == "emptied" else b"\xff\xfe\x00\x80" * 16
        vocabulary = next(iter(tokenizer.files()))
        for path in (registry_folder / vocabulary, registry_folder / "tokenizer_config.json"):
            with damaged(path, lambda _: data), refused(RegistryError, f"{path.name} was read, although {damage}"):
                type(tokenizer).from_pretrained(registry_folder)


# --- What the checks share --------------------------------------------------------------------------------------------


@contextmanager
def refused(error: type[RegistryError], otherwise: str) -> Iterator[None]:
    """Expect an error; fail with the words of ``otherwise`` where there is none."""
    try:
        yield
    except error:
        return
    pytest.fail(otherwise)


@contextmanager
def damaged(path: Path, damage: Callable[[bytes], bytes]) -> Iterator[None]:
    """Have a file damaged for a while; the same bytes stand there again afterwards, in a new file."""
    data = path.read_bytes()
    path.unlink()  # what has been mapped from it stays whole
    path.write_bytes(damage(data))
    try:
        yield
    finally:
        path.unlink()
        path.write_bytes(data)


def _save(model: Any, folder: Path, *, format: Any) -> None:
    model.save_pretrained(folder, format=format)


@contextmanager
def registered(card: Card) -> Iterator[None]:
    """Have a card declared for a while, by a plugin of its own."""
    name = f"conformance of {card.architecture}"
    discovery.register(SimpleNamespace(registry_cards=hookimpl(lambda: (card,))), name)
    try:
        yield
    finally:
        discovery.unregister(name)


def spawned_environment() -> dict[str, str]:
    """The environment of a process that finds the same distributions as this one."""
    import os

    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _may_be_missed(model: Any, name: str) -> bool:
    """Whether a file without this one tensor is still complete: it is tied to another, or a whole part by itself."""
    tensors, layout = model.state_dict(), model.layout
    full = layout.in_full(list(tensors))
    part = layout.part_of(full[name])
    alone = part is not None and [layout.part_of(other) for other in full.values()].count(part) == 1
    return alone or [tensor.data_ptr() for tensor in tensors.values()].count(tensors[name].data_ptr()) > 1
