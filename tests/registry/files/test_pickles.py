"""The machine that reads pickles: what Python would make of them, and what is refused before it costs anything."""

import pickle
import pickletools
import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import CorruptWeightsError, UnsafeWeightsError, WeightsError, WeightsLimitError
from registry.files.pickles import FREE_WORK, LARGEST_TUPLE, SUPPORTED, PicklePolicy, read_pickle


class Made(dict[Any, Any]):
    """What the policy's function makes."""


calls: list[tuple[Any, ...]] = []


def make(*arguments: Any) -> Made:
    calls.append(arguments)
    return Made()


POLICY = PicklePolicy(
    noun="test",
    instructions=SUPPORTED,
    globals={"collections.OrderedDict": make, "m.mentioned": None},
    reference=lambda identity: ("reference", identity),
    takes_attributes=Made,
    largest=2**20,
    most_instructions=100_000,
    unsafe=UnsafeWeightsError,
    corrupt=CorruptWeightsError,
    limit=WeightsLimitError,
)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(-9, 9), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(values, st.sampled_from([0, 1, 2, 3, 4, 5]))
def test_plain_values_are_read_as_python_reads_them(value: Any, protocol: int) -> None:
    policy = attrs.evolve(POLICY, instructions=SUPPORTED)
    data = pickle.dumps(value, protocol)
    if any(opcode.name not in SUPPORTED for opcode, _, _ in pickletools.genops(data)):  # FLOAT, of protocol 0
        with pytest.raises(UnsafeWeightsError):
            read_pickle(data, policy, origin="it")
        return
    found = read_pickle(b"xx" + data + b"yy", policy, origin="it", start=2)
    assert (found.value, found.end) == (value, 2 + len(data))
    assert repr(found.value) == repr(value), "types too: 1 is not True"


def test_every_instruction_that_can_do_more_is_unsupported() -> None:
    assert {opcode.name for opcode in pickletools.opcodes} - SUPPORTED >= {
        *("INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID"),
        *("BYTEARRAY8", "NEXT_BUFFER", "READONLY_BUFFER", "BINBYTES", "POP", "POP_MARK", "DUP", "LONG4"),
    }


@pytest.mark.parametrize("name", sorted(SUPPORTED))
def test_a_policy_allows_no_instruction_that_it_does_not_list(name: str) -> None:
    code = {opcode.name: opcode.code.encode("latin-1") for opcode in pickletools.opcodes}[name]
    argument = b"\0" * 8 + b"\n\n" if name not in ("INT", "LONG", "PUT", "GET") else b"0\n"
    argument = b"''\n" if name == "STRING" else argument
    policy = attrs.evolve(POLICY, instructions=SUPPORTED - {name})
    with pytest.raises(UnsafeWeightsError, match=f"the instruction {name},"):
        read_pickle(code + argument + b".", policy, origin="it")


# --- Calls ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [b"cos\nsystem\n.", b"\x8c\x02os\x8c\x06system\x93.", b"cm.mentioned\nx\n.", b"ccollections\nOrderedDict.x\n."],
)
def test_other_names_are_refused_before_anything_is_imported(data: bytes) -> None:
    with pytest.raises(UnsafeWeightsError, match="would import"):
        read_pickle(data, POLICY, origin="it")


@pytest.mark.parametrize(
    "data",
    [
        b"cm\nmentioned\n)R.",  # a name that may be mentioned only
        b"X\x01\0\0\0a)R.",
        b"}" + b")R.",
        b"ccollections\nOrderedDict\n]R.",  # arguments that are not a tuple
        b"ccollections\nOrderedDict\n)R)R.",  # what a call made
        b"]\x93.",
        b"K\x01K\x02\x93.",
    ],
)
def test_only_the_functions_of_a_policy_are_called(data: bytes) -> None:
    calls.clear()
    with pytest.raises(CorruptWeightsError):
        read_pickle(data, POLICY, origin="it")
    assert calls in ([], [()])


def test_attributes_are_ignored_where_they_may_be_and_refused_elsewhere() -> None:
    made = b"ccollections\nOrderedDict\n)R"
    assert vars(read_pickle(made + b"}X\x01\0\0\0aNsb.", POLICY, origin="it").value) == {}
    for data in (b"}}b.", b"]}b.", b"K\x01}b.", made + b"]b.", made + b"(}}tb."):
        with pytest.raises(CorruptWeightsError):
            read_pickle(data, POLICY, origin="it")


def test_a_persistent_id_is_refused_where_the_policy_makes_nothing_of_it() -> None:
    assert read_pickle(b"K\x01Q.", POLICY, origin="it").references == [("reference", 1)]
    with pytest.raises(CorruptWeightsError):
        read_pickle(b"K\x01Q.", attrs.evolve(POLICY, reference=None), origin="it")


# --- Damage and limits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b".", b"t.", b"a.", b"(a.", b"]a.", b"h\x00.", b"q\x00.", b"s.", b"}s.", b"}(K\x01u.", b"K\x01K\x02a."),
        *(b"K\x01(e.", b"](K\x01.", b"](a.", b"(\x85.", b"(K\x01d.", b"I1", b"X\xff\xff\xff\xff.", b"\xff."),
        *(b"U\x01\xff.", b"p-1\n.", b"g1\n.", b"}]K\x01s.", b"}}K\x01s."),
    ],
)
def test_whatever_makes_no_sense_is_damage(data: bytes) -> None:
    with pytest.raises(WeightsError, match=r"it (is damaged|holds a pickle that asks)"):
        read_pickle(data, POLICY, origin="it")


def test_an_instruction_takes_nothing_from_under_a_mark() -> None:
    assert read_pickle(b"](K\x01e.", POLICY, origin="it").value == [1]
    with pytest.raises(CorruptWeightsError):
        read_pickle(b"K\x01(K\x02\x86.", POLICY, origin="it")


def key(text: bytes) -> bytes:
    return b"X" + len(text).to_bytes(4, "little") + text


def large_dict(items: int) -> bytes:
    return b"}(" + b"".join(key(b"%d" % number) + b"N" for number in range(items)) + b"uq\x00"


CALL = b"ccollections\nOrderedDict\n"

LIMITS: dict[str, Callable[[], bytes]] = {
    "instructions": lambda: b"N" * 100_001 + b".",
    "bytes": lambda: key(b"a" * 2**20) + b"N.",
    "the memo": lambda: b"Nr\xff\xff\xff\x7f.",
    "the memo in text": lambda: b"Np4000000000\n.",
    "a wide tuple": lambda: b"(" + b"N" * (LARGEST_TUPLE + 1) + b"t.",
    "pairs of pairs": lambda: b")" + b"q\x01h\x01\x86" * 60 + b".",
    "deep tuples": lambda: b")" + b"\x85" * (LARGEST_TUPLE + 1) + b".",
    "copies of a dict by calls": lambda: large_dict(2000) + b"(" + (CALL + b"h\x00\x85R") * 1000 + b"t.",
    "copies of a dict by attributes": lambda: large_dict(2000) + CALL + b")R" + b"h\x00b" * 1000 + b".",
    "tuples as keys": lambda: b"}(" + b"".join(b"J" + n.to_bytes(4, "little") + b"\x85N" for n in range(3000)) + b"u.",
}


def large_numbers(count: int) -> bytes:
    """A dict whose keys are numbers above all that are small, with None as values."""
    return b"}(" + b"".join(b"\x8a\x04" + (2**24 + n).to_bytes(4, "little") + b"N" for n in range(count)) + b"u."


LIMITS |= {
    "large numbers as keys": lambda: large_numbers(3000),
    "floats as keys": lambda: b"}(" + b"".join(b"G" + struct.pack(">d", n) + b"N" for n in range(3000)) + b"u.",
}


@pytest.mark.parametrize("limit", LIMITS)
def test_more_than_a_pickle_may_is_refused(limit: str) -> None:
    with pytest.raises(WeightsLimitError):
        read_pickle(LIMITS[limit](), POLICY, origin="it")


def test_what_is_just_allowed_is_read() -> None:
    for data in (
        b"(" + b"N" * 99_997 + b"l.",
        b"(" + b"N" * (LARGEST_TUPLE - 1) + b"t.",
        b"(" + large_dict(2000) + (CALL + b"h\x00\x85R") * (FREE_WORK // 2000) + b"l.",
        b"}(" + b"".join(b"J" + n.to_bytes(4, "little") + b"\x85N" for n in range(1000)) + b"u.",
        b"}(" + b"".join(b"J" + n.to_bytes(4, "little") + b"N" for n in range(40_000)) + b"u.",
        large_numbers(1000),
    ):
        read_pickle(data, POLICY, origin="it")


@pytest.mark.parametrize("data", [b"\x8a\x09" + b"\xff" * 8 + b"\x00", b"cm\nmentioned\n", CALL + b")R"])
def test_keys_that_could_be_chosen_to_collide_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptWeightsError):
        read_pickle(b"}" + data + b"Ns.", POLICY, origin="it")


def test_a_pickle_that_goes_on_behind_the_bytes_is_too_large_and_a_cut_one_is_damaged() -> None:
    data = pickle.dumps(OrderedDict(a="x" * 100), protocol=2)[:-20]
    with pytest.raises(WeightsLimitError):
        read_pickle(data, POLICY, origin="it", goes_on=True)
    with pytest.raises(CorruptWeightsError):
        read_pickle(data, POLICY, origin="it")


def test_the_policies_of_the_project_are_supported() -> None:
    from plugins.transfo_xl import pickled
    from registry.weights.torch import pickle_scan

    for policy in (pickle_scan.POLICY, pickled.POLICY):
        assert policy.instructions <= SUPPORTED
    assert "BUILD" not in pickled.POLICY.instructions
    assert "STACK_GLOBAL" not in pickle_scan.POLICY.instructions
