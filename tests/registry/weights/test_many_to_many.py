"""Rows that gather and part: what they read, what they write again, and what they refuse."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from registry.errors import WeightsMismatchError
from registry.weights.matching import classify, match, translate_names
from registry.weights.names import Layout, NameTable, StoredTensor, gathered, parted, renamed, transposed

QKV = ("{p}.q.weight", "{p}.k.weight", "{p}.v.weight")
EXPERTS = NameTable(
    gathered(("{p}.experts.{i}.w1.weight", "{p}.experts.{i}.w3.weight"), "{p}.gate_up"),
    gathered("{p}.experts.{i}.w2.weight", "{p}.down"),
    renamed("{p}.router.weight", "{p}.gate.weight"),
)


def heads(config: Any) -> tuple[int, int, int]:
    """As many rows as the heads of a configuration have."""
    return config.heads * 2, config.shared * 2, config.shared * 2


def numbers(*shape: int) -> Tensor:
    return torch.arange(float(torch.Size(shape).numel())).view(shape) + len(shape)


def read(table: NameTable, file: dict[str, Tensor]) -> dict[str, Tensor]:
    sources = table.translate({name: StoredTensor(name) for name in file}).sources
    return {name: source.read(file) for name, source in sources.items()}


def written(table: NameTable, model: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: made.tensor for name, made in table.published(model).items()}


def of_experts(number: int, inner: int = 5) -> dict[str, Tensor]:
    sizes = {"w1": (inner, 3), "w2": (3, inner), "w3": (inner, 3)}
    return {
        f"layer.0.experts.{i}.{name}.weight": torch.rand(size) for i in range(number) for name, size in sizes.items()
    }


# --- Parts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "rows"),
    [(None, (4, 4, 4)), ((8, 2, 2), (8, 2, 2)), (heads, (8, 2, 2))],
    ids=["equal", "given", "from the configuration"],
)
@pytest.mark.parametrize("dim", [0, 1])
def test_a_part_is_a_view_of_the_file(sizes: Any, rows: tuple[int, ...], dim: int) -> None:
    table = NameTable(parted("{p}.qkv.weight", QKV, dim=dim, sizes=sizes)).configured(
        SimpleNamespace(heads=4, shared=1)
    )
    fused = numbers(12, 12)
    found = read(table, {"h.0.qkv.weight": fused, "h.0.o.weight": numbers(2)})
    assert list(found) == ["h.0.q.weight", "h.0.k.weight", "h.0.v.weight", "h.0.o.weight"]
    for part, wanted in zip(found.values(), fused.split(rows, dim=dim), strict=False):
        assert_close(part, wanted, atol=0, rtol=0)
        assert part.untyped_storage().data_ptr() == fused.untyped_storage().data_ptr()
    assert written(table, found)["h.0.qkv.weight"].equal(fused)


def test_a_part_comes_after_the_operations_of_the_format() -> None:
    stored = NameTable(("{p}/kernel", "{p}.qkv.weight", transposed)).translate({"a/kernel": StoredTensor("a/kernel")})
    parts = NameTable(parted("{p}.qkv.weight", QKV)).translate(stored.sources).sources
    kernel = numbers(4, 6)
    assert parts["a.k.weight"].read({"a/kernel": kernel}).equal(kernel.T[2:4])


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        (None, r"\{p\}.qkv.weight -> \(\{p\}.q.weight, .*: a tensor of 13 along axis 0 is not 3 equal parts"),
        ((8, 2, 2), r"a tensor of 13 along axis 0 is not parts of 8 \+ 2 \+ 2 = 12"),
        (heads, "are known with a configuration only"),
    ],
)
def test_parts_that_do_not_tile_are_refused(sizes: Any, said: str) -> None:
    table = NameTable(parted("{p}.qkv.weight", QKV, sizes=sizes))
    with pytest.raises(WeightsMismatchError, match=said):
        read(table, {"a.qkv.weight": numbers(13, 2)})


# --- Gathering --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffled", [False, True])
def test_experts_are_stacked_by_their_numbers_and_written_again(shuffled: bool) -> None:
    file = {**of_experts(12), "layer.0.router.weight": torch.rand(12, 3)}
    given = dict(sorted(file.items())) if shuffled else file  # in a file, 10 comes before 2
    found = read(EXPERTS, given)
    assert set(found) == {"layer.0.gate_up", "layer.0.down", "layer.0.gate.weight"}
    both = [torch.cat([file[f"layer.0.experts.{i}.{w}.weight"] for w in ("w1", "w3")]) for i in range(12)]
    assert found["layer.0.gate_up"].equal(torch.stack(both))
    assert found["layer.0.down"].equal(torch.stack([file[f"layer.0.experts.{i}.w2.weight"] for i in range(12)]))
    again = written(EXPERTS, found)
    assert again.keys() == file.keys()
    assert all(again[name].equal(file[name]) for name in file)


def test_what_is_gathered_is_copied_once(monkeypatch: pytest.MonkeyPatch) -> None:
    file, copied = of_experts(4), []
    copy = Tensor.copy_
    monkeypatch.setattr(Tensor, "copy_", lambda self, other: (copied.append(other.numel()), copy(self, other))[1])
    read(EXPERTS, file)
    assert sum(copied) == sum(tensor.numel() for tensor in file.values())


@given(st.data())
def test_a_slice_is_that_of_the_whole_tensor_and_reads_no_more(data: st.DataObject) -> None:
    looked_up: list[str] = []

    class Counted(dict[str, Tensor]):
        def __getitem__(self, name: str) -> Tensor:
            looked_up.append(name)
            return super().__getitem__(name)

    file = of_experts(data.draw(st.integers(1, 5)), inner=4)
    sources = EXPERTS.translate({name: StoredTensor(name) for name in file}).sources
    source = sources[data.draw(st.sampled_from(["layer.0.gate_up", "layer.0.down"]))]
    whole, lazy = source.read(file), source.lazy(Counted(file))
    assert (lazy.shape, lazy.dtype) == (tuple(whole.shape), whole.dtype)
    for _ in range(2):
        dim = data.draw(st.integers(0, 2))
        start = data.draw(st.integers(0, lazy.shape[dim]))
        length = data.draw(st.integers(0, lazy.shape[dim] - start))
        lazy, whole = lazy.narrow(dim, start, length), whole.narrow(dim, start, length)
        assert lazy.shape == tuple(whole.shape)
    assert lazy.read().equal(whole)
    assert len(looked_up) == len(source.names)


def test_an_expert_that_is_missing_is_named() -> None:
    file = of_experts(4)
    del file["layer.0.experts.2.w3.weight"]
    sources = translate_names(file, None, Layout(names=EXPERTS)).sources
    assert sources["layer.0.gate_up"].missing == ("layer.0.experts.2.w3.weight",)
    outcomes = classify(match(["layer.0.gate_up", "layer.0.down"], [], sources, Layout(names=EXPERTS)))
    assert [pair.names for pair in outcomes["missing"]] == [("layer.0.gate_up",)]
    assert [pair.names for pair in outcomes["loaded"]] == [("layer.0.down",)]


def test_tensors_that_do_not_fit_together_are_refused() -> None:
    wide = {**of_experts(2), "layer.0.experts.1.w2.weight": torch.rand(3, 6)}
    with pytest.raises(
        WeightsMismatchError, match=r"\{p\}.down gathers 2 tensors, .* \(3, 5\), and another .* \(3, 6\)"
    ):
        read(EXPERTS, wide)
    half = {**of_experts(2), "layer.0.experts.1.w2.weight": torch.rand(3, 5).half()}
    with pytest.raises(WeightsMismatchError, match=r"torch\.float16"):
        read(EXPERTS, half)
    uneven = {name: torch.rand(6, 3) if "w3" in name else tensor for name, tensor in of_experts(2).items()}
    with pytest.raises(WeightsMismatchError, match="of 11 along axis 0 is not 2 equal parts"):
        read(EXPERTS, uneven)


@pytest.mark.parametrize("digits", ["5000", "9" * 5000])
def test_a_number_beyond_all_need_is_refused(digits: str) -> None:
    with pytest.raises(WeightsMismatchError, match="one has the number"):
        read(EXPERTS, {f"a.experts.{digits}.w2.weight": numbers(1)})


def test_both_spellings_of_one_tensor_are_refused() -> None:
    with pytest.raises(WeightsMismatchError, match=r"are both names of 'layer\.0\.down'"):
        read(EXPERTS, {**of_experts(2), "layer.0.down": numbers(1)})


# --- Saving -----------------------------------------------------------------------------------------------------------


def test_a_model_without_its_head_is_written_without_the_prefix() -> None:
    layout = Layout(prefix="model.", parts=("lm_head.",), names=NameTable(parted("{p}.qkv.weight", QKV)))
    names = ("layers.0.q.weight", "layers.0.k.weight", "layers.0.v.weight")
    assert list(layout.published({name: numbers(2, 2) for name in names})) == ["layers.0.qkv.weight"]
    headed = {**{f"model.{name}": numbers(2, 2) for name in names}, "lm_head.weight": numbers(3, 2)}
    found = layout.published(headed)
    assert list(found) == ["model.layers.0.qkv.weight", "lm_head.weight"]
    assert found["model.layers.0.qkv.weight"].ours == tuple(f"model.{name}" for name in names)


def test_half_of_what_a_row_makes_cannot_be_written() -> None:
    table = NameTable(parted("{p}.qkv.weight", QKV))
    with pytest.raises(WeightsMismatchError, match=r"of which the model lacks a\.v\.weight"):
        table.published({"a.q.weight": numbers(2), "a.k.weight": numbers(2)})


# --- Authors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: parted("qkv", "q"), "one name in the file and several in the model"),
        (lambda: parted("qkv", ("q",)), "two parts or more"),
        (lambda: parted("{p}.qkv", ("{p}.q", "k")), r"'k' must have the placeholders of '\{p\}.qkv'"),
        (lambda: parted("qkv", ("q", "k", "v"), sizes=(1, 2)), "2 sizes are given for 3 parts"),
        (lambda: parted("qkv", ("q", "k"), dim=-1), "dim must be a number from 0"),
        (lambda: gathered("a.w", "b.w"), "nothing to gather"),
        (lambda: gathered("a.{x}.w", "b.w"), r"one number more \(\{i\}, \{j\}, \{k\}\)"),
        (lambda: gathered("a.{i}.{j}.w", "b.w"), "one number more"),
        (lambda: gathered(("a.{i}.w", "a.w"), "b.w"), "each name in the file must have"),
        (lambda: renamed("{p}.a", "{q}.b"), "the same placeholders"),
        (lambda: NameTable(gathered("{p}.{i}.w", "{p}.0.w")), "is matched by a row of the table again"),
        (lambda: NameTable(parted("qkv", ("q", "k")), ("q", "x")), "is matched by a row of the table again"),
        (lambda: NameTable(parted("qkv", ("q", "k")), ("qkv", "x")), "matches two rows"),
    ],
)
def test_an_impossible_row_is_an_error_at_the_authors_line(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
