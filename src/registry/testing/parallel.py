"""Checks of the parallel plan: two processes that share a model compute what one does."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

import registry
from registry import discovery
from registry.loading.meta import build
from registry.sharding.assignment import assignments, blocks_of, plan_of, rules_of
from registry.testing.on_ranks import numbers
from registry.testing.suite import Suite

if TYPE_CHECKING:
    from registry.loading.model import Model
    from registry.testing.ranks import RankPool

PROCESSES = 2
"""Processes that share a model here."""
MOST = 0.9
"""The most that a process may have of a tiny model, as a share of all elements."""


class ParallelSuite(Suite):
    """The plan by which processes share a model, on two processes that the kit starts.

    An architecture without a plan is not checked.
    """

    def test_its_plan_fits(self, task: str) -> None:
        """Each rule names modules of this class, or of a part that it lacks; two processes can share each of them."""
        model = self._built(task)
        assert assignments(model, PROCESSES if plan_of(model).rules else 1)
        assert blocks_of(model), "no module is gathered alone: the plan names no blocks, or all share parameters"

    def test_every_rule_of_its_plan_is_used(self) -> None:
        """Each rule names a module in the class of some task."""
        models = [self._built(spec.task) for spec in self.specs()]
        used = {rule for model in models for rule in rules_of(model).values()}
        unused = [str(rule) for rule in plan_of(models[0]).rules if rule not in used]
        assert not unused, f"no class has a module for {', '.join(unused)}"

    @pytest.mark.another_process
    @pytest.mark.parametrize("way", ["tp", "fsdp"])
    def test_two_processes_compute_what_one_does(
        self, task: str, way: str, registry_ranks: "RankPool", registry_directory: Path
    ) -> None:
        """Loaded divided, a model has the same outputs, gradients, losses and ids, and is saved bit by bit."""
        if way == "tp" and not plan_of(self._built(task)).rules:
            pytest.skip("the plan says nothing of layers")
        self._built(task)
        registry.save(self.make_model(task), registry_directory)
        inputs = self.make_inputs(task)
        labels = self.make_labels(task, inputs)
        model = registry.load_model(registry_directory, task)
        wanted = numbers(registry.load_model(registry_directory, task), inputs, labels)
        saved = registry_directory.with_name(f"saved-{way}")
        for found in registry_ranks.run(
            "registry.testing.on_ranks:divided", str(registry_directory), task, way, inputs, labels, str(saved)
        ):
            self._compare(found, model, inputs, way)
            self._compare_numbers(found, wanted)
        for name in ("model.safetensors", "config.json"):
            same = (saved / name).read_bytes() == (registry_directory / name).read_bytes()
            assert same, f"{name} is another one when two processes save it"

    def _built(self, task: str) -> "Model":
        cls: type[Model] = discovery.load_class(self.model_spec(task))
        if cls.parallel_plan is None:
            pytest.skip(f"{cls.__name__} has no parallel plan, and so is for one process")
        return build(lambda: cls(self.make_config()))

    def _compare(self, found: dict[str, Any], model: "Model", inputs: dict[str, torch.Tensor], way: str) -> None:
        report = model.load_report
        assert report is not None
        assert found["loaded"] == (report.loaded, report.tied, report.new, report.dropped)
        own, every = found["elements"]
        assert own < MOST * every, f"with {way}, a process has {own:,} of {every:,} elements"
        if found["generated"] is not None:
            ids = inputs["input_ids"].flatten(0, -2)[:2, :4]
            assert found["generated"].tolist() == model.generate(ids, max_new_tokens=5).tolist()

    def _compare_numbers(self, found: dict[str, Any], wanted: dict[str, Any]) -> None:
        """Compare relative to the largest number of each tensor: the processes add up in another order."""
        compared = [(field, found["outputs"][field], value) for field, value in wanted["outputs"].items()]
        compared += [
            (f"the gradient of {name}", found["gradients"][name], value)
            for name, value in wanted["gradients"].items()
            if value is not None
        ]
        for what, one, other in compared:
            scale = 1 + other.abs().max()
            self.assert_close(what, one / scale, other / scale)
        for kind in ("losses", "norms"):
            one, other = torch.tensor(found[kind]), torch.tensor(wanted[kind])
            self.assert_close(kind, one / (1 + other.abs()), other / (1 + other.abs()))
