"""Tables of names, and layouts."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import WeightsMismatchError
from registry.testing.tokenizers import lines_run
from registry.weights.matching import translate_names
from registry.weights.names import Layout, NameTable, StoredTensor, transposed

LAYER_NORM = (("{p}.LayerNorm.gamma", "{p}.LayerNorm.weight"), ("{p}.LayerNorm.beta", "{p}.LayerNorm.bias"))


def translate(table: NameTable, *names: str) -> dict[str, str]:
    """Our names -> theirs."""
    return {
        ours: source.name
        for ours, source in table.translate({name: StoredTensor(name) for name in names}).sources.items()
    }


def test_a_table_needs_no_torch() -> None:
    code = "import sys, registry.weights.names; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_word_in_braces_stands_for_a_name_of_any_depth() -> None:
    table = NameTable(*LAYER_NORM)
    assert translate(table, "bert.encoder.layer.11.output.LayerNorm.gamma", "e.LayerNorm.beta") == {
        "bert.encoder.layer.11.output.LayerNorm.weight": "bert.encoder.layer.11.output.LayerNorm.gamma",
        "e.LayerNorm.bias": "e.LayerNorm.beta",
    }


@pytest.mark.parametrize(
    "name", ["LayerNorm.gamma", "x.LayerNorm.gamma.y", "x.LayerNorm_gamma", "x.LayerNorm.gammas", "betamax", ""]
)
def test_rows_match_names_whole_and_other_names_stay(name: str) -> None:
    assert translate(NameTable(*LAYER_NORM), name) == {name: name}


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("layer_7/w", "layer.7.w"),
        ("layer_10/w", "layer.10.w"),
        ("layer_07/w", None),
        ("layer_x/w", None),
        ("layer_/w", None),
    ],
)
def test_i_stands_for_a_number_as_it_is_usually_written(name: str, ours: str | None) -> None:
    assert translate(NameTable(("layer_{i}/w", "layer.{i}.w")), name) == {ours or name: name}


def test_a_word_that_occurs_twice_stands_for_the_same_text() -> None:
    table = NameTable(("{a}/{i}/{a}_{i}", "{a}.{i}"))
    assert translate(table, "x/3/x_3", "x/3/y_3", "x/3/x_4") == {
        "x.3": "x/3/x_3",
        "x/3/y_3": "x/3/y_3",
        "x/3/x_4": "x/3/x_4",
    }


def test_operations_are_done_in_the_order_of_the_tables() -> None:
    first = NameTable(("{p}/kernel", "{p}.weight", transposed)).translate({"a/kernel": StoredTensor("a/kernel")})
    second = NameTable(("a.weight", "b.weight", torch.neg)).translate(first.sources)
    kernel = torch.arange(6.0).view(2, 3)
    assert second.sources["b.weight"].read({"a/kernel": kernel}).tolist() == (-kernel.T).tolist()


def test_only_matrices_can_be_transposed() -> None:
    with pytest.raises(WeightsMismatchError, match=r"\(2, 3, 4\)"):
        transposed(torch.zeros(2, 3, 4))


def test_dropped_names_are_reported() -> None:
    found = NameTable(dropped=("{name}/adam_m", "global_step")).translate(
        {n: StoredTensor(n) for n in ("w/adam_m", "global_step", "w")}
    )
    assert (list(found.sources), found.dropped) == (["w"], ("w/adam_m", "global_step"))


def test_two_names_for_one_tensor_are_an_error() -> None:
    with pytest.raises(WeightsMismatchError, match=r"'a\.LayerNorm\.weight' and 'a\.LayerNorm\.gamma'"):
        translate(NameTable(*LAYER_NORM), "a.LayerNorm.weight", "a.LayerNorm.gamma")


@pytest.mark.parametrize(
    "rows",
    [
        (("a", "b"), ("a", "c")),
        (("a", "b"), ("a", "b")),
        (("{p}.gamma", "{p}.weight"), ("{q}.LayerNorm.gamma", "{q}.LayerNorm.weight")),
        (("a_{i}", "a.{i}"), ("a_{j}", "b.{j}")),
    ],
)
def test_rows_that_contradict_each_other_are_refused_when_the_table_is_made(rows: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(ValueError, match="matches two rows"):
        NameTable(*rows)


def test_a_dropped_name_that_a_row_translates_is_refused_when_the_table_is_made() -> None:
    with pytest.raises(ValueError, match="matches two rows"):
        NameTable(("{p}.gamma", "{p}.weight"), dropped=("{p}.gamma",))


def test_a_right_side_cannot_use_what_the_left_side_lacks() -> None:
    with pytest.raises(ValueError, match=r"\{j\}"):
        NameTable(("layer_{i}", "layer.{j}"))


def test_a_name_that_two_rows_match_is_refused_when_it_is_met() -> None:
    table = NameTable(("a.{p}.c", "x.{p}"), ("a.b.{q}", "y.{q}"))  # either example, a.x.c and a.b.x, matches one row
    assert translate(table, "a.x.c") == {"x.x": "a.x.c"}
    with pytest.raises(WeightsMismatchError, match="matches two rows"):
        translate(table, "a.b.c")


parts = st.lists(
    st.sampled_from(["a", "b", "LayerNorm", "gamma", "beta", "weight", "0", "12", "layer"]), min_size=1, max_size=6
)
names = st.lists(parts.map(".".join), unique=True, max_size=12)
ROWS = (*LAYER_NORM, ("layer.{i}.a", "h.{i}.a"), ("b", "c"), ("a.{p}.{i}", "{p}.{i}.a"))


@given(names, st.permutations(ROWS))
def test_the_order_of_rows_and_names_changes_nothing(names: list[str], rows: list[tuple[str, str]]) -> None:
    def outcome(table: NameTable, names: list[str]) -> dict[str, str] | None:
        try:
            return translate(table, *names)
        except WeightsMismatchError:
            return None

    expected = outcome(NameTable(*ROWS), names)
    assert outcome(NameTable(*rows), names) == expected
    assert outcome(NameTable(*ROWS), names[::-1]) == expected


@given(parts, parts)
def test_a_name_is_renamed_only_if_it_matches_from_its_first_to_its_last_letter(
    before: list[str], after: list[str]
) -> None:
    name = ".".join([*before, "LayerNorm", "gamma"])
    assert translate(NameTable(LAYER_NORM[0]), name) == {name.removesuffix("gamma") + "weight": name}
    longer = ".".join([*before, "LayerNorm", "gamma", *after])
    if after[-2:] != ["LayerNorm", "gamma"]:
        assert longer in translate(NameTable(LAYER_NORM[0]), longer) or longer.endswith("LayerNorm.gamma")


def test_a_table_of_names_takes_linear_time() -> None:
    table = NameTable(*LAYER_NORM, dropped=("{p}.position_ids",))
    names = ("a", "b.LayerNorm.gamma", "c", "d", "e", "f", "g", "h")
    few, many = (
        {f"encoder.layer.{i}.{name}": StoredTensor("x") for i in range(layers) for name in names}
        for layers in (50, 500)
    )
    table.translate(few)  # compiles its patterns
    lines = [lines_run(lambda sources=sources: table.translate(sources)) for sources in (few, many)]
    assert lines[1] < 11 * lines[0]


# --- Layouts


LAYOUT = Layout(prefix="bert.", parts=("bert.pooler.", "cls.", "cls.predictions."), ties=(("bert.w", "cls.w"),))


@pytest.mark.parametrize(
    ("names", "full"),
    [
        (["bert.e", "cls.w"], ["bert.e", "cls.w"]),
        (["e", "pooler.w"], ["bert.e", "bert.pooler.w"]),
        (["e", "cls.w"], ["bert.e", "cls.w"]),
        ([], []),
    ],
)
def test_names_are_spelled_in_full(names: list[str], full: list[str]) -> None:
    assert list(LAYOUT.in_full(names).values()) == full


def test_a_layout_without_prefix_leaves_names_alone() -> None:
    assert Layout(parts=("head.",)).in_full(["x", "head.y"]) == {"x": "x", "head.y": "head.y"}


@pytest.mark.parametrize(
    ("name", "part"),
    [("bert.pooler.w", "bert.pooler."), ("cls.w", "cls."), ("cls.predictions.w", "cls.predictions."), ("bert.e", None)],
)
def test_a_name_belongs_to_the_longest_part_that_it_begins_with(name: str, part: str | None) -> None:
    assert LAYOUT.part_of(name) == part


def test_wrappers_are_taken_off_wherever_they_are() -> None:
    layout = Layout(wrappers=("module.", "_orig_mod."))
    assert list(layout.unwrapped(["module.a", "module.b"]).values()) == ["a", "b"]
    assert list(layout.unwrapped(["_orig_mod.module.a", "_orig_mod.module.module.b"]).values()) == ["a", "b"]
    assert list(layout.unwrapped(["module.a", "x._orig_mod.b", "c"]).values()) == ["a", "x.b", "c"]
    assert list(layout.unwrapped(["my_module.a", "module_list.b"]).values()) == ["my_module.a", "module_list.b"]
    assert layout.unwrapped([]) == {}
    assert layout.without_wrappers_in(["x.module.a"]).wrappers == ("_orig_mod.",)
    assert layout.without_wrappers_in(["my_module.a"]) is layout
    assert Layout(wrappers=()).unwrapped(["module.a"]) == {"module.a": "module.a"}


def test_two_names_that_differ_by_a_wrapper_are_refused() -> None:
    with pytest.raises(WeightsMismatchError, match=r"'module\.bert\.e' and 'bert\.e' are both names of 'bert\.e'"):
        translate_names(["module.bert.e", "bert.e"], None, LAYOUT)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"parts": ("lm_head.")}, r"Layout.parts is the text 'lm_head.'.*\('lm_head.',\), with the comma"),
        ({"wrappers": ("module.")}, r"Layout.wrappers is the text 'module.'"),
        ({"wrappers": ("module",)}, "must end with a dot"),
        ({"ties": ("a", "b")}, "Layout.ties: 'a' is a name, where a group of them is needed"),
        ({"ties": "ab"}, "Layout.ties is the text"),
        ({"parts": ("",)}, "Layout.parts must be names, none of them empty"),
        ({"prefix": "bert.", "parts": ("bert.",)}, "is the backbone, 'bert.', which no file may lack"),
    ],
)
def test_a_comma_that_is_missing_is_an_error_at_the_authors_line(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Layout(**wrong)


def test_a_table_whose_comma_is_missing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"NameTable\(dropped=...\) is the text 'position_ids'"):
        NameTable(dropped=("position_ids"))
    with pytest.raises(ValueError, match="a row is a pair of names, not 'ab'"):
        NameTable("ab")  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"prefix": "bert"}, {"ties": (("a",),)}, {"ties": (("a", "b"), ("b", "c"))}])
def test_an_impossible_layout_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="Layout"):
        Layout(**wrong)  # type: ignore[arg-type]
