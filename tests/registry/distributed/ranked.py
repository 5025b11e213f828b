"""What each process of the tests runs; see ``registry.testing.ranks``."""

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch
from zlib import crc32

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

import registry
from plugins.bert.modeling import BertPreTrainedModel
from registry.sharding.gathering import complete, parts_of
from registry.sharding.plans import ParallelPlan
from registry.sharding.shares import local_of
from registry.testing.on_ranks import mesh_for, numbers

Batch = Mapping[str, Tensor]


def rank() -> int:
    return dist.get_rank()


def load(directory: str, way: str, task: str | None = None, **options: Any) -> Any:
    return registry.load_model(directory, task, mesh=mesh_for(way), parallel=way, **options)


def error_of(action: Callable[[], object]) -> tuple[str, str]:
    """The class and the first line of the error that an action raises."""
    try:
        action()
    except Exception as problem:  # whatever it is, the test compares it
        return type(problem).__name__, str(problem).splitlines()[0]
    return "nothing", ""


def whole(model: Any) -> dict[str, Tensor]:
    """All tensors of a divided model, in the first process."""
    found = {name: complete(part, model.processes) for name, part in parts_of(model).items()}
    return {name: value for name, value in found.items() if value is not None}


# --- Loading ----------------------------------------------------------------------------------------------------------


def values(cases: list[tuple[str, str | None, str, dict[str, Any]]]) -> list[tuple[dict[str, Tensor], Any]]:
    """The tensors and the report of each case: a directory, a task, a way, and options."""
    found = []
    for directory, task, way, options in cases:
        model = load(directory, way, task, **options)
        found.append((whole(model), model.load_report))
    return found


def resident(directory: str, way: str, **options: Any) -> tuple[int, int]:
    """Bytes of the file of weights that this process has mapped and touched, once it has computed; and its share."""
    model = load(directory, way, **options)
    model(torch.tensor([[1, 2, 3]]))
    touched, counts = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        word = line.split()[0]
        if "-" in word and not word.endswith(":"):
            counts = line.endswith(f"{directory}/model.safetensors")
        elif counts and word == "Rss:":
            touched += int(line.split()[1]) * 1024
    return touched, sum(local_of(parameter).nbytes for parameter in model.parameters())


def new_heads(directory: str, way: str) -> tuple[Tensor, Tensor | None]:
    """A newly initialized head, as this process has it, and complete; each process has another seed."""
    torch.manual_seed(rank())
    model = load(directory, way, "sequence-classification", num_labels=3)
    torch.manual_seed(7)
    part = parts_of(model)["classifier.weight"]
    return local_of(part.tensor), complete(part, model.processes)


def without_plan(action: Callable[[], object]) -> Callable[[], object]:
    """An action while BERT has no plan."""

    def act() -> object:
        with patch.object(BertPreTrainedModel, "parallel_plan", None):
            return action()

    return act


def with_adapter(model: Any) -> Any:
    """Outputs of a model to which a parameter is added, as PEFT does, which must not be trained."""
    model.transformer.h[0].lora_A = nn.Linear(2, 2)
    with torch.no_grad():
        model(torch.tensor([[1]]))
    return model(torch.tensor([[1]]))


def refusals(directory: str, other: str, damaged: str) -> dict[str, tuple[str, str]]:
    """What each kind of bad input raises."""
    mesh = mesh_for("tp")
    one = init_device_mesh("cpu", (1, 2), mesh_dim_names=("dp", "tp"))
    mine = directory if rank() == 0 else other

    def tp(name: Any, **options: Any) -> Callable[[], object]:
        return lambda: registry.load_model(name, **{"mesh": mesh, "parallel": "tp", **options})

    return {
        "no mesh": error_of(tp(directory, mesh=None)),
        "no way": error_of(tp(directory, parallel=None)),
        "misspelled way": error_of(tp(directory, parallel="ftp")),
        "no DeviceMesh": error_of(tp(directory, mesh=2)),
        "two dimensions": error_of(tp(directory, parallel="fsdp+tp")),
        "other names": error_of(tp(directory, mesh=one)),
        "another device": error_of(tp(directory, device="meta")),
        "heads": error_of(tp(directory, num_attention_heads=1)),
        "no plan": error_of(without_plan(tp(directory))),
        "another file": error_of(tp(mine)),
        "a rank without the file": error_of(tp(directory if rank() == 0 else f"{directory}-absent")),
        "a damaged file on one rank": error_of(tp(directory if rank() == 0 else damaged)),
        "an option that one rank has": error_of(tp(directory, **({} if rank() else {"no_such_option": 1}))),
        "a resized vocabulary": error_of(lambda: tp(directory)().resize_token_embeddings(99)),  # type: ignore[attr-defined]
        "another length of generation": error_of(
            lambda: load(other, "fsdp", "causal-lm").generate(torch.tensor([[1]]), max_new_tokens=2 + rank())
        ),
        "prompts that one rank refuses": error_of(
            lambda: load(other, "fsdp", "causal-lm").generate(torch.tensor([[1]] if rank() else []), max_new_tokens=2)
        ),
        "a parameter that was added": error_of(lambda: with_adapter(load(other, "fsdp", "causal-lm"))),
        "and after all that": error_of(tp(directory)),
    }


# --- Computing --------------------------------------------------------------------------------------------------------


def generated(directory: str, way: str, prompts: Tensor, options: list[dict[str, Any]], seed: int) -> list[list[int]]:
    """The ids of each call, where each process has another seed, unless ``seed`` is one."""
    model = load(directory, way)
    torch.manual_seed(seed if seed >= 0 else rank())
    return [model.generate(prompts, **each).tolist() for each in options]


def ends_apart(directory: str, way: str) -> list[int]:
    """Ids of a text that ends at another step in each process, where data is not shared."""
    model = load(directory, way)
    prompts = torch.tensor([[5, 6]])
    free = model.generate(prompts, max_new_tokens=8)[0].tolist()
    ends = {"eos_token_id": free[3]} if rank() == 0 else {}
    found: list[int] = model.generate(prompts, max_new_tokens=8, **ends)[0].tolist()
    return found


def evaluated(directory: str, way: str, ids: list[int]) -> float:
    from registry.generation.perplexity import evaluate

    return evaluate(load(directory, way), ids).loss


def embedded(directory: str, way: str, texts: list[str]) -> Tensor:
    return registry.load(directory, mesh=mesh_for(way), parallel=way).embed(texts, batch_size=2)


def inference_first(directory: str, way: str, batch: Batch) -> dict[str, Any]:
    """Numbers of training, after the model has computed without gradients; the optimizer is made after that."""
    model = load(directory, way)
    ids = batch["input_ids"]
    with torch.inference_mode():
        model(ids)
    model.generate(ids[:, :3], max_new_tokens=2)
    with torch.no_grad():
        model(ids)
    return numbers(model, {"input_ids": ids}, {"labels": ids})


def own_batches(directory: str, way: str, batches: list[Batch]) -> list[float]:
    """Losses of training, where each process has a batch of its own."""
    model = load(directory, way)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(3):
        loss = model(**batches[rank()]).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def trained(directory: str, way: str | None, batch: Batch, how: str) -> list[float]:
    """Losses of training with one of the tools that users have; without a way, in one process."""
    model = registry.load_model(directory) if way is None else load(directory, way)
    options = {"fused": {"fused": True}, "foreach": {"foreach": True}}.get(how, {})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, eps=1e-3, **options)
    if how == "recomputed":
        model.gradient_checkpointing_enable()
    losses = []
    for _ in range(3):
        for _ in range(2):  # gradients add up
            with torch.autocast("cpu", torch.bfloat16, enabled=how == "autocast"):
                loss = model(**batch).loss
            loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def seeds_apart(directory: str, batch: Batch) -> tuple[str, str]:
    model = load(directory, "tp").train()
    torch.manual_seed(rank())
    return error_of(lambda: model(**batch))


# --- Saving -----------------------------------------------------------------------------------------------------------


def saved_in_shards(directory: str, way: str, target: str) -> None:
    registry.save(load(directory, way), target, max_shard_size="20KB")


def saved_by_torch(directory: str, way: str, target: str) -> None:
    registry.save(load(directory, way), target, format="torch")


def full_disk(directory: str, way: str, target: str) -> tuple[str, str]:
    """A save whose first process cannot write the third tensor."""
    from registry.weights import write

    model = load(directory, way)
    left = iter(range(2))

    def fails(tensor: Tensor, before: Any = write.bytes_of) -> Any:
        if next(left, None) is None:
            raise OSError(28, "No space left on device")
        return before(tensor)

    with patch("registry.weights.write.bytes_of", fails):
        return error_of(lambda: registry.save(model, target))


# --- Training that is interrupted -------------------------------------------------------------------------------------


def _training(directory: str, way: str | None, mesh: DeviceMesh | None = None) -> tuple[Any, Any, Any]:
    if way is None:
        model = registry.load_model(directory)
    else:
        model = registry.load_model(directory, mesh=mesh or mesh_for(way), parallel=way)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, eps=1e-2)
    return model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 2)


def _steps(model: Any, optimizer: Any, scheduler: Any, batch: Batch, number: int = 3) -> list[float]:
    losses = []
    for _ in range(number):
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def interrupted(directory: str, way: str, batch: Batch, path: str, asynchronous: bool = False) -> list[float]:
    """Three steps, a checkpoint, and the losses of three more."""
    model, optimizer, scheduler = _training(directory, way)
    _steps(model, optimizer, scheduler, batch)
    torch.manual_seed(123)
    saving = registry.checkpoint.save(path, model, optimizer, scheduler, asynchronous=asynchronous)
    losses = _steps(model, optimizer, scheduler, batch)
    if saving is not None:
        saving.result()
    return losses


def resumed(directory: str, way: str | None, batch: Batch, path: str, ranks: int) -> tuple[list[float], float] | None:
    """The losses of three steps after a checkpoint, and a random number after it."""
    mesh = DeviceMesh("cpu", list(range(ranks))) if way and dist.get_world_size() > ranks else None
    if way is not None and rank() >= ranks:
        return None
    model, optimizer, scheduler = _training(directory, way, mesh)
    torch.manual_seed(random.randrange(2**31))
    registry.checkpoint.load(path, model, optimizer, scheduler)
    drawn = float(torch.rand(()))
    return _steps(model, optimizer, scheduler, batch), drawn


def damaged_checkpoints(directory: str, other: str, path: str, empty: str) -> dict[str, tuple[str, str]]:
    """What loading and saving checkpoints refuse."""
    model, optimizer, _ = _training(directory, "fsdp")
    another, _, _ = _training(other, "fsdp")
    found = {
        "none there": error_of(lambda: registry.checkpoint.load(empty, model)),
        "another model": error_of(lambda: registry.checkpoint.load(path, another)),
        "one rank has none": error_of(lambda: registry.checkpoint.load(path if rank() else empty, model)),
    }

    def fails(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with patch("torch.distributed.checkpoint.filesystem.FileSystemWriter.write_data", fails):
        found["a full disk"] = error_of(lambda: registry.checkpoint.save(path, model, optimizer))
    registry.checkpoint.load(path, model, optimizer)
    return found


def on_three(directory: str, inputs: dict[str, Tensor], labels: dict[str, Tensor]) -> Any:
    """Numbers of a model that three of four processes shard; the error of the fourth."""
    mesh = DeviceMesh("cpu", [0, 1, 2])
    if rank() == 3:
        return error_of(lambda: registry.load_model(directory, mesh=mesh, parallel="fsdp"))[0]
    return numbers(registry.load_model(directory, mesh=mesh, parallel="fsdp"), inputs, labels)


def held(directory: str, way: str) -> int:
    """Bytes of parameters in this process."""
    return sum(local_of(parameter).nbytes for parameter in load(directory, way).parameters())


def divided_across(directory: str, inputs: dict[str, Tensor]) -> Tensor:
    """Outputs of GPT-2 under a plan that cuts across queries, keys and values."""
    from plugins.gpt2.modeling import GPT2PreTrainedModel
    from plugins.gpt2.parallel import PLAN

    words = {rule.pattern: "colwise" if rule.parts > 1 else rule.word for rule in PLAN.rules}
    plan = ParallelPlan(blocks=PLAN.blocks, tensor=words, divisible=PLAN.divisible)
    with patch.object(GPT2PreTrainedModel, "parallel_plan", plan):
        found: Tensor = load(directory, "tp")(**inputs).logits
    return found.detach()


def checked(directory: str) -> tuple[int, int]:
    """Bytes of which this process computed checksums: while all load a file of torch, and when it loads it alone."""
    from registry.weights.torch import archive

    counts = []

    def counting(data: Any, before: int = 0) -> int:
        counts[-1] += len(data)
        return crc32(data, before)

    with patch.object(archive, "crc32", counting):
        counts.append(0)
        load(directory, "fsdp")
        counts.append(0)
        registry.load_model(directory)
    return counts[0], counts[1]
