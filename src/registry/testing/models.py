"""Checks of the model: outputs, gradients, padding, caching, and the names of its parameters."""

import copy
from collections.abc import Iterator, Mapping
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from registry import discovery
from registry.formatting import first_of
from registry.generation import CausalModel
from registry.loading.meta import build
from registry.loading.slots import shared_names, slots_of
from registry.nn.outputs import Output
from registry.records import OUTPUTS
from registry.testing.inputs import (
    TASKS_WITH_CHOICES,
    TOKENS,
    expected_shapes,
    padded,
    padding_id,
    random_ids,
    seeded,
)
from registry.testing.suite import Suite, needs
from registry.weights.matching import translate_names

if TYPE_CHECKING:
    from registry.loading.model import Model
    from registry.testing.recorded import RecordedWeights

PREFIX = 4
"""Tokens that a causal model reads at once, before it continues one by one."""


class ModelSuite(Suite):
    """Each model class, built from the tiny configuration with random weights."""

    # --- Outputs

    def test_outputs_have_the_fields_and_shapes_of_the_task(self, task: str) -> None:
        """A record or a named tuple with the usual field names; ``loss`` is a finite number with labels, else None."""
        model, inputs = self.make_model(task), self.make_inputs(task)
        output = model(**inputs)
        assert fields_of(output), f"{type(output).__name__} is not a record of registry.nn.outputs, nor a named tuple"
        promised = self.model_spec(task).outputs or OUTPUTS.get(task, {})
        for field, wanted in expected_shapes(promised, inputs, model.config).items():
            assert getattr(output, field, None) is not None, f"{type(output).__name__} has no {field}"
            found = tuple(getattr(output, field).shape)
            assert len(found) == len(wanted), f"{field} has the shape {found}, not {wanted}"
            assert all(w in (-1, f) for f, w in zip(found, wanted, strict=True)), f"{field}: {found}, not {wanted}"
        labels = self.make_labels(task, inputs)
        if labels:
            assert next(iter(fields_of(output))) == "loss", "loss must be the first field"
            assert output.loss is None, "there is a loss without labels"
            loss = model(**inputs, **labels)[0]
            assert loss.shape == (), "loss is not a scalar"
            assert loss.isfinite()

    def test_evaluation_is_deterministic(self, task: str) -> None:
        """The same input gives bit-equal outputs: no dropout, no state, no seed."""
        model, inputs = self.make_model(task), self.make_inputs(task)
        for field, (first, second) in both(model(**inputs), model(**inputs)):
            assert torch.equal(first, second), f"{field} differs from one call to the next"

    def test_building_it_twice_gives_the_same_weights(self, task: str) -> None:
        """Random weights come from torch's global generator alone, so that a seed fixes them."""
        cls: type[Model] = discovery.load_class(self.model_spec(task))
        models = []
        for _ in range(2):
            with seeded():
                models.append(cls(self.make_config()))
        for (name, one), other in zip(models[0].state_dict().items(), models[1].state_dict().values(), strict=True):
            assert torch.equal(one, other), f"{name} differs"

    def test_every_parameter_is_initialized(self, task: str) -> None:
        """``init_module`` fills every parameter of its module: loading calls it for newly initialized heads."""
        model = self.make_model(task)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(torch.nan)
            model.init_weights()
        left = [name for name, parameter in model.named_parameters() if not parameter.isfinite().all()]
        assert not left, f"init_module does not initialize {', '.join(left)}"

    def test_a_constructed_model_is_initialized(self, task: str) -> None:
        """Its constructors end with ``init_weights``: training from scratch begins with the values of the paper."""
        cls: type[Model] = discovery.load_class(self.model_spec(task))
        initialized: list[torch.nn.Module] = []
        built = build(lambda: cls(self.make_config()))
        with pytest.MonkeyPatch.context() as patch:
            for owner in _classes_with(built, "init_module"):
                patch.setattr(owner, "init_module", _noting(vars(owner)["init_module"], initialized))
            model = cls(self.make_config())
        reached = {id(parameter) for module in initialized for parameter in module._parameters.values()}
        left = [name for name, parameter in model.named_parameters() if id(parameter) not in reached]
        assert not left, (
            f"{first_of(left, 5)} have the initial values of torch, since no constructor calls init_module for them: "
            f"end the constructor of {cls.__name__} with self.init_weights()"
        )

    def test_gradients_reach_every_parameter(self, task: str) -> None:
        """In training mode, from the loss or, for a task without labels, from all outputs."""
        model, inputs = self.make_model(task).train(), self.make_inputs(task)
        labels = self.make_labels(task, inputs)
        fields = dict(tensors_of(model(**inputs, **labels)))
        losses = [value for field, value in fields.items() if "loss" in field and value.dim() == 0]
        sum(losses or [(value * torch.randn_like(value)).sum() for value in fields.values()]).backward()  # type: ignore[union-attr]
        lost = [name for name, parameter in model.named_parameters() if parameter.grad is None]
        assert not lost, f"no gradient reaches {', '.join(lost)}"
        odd = [name for name, parameter in model.named_parameters() if not parameter.grad.isfinite().all()]  # type: ignore[union-attr]
        assert not odd, f"the gradient of {', '.join(odd)} is not finite"

    # --- Padding

    @needs("padding")
    def test_padding_on_the_right_changes_nothing(self, task: str) -> None:
        """A sequence in a padded batch has the outputs that it has alone."""
        self._compare_with_each_sequence_alone(task, "right")

    @needs("padding", "left-padding")
    def test_padding_on_the_left_changes_nothing(self, task: str) -> None:
        """The same for padding on the left, as in generation."""
        self._compare_with_each_sequence_alone(task, "left")

    @needs("padding")
    def test_a_sequence_of_padding_alone_has_finite_outputs(self, task: str) -> None:
        """A softmax over no tokens would be NaN and spread to the whole batch through the loss."""
        model, inputs = self.make_model(task), self._texts(task)
        mask = torch.ones_like(inputs["input_ids"])
        mask[0] = 0
        for field, value in tensors_of(model(**inputs, attention_mask=mask)):
            assert value.isfinite().all(), f"{field} is not finite"

    def _compare_with_each_sequence_alone(self, task: str, side: str) -> None:
        model, inputs = self.make_model(task), self._texts(task)
        ids, mask = padded(inputs["input_ids"], side, padding_id(model.config))
        batch = dict(tensors_of(model(**{**inputs, "input_ids": ids}, attention_mask=mask)))
        lead = ids.shape[:-1]
        for index in product(*map(range, lead)):
            tokens = mask[index].bool()
            sequence = {key: _of_one(x, index, tokens if x.shape == ids.shape else None) for key, x in inputs.items()}
            for field, alone in tensors_of(model(**sequence)):
                value = batch[field]
                if value.shape[: ids.dim()] == ids.shape:
                    found, wanted = value[index][tokens], alone[(0,) * len(lead)]
                elif value.shape[: len(lead)] == lead and alone.shape[: len(lead)] == (1,) * len(lead):
                    found, wanted = value[index], alone[(0,) * len(lead)]
                else:
                    continue
                self.assert_close(f"{field} of sequence {index}", found, wanted)

    def _texts(self, task: str) -> dict[str, Tensor]:
        inputs = self.make_inputs(task)
        if "input_ids" not in inputs:
            pytest.skip(f"the inputs of {task!r} are {', '.join(inputs)}: no texts, which could be padded")
        return inputs

    # --- Caching and generation

    @needs("cache")
    def test_a_cache_changes_no_score(self, causal_task: str) -> None:
        """``score`` with a cache, for chunks of any length, equals the logits of ``forward`` for all tokens at once."""
        model, ids = self._causal(causal_task), self._ids(causal_task)
        full = self._logits(model, causal_task, ids)
        with torch.inference_mode():
            cache = model.new_cache(len(ids), TOKENS)
            last = 0
            for stop in (PREFIX, PREFIX + 1, PREFIX + 2, TOKENS):
                scores = model.score(ids[:, last:stop], cache)
                self.assert_close(f"the score after {stop} tokens", scores, full[:, stop - 1])
                last = stop

    @needs("cache")
    def test_greedy_generation_follows_the_logits(self, causal_task: str) -> None:
        """Greedy decoding with a cache takes the most likely token of ``forward`` without a cache at each step."""
        model, ids = self._causal(causal_task), self._ids(causal_task)[:, :PREFIX]
        generated = model.generate(ids, max_new_tokens=TOKENS - PREFIX, eos_token_id=())  # it need not end early
        for _ in range(TOKENS - PREFIX):
            ids = torch.cat([ids, self._logits(model, causal_task, ids)[:, -1:].argmax(-1)], dim=1)
        assert generated.tolist() == ids.tolist()

    def _causal(self, task: str) -> Any:
        model = self.make_model(task)
        assert isinstance(model, CausalModel), (
            f"{type(model).__name__} has no context_size, new_cache and score (registry.generation.CausalModel)"
        )
        return model

    def _ids(self, task: str) -> Tensor:
        """Ids ``(batch, tokens)``, for a task with choices too."""
        return random_ids(self.make_config(), "causal-lm" if task in TASKS_WITH_CHOICES else task)

    @torch.inference_mode()
    def _logits(self, model: Any, task: str, ids: Tensor) -> Tensor:
        logits: Tensor = model(ids[:, None] if task in TASKS_WITH_CHOICES else ids).logits
        return logits[:, 0] if task in TASKS_WITH_CHOICES else logits

    # --- Names of parameters

    def test_names_of_weights_do_not_change_by_use(self, task: str) -> None:
        """A call, training, a copy and another dtype leave the names as they are: they are the interchange format."""
        model, inputs = self.make_model(task), self.make_inputs(task)
        names = list(model.state_dict())
        sum(x.sum() for _, x in tensors_of(model.train()(**inputs))).backward()  # type: ignore[union-attr]
        model.eval()(**inputs)
        assert list(model.state_dict()) == names, "a call changed them"
        assert list(copy.deepcopy(model).double().state_dict()) == names, "those of a copy differ"
        assert list(type(model)(self.make_config()).state_dict()) == names, "those of another model of the class differ"

    def test_names_of_weights_are_those_that_were_published(
        self, task: str, registry_recorded: "RecordedWeights"
    ) -> None:
        """Nor do their shapes change, once ``pytest --record-weights`` has recorded them next to the suite."""
        state = self.make_model(task).published_weights()
        found = {name: "x".join(map(str, tensor.shape)) or "scalar" for name, tensor in state.items()}
        if registry_recorded.renew:
            registry_recorded.write(found)
        recorded = registry_recorded.read()
        if not recorded:
            name = registry_recorded.path.name
            pytest.skip(f"nothing is recorded for {task!r}: run `pytest --record-weights`, and commit {name}")
        changes = [f"{name} ({shape}) is missing" for name, shape in recorded.items() if name not in found]
        changes += [f"{name} ({shape}) is new" for name, shape in found.items() if name not in recorded]
        changes += [
            f"{name} was {recorded[name]} and is {shape}"
            for name, shape in found.items()
            if recorded.get(name, shape) != shape
        ]
        assert not changes, (
            f"checkpoints saved earlier would no longer load: {'; '.join(changes)}. "
            "A renamed weight needs a row in the layout's NameTable, from the old name to the new one; after that, or "
            "after a change of the tiny configuration, record them again: `pytest --record-weights`."
        )

    def test_tied_weights_are_named_by_the_layout(self, task: str) -> None:
        """A parameter under two names is one of ``Layout.ties``; else saving writes it twice, and loading unties it."""
        model = self.make_model(task)
        full = model.layout.in_full(list(model.state_dict()))
        for group in shared_names(slots_of(model)):
            names = {full[name] for name in group if name in full}
            assert any(names <= {*tie} for tie in model.layout.ties), (
                f"{' and '.join(sorted(names))} are one parameter: name them in Layout.ties, "
                f"ties=({tuple(sorted(names))},)"
            )

    def test_rows_that_gather_or_part_have_their_inverses(self, task: str) -> None:
        """What a row of ``gathered``, ``parted`` or ``renamed`` makes is in the model, and is the same after saving."""
        model = self.make_model(task)
        rules, tensors = model.layout.names.rules, model.state_dict()
        published, full = model.published_weights(), model.layout.in_full(tensors)
        unused = [str(rule) for rule in rules if not model.layout.names.uses(rule, full.values())]
        assert not unused, f"{'; '.join(unused)}: no weight of {type(model).__name__} has a name on its right side"
        sources = translate_names(published, None, model.layout).sources
        for name, tensor in tensors.items():
            assert full[name] in sources, f"{name} is written, and not found again"
            assert torch.equal(sources[full[name]].read(published), tensor), f"{name} is another after saving"

    def test_its_constructor_computes_nothing(self, task: str) -> None:
        """It allocates parameters with ``torch.empty`` or as constants, so that loading can skip even that."""
        cls: type[Model] = discovery.load_class(self.model_spec(task))
        built = build(lambda: cls(self.make_config())).named_parameters()
        computed = [name for name, tensor in built if not tensor.is_meta and not (tensor == tensor.flatten()[0]).all()]
        assert not computed, f"initialized or computed in the constructor: {', '.join(computed)}"


def _of_one(x: Tensor, index: tuple[int, ...], tokens: Tensor | None) -> Tensor:
    """The input of one sequence, as a batch of one; its tokens alone, where the input has one value for each."""
    one = x[index] if tokens is None else x[index][tokens]
    return one.view(*[1] * len(index), *one.shape)


def _classes_with(model: torch.nn.Module, method: str) -> set[type]:
    """The classes of a model, and of the models inside of it, that define a method."""
    from registry.loading.model import Model

    models = {type(module) for module in model.modules() if isinstance(module, Model)}
    return {owner for cls in models for owner in cls.__mro__ if owner is not Model and method in vars(owner)}


def _noting(init_module: Any, modules: list[torch.nn.Module]) -> Any:
    """The same method, which notes the modules that it is called for."""

    def noting(self: Any, module: torch.nn.Module) -> None:
        modules.append(module)
        init_module(self, module)

    return noting


def fields_of(output: Any) -> dict[str, Any]:
    """All fields of an output, in their order; none where it is of no kind that has names."""
    names = output.field_names if isinstance(output, Output) else getattr(output, "_fields", ())
    return {name: getattr(output, name) for name in names}


def tensors_of(output: Any) -> Iterator[tuple[str, Tensor]]:
    """The floating-point tensors of an output, by field."""
    for field, value in fields_of(output).items():
        if isinstance(value, Tensor) and value.is_floating_point():
            yield field, value


def both(one: Any, other: Any) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    """The tensors of two outputs, paired by field."""
    fields: Mapping[str, Tensor] = dict(tensors_of(other))
    for field, value in tensors_of(one):
        yield field, (value, fields[field])
