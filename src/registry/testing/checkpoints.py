"""Checks of saving and loading: by directory, by name, in another process, and with damaged files."""

import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
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
from registry.testing.ranks import RankPool
from registry.testing.suite import Suite, needs
from registry.tokenization.base import Tokenizer
from registry.weights import checkpoint

if TYPE_CHECKING:
    from registry.loading.model import Model
    from registry.tokenization.load import Processor

SAVED_FORMATS = ("safetensors", "torch")
"""Formats in which every model can be saved."""

DAMAGES: Mapping[str, Callable[[bytes], bytes]] = {
    "cut in half": lambda data: data[: len(data) // 2],
    "cut by a byte": lambda data: data[:-1],
    "emptied": lambda _data: b"",
    "replaced by an HTML page": lambda _data: b"<!DOCTYPE html><html><body>Not found</body></html>",
    "overwritten at the start": lambda data: b"\xff" * min(64, len(data)) + data[64:],
}
"""Kinds of damage: the description, and the function from the file's bytes to the damaged ones."""


@pytest.mark.filterwarnings("ignore::registry.errors.RegistryWarning")  # of long sequences, among others
class CheckpointSuite(Suite):
    """Saved models, as another program loads them."""

    # --- Save and load

    @pytest.mark.parametrize("weights_format", SAVED_FORMATS)
    def test_a_saved_model_loads_with_equal_outputs(
        self, task: str, weights_format: Any, registry_directory: Path, request: pytest.FixtureRequest
    ) -> None:
        """``registry.load`` of the directory restores the class, bit-equal weights, and the tokenizer."""
        model = self.make_model(task)
        _check_ties(model)
        tokenizer = request.getfixturevalue("registry_tokenizer") if self.has_processor() else None
        model.save_pretrained(registry_directory / "model", tokenizer=tokenizer, format=weights_format)
        loaded = pretrained.load(registry_directory / "model")
        assert type(loaded.model) is type(model), f"the directory is loaded as {type(loaded.model).__name__}"
        assert loaded.config == model.config
        assert set(loaded.report.loaded + loaded.report.tied) == set(model.state_dict()), f"{loaded.report}"
        self._assert_same(loaded.model, model, task)
        if isinstance(tokenizer, Tokenizer):
            for text in self.texts:
                assert loaded.tokenizer.encode(text) == tokenizer.encode(text)
        elif tokenizer is not None:
            assert _contents(loaded.processor) == _contents(tokenizer), "the processor of the directory is another one"

    def test_it_loads_in_half_precision(self, task: str, registry_directory: Path) -> None:
        """With ``dtype=torch.bfloat16`` every parameter has that dtype, and a forward pass is finite."""
        self.make_model(task).save_pretrained(registry_directory / "model")
        model = pretrained.load_model(registry_directory / "model", task, dtype=torch.bfloat16)
        assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
        inputs = {key: x.bfloat16() if x.is_floating_point() else x for key, x in self.make_inputs(task).items()}
        for field, value in tensors_of(model(**inputs)):
            assert value.isfinite().all(), field

    def test_it_loads_by_name(self, registry_directory: Path) -> None:
        """A card that lists the files of a saved directory loads as the directory does."""
        task = self.main_task()
        model = self.make_model(task)
        directory = model.save_pretrained(registry_directory / "model")
        roles = {"config.json": "config", "model.safetensors": "weights"}
        files = tuple(
            FileSpec(role=role, filename=name, urls=(f"file:{directory / name}",)) for name, role in roles.items()
        )
        card = Card(name="conformance-tiny", architecture=self.architecture, task=task, files=files)
        with registered(card):
            loaded = pretrained.load("conformance-tiny")
        assert loaded.card is card
        self._assert_same(loaded.model, model, task)

    @pytest.mark.another_process
    def test_it_loads_and_unpickles_in_another_process(self, registry_directory: Path) -> None:
        """As a spawned worker: the plugin is found by its metadata, its classes by their pickled names."""
        task = self.main_task()
        model, inputs = self.make_model(task), self.make_inputs(task)
        directory = model.save_pretrained(registry_directory / "model")
        pickled = pickle.dumps((model, model.config))
        process = RankPool(1)
        try:
            (found,) = process.run("registry.testing.on_ranks:loaded_and_unpickled", str(directory), pickled, inputs)
        finally:
            process.close()
        for outputs in found:
            for field, value in tensors_of(model(**inputs)):
                self.assert_close(field, outputs[field], value)

    def _assert_same(self, one: "Model", other: "Model", task: str) -> None:
        """Assert that both have bit-equal weights and, up to ``tolerance``, equal outputs.

        A sum may differ in its last bit, since mapped tensors are aligned differently in memory.
        """
        tensors = one.state_dict()
        for name, tensor in other.state_dict().items():
            assert torch.equal(tensors[name], tensor), f"{name} differs"
        inputs = self.make_inputs(task)
        with torch.inference_mode():
            for field, (found, wanted) in both(one(**inputs), other(**inputs)):
                self.assert_close(field, found, wanted)

    # --- Newly initialized heads

    def test_every_head_loads_from_the_base_model(self, task: str, registry_directory: Path) -> None:
        """A head that the file does not have is initialized and reported; it is a declared part, never the backbone."""
        if "base" not in discovery.architecture(self.architecture).models:
            pytest.skip("there is no base model")
        base, head = self.make_model("base"), self.make_model(task)
        prefix = head.layout.prefix
        if not {*base.state_dict()} & {*head.state_dict()}:
            assert any(name.startswith(prefix) for name in head.state_dict()), (
                f"Layout.prefix is {prefix!r}, with which no weight of {type(head).__name__} begins"
            )
        base.save_pretrained(registry_directory / "model")
        model = pretrained.load_model(registry_directory / "model", task)
        assert model.load_report is not None
        full = model.layout.in_full(list(model.state_dict()))
        for name in model.load_report.new:
            assert model.layout.part_of(full[name]), f"{name} is in no declared part, but was initialized"
        assert all(parameter.isfinite().all() for parameter in model.parameters())

    # --- Refusals

    def test_a_missing_weight_is_refused(self, task: str, registry_directory: Path) -> None:
        """Without any one tensor of the backbone, or with a partial head, loading is an error."""
        model = self.make_model(task)
        directory = model.save_pretrained(registry_directory / "model")
        state = model.state_dict()
        for name in state:
            if not _may_be_missing(model, name):
                rest = {key: tensor for key, tensor in state.items() if key != name}
                with refused(WeightsMismatchError, f"the model was loaded without {name}"):
                    type(model).from_pretrained(directory, state_dict=rest)

    def test_an_unexpected_weight_is_refused(self, task: str, registry_directory: Path) -> None:
        """A tensor of an unknown name, or of another shape, is an error."""
        model = self.make_model(task)
        directory = model.save_pretrained(registry_directory / "model")
        state = model.state_dict()
        name = next(iter(state))
        for wrong in ({"no_such.weight": torch.zeros(1)}, {name: state[name][..., :-1]}):
            with refused(WeightsMismatchError, f"the model was loaded with a wrong {next(iter(wrong))}"):
                type(model).from_pretrained(directory, state_dict={**state, **wrong})

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_damaged_weights_are_refused(self, damage: str, registry_directory: Path) -> None:
        """With a RegistryError, whatever a parser raises; in every format."""
        task = self.main_task()
        model = self.make_model(task)
        for number, (name, write) in enumerate(self._formats()):
            directory = registry_directory / str(number)
            write(model, directory)
            (directory / MANIFEST_NAME).unlink(missing_ok=True)
            self._assert_same(pretrained.load_model(directory, task), model, task)
            for path in sorted(directory.iterdir()):
                if path.name != "config.json":
                    with damaged(path, DAMAGES[damage]):
                        self._assert_refused_or_equal(directory, task, model, f"{name}: {path.name}, {damage}")

    def _assert_refused_or_equal(self, directory: Path, task: str, model: Any, what: str) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RegistryWarning)
                loaded = pretrained.load_model(directory, task)
        except RegistryError:
            return
        except Exception as problem:  # noqa: BLE001  # the type is what is tested
            pytest.fail(f"{what}: {type(problem).__name__} instead of a RegistryError: {problem}")
        try:
            self._assert_same(loaded, model, task)
        except AssertionError:
            pytest.fail(f"{what}: loaded with other weights")

    def _formats(self) -> "Iterator[tuple[str, Callable[[Any, Path], Any]]]":
        """The formats of the core and of this plugin, each with a function that writes a directory in it."""
        for name in SAVED_FORMATS:
            yield name, partial(_save, format=name)
        of_core = {
            spec.format for spec in checkpoint.FORMATS
        }  # tested with damage by the core itself; a plugin only adds names
        for record in discovery.records(self.plugin):
            if not isinstance(record, WeightLoaderSpec) or record.format in of_core:
                continue
            if record.architecture in ("*", self.architecture):
                yield record.format, partial(self._write, format=record.format)

    def _write(self, model: Any, directory: Path, *, format: str) -> None:
        directory.mkdir()
        model.config.to_json_file(directory / "config.json")
        self.write_checkpoint(format, model, directory)

    @pytest.mark.parametrize("text", ["", "{", "[]", "\x00", '{"vocab_size": NaN}'])
    def test_a_damaged_configuration_is_refused(self, text: str, registry_directory: Path) -> None:
        """With a ConfigError, when the directory is loaded as this architecture."""
        (registry_directory / "config.json").write_text(text)
        with pytest.raises(ConfigError):
            discovery.load_class(self.config_spec()).from_pretrained(registry_directory)

    @needs("tokenizer")
    @pytest.mark.parametrize("damage", ["emptied", "replaced by bytes that are not text"])
    def test_a_damaged_vocabulary_is_refused(
        self, damage: str, registry_directory: Path, request: pytest.FixtureRequest
    ) -> None:
        """With a RegistryError, for each file that the tokenizer, or another processor, writes."""
        if not self.has_processor():
            pytest.skip(f"{self.plugin} declares no tokenizer for {self.architecture}")
        processor = request.getfixturevalue("registry_tokenizer")
        data = b"" if damage == "emptied" else b"\xff\xfe\x00\x80" * 16
        names = list(processor.files())
        if isinstance(processor, Tokenizer):
            names = [names[0], "tokenizer_config.json"]
            processor.save_pretrained(registry_directory)
        else:
            for name, write in processor.files().items():
                write(registry_directory / name)
        for path in [registry_directory / name for name in names]:
            with damaged(path, lambda _: data), refused(RegistryError, f"{path.name} was read although {damage}"):
                self._read_processor(type(processor), registry_directory)

    def _read_processor(self, cls: Any, directory: Path) -> None:
        if issubclass(cls, Tokenizer):
            cls.from_pretrained(directory)
        else:
            cls.from_files({path.name: path for path in sorted(directory.iterdir())})


# --- Shared helpers --------------------------------------------------------------------------------------------


@contextmanager
def refused(error: type[RegistryError], otherwise: str) -> Iterator[None]:
    """Expect an error; fail with the message ``otherwise`` where there is none."""
    try:
        yield
    except error:
        return
    pytest.fail(otherwise)


@contextmanager
def damaged(path: Path, damage: Callable[[bytes], bytes]) -> Iterator[None]:
    """A context in which a file is damaged; its bytes are restored afterwards, in a new file."""
    data = path.read_bytes()
    path.unlink()  # mappings of the file keep their bytes
    path.write_bytes(damage(data))
    try:
        yield
    finally:
        path.unlink()
        path.write_bytes(data)


def _contents(processor: "Processor") -> dict[str, bytes]:
    """The files of a processor, as they are written."""
    with TemporaryDirectory() as directory:
        for name, write in processor.files().items():
            write(Path(directory, name))
        return {path.name: path.read_bytes() for path in Path(directory).iterdir()}


def _save(model: Any, directory: Path, *, format: Any) -> None:
    model.save_pretrained(directory, format=format)


@contextmanager
def registered(card: Card) -> Iterator[None]:
    """A context in which a plugin that declares this card is registered."""
    name = f"conformance of {card.architecture}"
    discovery.register(SimpleNamespace(registry_cards=hookimpl(lambda: (card,))), name)
    try:
        yield
    finally:
        discovery.unregister(name)


def _check_ties(model: Any) -> None:
    """Fail where names that the layout ties are two parameters."""
    tensors = model.state_dict()
    for names in model.layout.ties:
        found = [name for name, full in model.layout.in_full(list(tensors)).items() if full in names]
        assert len({tensors[name].data_ptr() for name in found}) <= 1, (
            f"Layout.ties says that {' and '.join(found)} are one parameter, and {type(model).__name__} has several: "
            "tie them in its constructor, or leave them out"
        )


def _may_be_missing(model: Any, name: str) -> bool:
    """Whether a file without this tensor is complete: it is tied to another, or is a complete part by itself."""
    tensors, layout = model.state_dict(), model.layout
    full = layout.in_full(list(tensors))
    part = layout.part_of(full[name])
    alone = part is not None and [layout.part_of(other) for other in full.values()].count(part) == 1
    return alone or [tensor.data_ptr() for tensor in tensors.values()].count(tensors[name].data_ptr()) > 1
