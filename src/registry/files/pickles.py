"""Read pickles without unpickling them.

A pickle is a program for a machine with a stack, and ``pickle.load`` lets it call whatever can be imported.  The
machine here runs the instructions that a ``PicklePolicy`` lists.  It makes numbers, texts, tuples, lists and dicts, and
what the policy's functions return; it imports nothing, sets no attributes, and calls no method of a value that it made.

Refused under every policy, since the file may come from anybody:

- an instruction or a global that the policy does not list: a list of dangers would never be complete;
- calls of anything but the policy's functions, attributes of anything but the class that the policy names, items of
  anything but lists and dicts;
- more instructions or bytes than the policy allows, and a number in the memo above the number of instructions so far:
  other readers make room for all smaller numbers;
- tuples of more than ``LARGEST_TUPLE`` items, those of inner tuples included: readers hash a tuple with all that is in
  it, recursively and as often as it occurs, so sixty pairs of pairs never end, and 100,000 levels overflow the stack;
- more work than ``FREE_WORK`` and the bytes of the pickle: a call or attributes that copy one large dict take five
  bytes of the file each, and tuples can be chosen to have one hash, so that a dict of them takes quadratic time;
- keys other than texts, numbers of 64 bits, None and tuples.  Large numbers and floats can be chosen to be looked for
  in the same places of a dict, too: each costs as much work as there were before it.

A machine is not an unpickler behind a filter: there is no second program that could understand the bytes otherwise.
"""

import io
import pickletools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import IO, Any

from attrs import frozen

from registry.errors import RegistryError

LARGEST_TUPLE = 10_000
"""Items of a tuple and of the tuples in it."""
FREE_WORK = 2**20
"""Items that calls may copy, and comparisons that keys may need, in addition to one for each byte."""

SMALL_KEY = 2**16
"""Numbers below are keys that cannot be chosen to make a dict slow."""

Function = Callable[..., Any]


@frozen(kw_only=True)
class PicklePolicy:
    """What the pickles of one kind of file may do."""

    noun: str
    """What they hold, as errors call it."""
    instructions: frozenset[str]
    """Names of allowed instructions, in ``pickletools``; at most ``SUPPORTED``."""
    protocols: Collection[int] = range(6)
    """Versions of the protocol which a pickle may announce."""
    globals: Mapping[str, Function | None]
    """Full names that may be referred to -> the function which a call of this name calls; None where none may."""
    reference: Function | None = None
    """Makes the value of a persistent id (``BINPERSID``)."""
    takes_attributes: type | None = None
    """Class of values that may be given attributes (``BUILD``), all of which are ignored."""
    largest: int
    """Bytes of a pickle."""
    most_instructions: int
    unsafe: type[RegistryError]
    """Raised for instructions and globals that are not listed."""
    corrupt: type[RegistryError]
    """Raised for a pickle that ends too early, or is invalid."""
    limit: type[RegistryError]
    """Raised for one that asks for more than it may."""
    hint: str | None = None
    """Advice in errors."""


@frozen(eq=False)
class Global:
    """A name that a pickle refers to; nothing was imported."""

    name: str
    function: Function | None


@frozen(eq=False)
class PickledValue:
    """What one pickle holds."""

    value: Any
    references: Sequence[Any]
    """The values of its persistent ids, in their order."""
    end: int
    """The offset of the first byte after the pickle."""


def read_pickle(
    data: bytes,
    policy: PicklePolicy,
    *,
    origin: str,
    start: int = 0,
    most: int | None = None,
    goes_on: bool = False,
) -> PickledValue:
    """Read the pickle at offset ``start`` of ``data``.

    Args:
        data: The bytes of a file, or as many as a pickle may have.
        policy: What the pickle may do.
        origin: The name of the file, for errors.
        start: Where the pickle begins.
        most: Instructions that it may have, where that is fewer than the policy says.
        goes_on: Whether ``data`` is only the beginning of the file: a pickle that needs more of it is too large.

    Raises:
        RegistryError: Of the classes that the policy names.
    """
    file = io.BytesIO(data)
    file.seek(start)
    machine = _Machine(policy, origin, len(data) - start)
    try:
        machine.run(file, policy.most_instructions if most is None else most)
        return PickledValue(machine.result(), machine.references, file.tell())
    except RegistryError:
        raise
    except Exception as problem:  # readers of damaged bytes raise errors of every kind
        if goes_on and file.tell() == len(data):
            raise machine.too_much(f"larger than any {policy.noun} needs") from problem
        raise policy.corrupt(
            f"{origin} is damaged: its pickle ends too early, or is invalid "
            f"({type(problem).__name__}: {problem!s:.200}).",
            hint=policy.hint,
        ) from problem


class _Machine:
    """The state of a pickle that is being read."""

    def __init__(self, policy: PicklePolicy, origin: str, size: int) -> None:
        self.policy, self.origin = policy, origin
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        """For each open mark, the stack under it: an instruction never takes from there."""
        self.memo: dict[int, Any] = {}
        self.references: list[Any] = []
        self.number = 0
        self._nested: dict[int, tuple[int, tuple[Any, ...]]] = {}
        """Items of each tuple that has tuples in it, by id; the tuple is kept, so that its id stays its own."""
        self._work_left, self._tuple_keys, self._number_keys = FREE_WORK + size, 0, 0

    def run(self, file: IO[bytes], most: int) -> None:
        """Run a pickle from where ``file`` stands, of at most so many instructions."""
        steps = {name: _STEPS[name] for name in self.policy.instructions}
        last = file.tell() + self.policy.largest
        for number, (opcode, argument, position) in enumerate(pickletools.genops(file)):
            if number >= most or (position or 0) > last:
                raise self.too_much(f"larger than any {self.policy.noun} needs")
            step = steps.get(opcode.name)
            if step is None:
                raise self.refused(opcode.name)
            self.number = number
            step(self, argument)

    def refused(self, instruction: str) -> RegistryError:
        """The error for an instruction that the policy does not list."""
        noun = self.policy.noun
        return self.policy.unsafe(
            f"{self.origin} holds a pickle with the instruction {instruction}, which no {noun} needs; "
            f"nothing was loaded.",
            hint=self.policy.hint,
        )

    def result(self) -> Any:
        """What the pickle made.  Raises ValueError where that is not one value."""
        if self.below or len(self.stack) != 1:
            raise ValueError(f"{len(self.stack)} values and {len(self.below)} open marks at the end")
        return self.stack[0]

    def too_much(self, what: str) -> RegistryError:
        """The error for a pickle that asks for more than it may."""
        return self.policy.limit(f"{self.origin} holds a pickle {what}.", hint=self.policy.hint)

    def protocol(self, argument: int) -> None:
        """Refuse a version that other readers warn about, or do not know."""
        if argument not in self.policy.protocols:
            raise self.refused(f"PROTO {argument}")

    # --- The stack

    def take(self, count: int) -> list[Any]:
        """Take items from the stack.  Raises IndexError where there are fewer."""
        if len(self.stack) < count:
            raise IndexError(f"{count} items are taken from {len(self.stack)}")
        first = len(self.stack) - count
        items = self.stack[first:]
        del self.stack[first:]
        return items

    def take_to_mark(self) -> list[Any]:
        """Take all items down to the last mark."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def push(self, argument: Any) -> None:
        self.stack.append(argument)

    def push_ascii(self, argument: str) -> None:
        """Push a text of Python 2, the encoding of which no pickle tells."""
        if not argument.isascii():
            raise ValueError("bytes in place of a text")
        self.stack.append(argument)

    # --- The memo

    def put(self, argument: int) -> None:
        if not 0 <= argument <= self.number:
            raise self.too_much(f"that asks for {argument:,} places in memory")
        self.memo[argument] = self.stack[-1]

    def memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def get(self, argument: int) -> None:
        self.stack.append(self.memo[argument])

    # --- Containers

    def push_tuple(self, items: Sequence[Any]) -> None:
        made = tuple(items)
        if any(type(item) is tuple for item in made):
            size = 1 + sum(self.size_of(item) if type(item) is tuple else 1 for item in made)
            self._nested[id(made)] = size, made
        if (size := self.size_of(made)) > LARGEST_TUPLE:
            raise self.too_much(f"with tuples in tuples, of {size:,} items")
        self.stack.append(made)

    def size_of(self, made: tuple[Any, ...]) -> int:
        """Items of a tuple and of the tuples in it, and one for each tuple."""
        nested = self._nested.get(id(made))
        return 1 + len(made) if nested is None else nested[0]

    def extend(self, items: Sequence[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise TypeError("items are appended to what is not a list")
        self.stack[-1].extend(items)

    def update(self, items: Sequence[Any]) -> None:
        """Set items of the dict on top: keys and values in turn."""
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise TypeError("keys are set of what is not a dict, or have no values")
        for key in items[::2]:
            if type(key) is not str:
                self.check_key(key)
        target.update(zip(items[::2], items[1::2], strict=True))

    def check_key(self, key: Any) -> None:
        """Raise an error for a key that other keys can be made to collide with."""
        if type(key) is tuple:
            self._tuple_keys += 1
            self.charge(self.size_of(key) * self._tuple_keys)
        elif type(key) is float or (type(key) is int and not 0 <= key < SMALL_KEY):
            if not -(2**63) <= key < 2**63:
                raise ValueError("a key of more than 64 bits")
            self._number_keys += 1
            self.charge(self._number_keys)
        elif key is not None and type(key) not in (bool, int):
            raise TypeError(f"a key that is a {type(key).__name__}")

    def charge(self, work: int) -> None:
        """Count work that is more than the one item which an instruction makes."""
        self._work_left -= work
        if self._work_left < 0:
            raise self.too_much("that asks for absurd amounts of time")

    # --- What else than containers there is

    def push_global(self, module: str, name: str) -> None:
        full = f"{module}.{name}"
        if full not in self.policy.globals:
            raise self.policy.unsafe(f"{self.origin} would import {full!r}; nothing was loaded.", hint=self.policy.hint)
        self.stack.append(Global(full, self.policy.globals[full]))

    def stack_global(self, _: Any) -> None:
        module, name = self.take(2)
        if type(module) is not str or type(name) is not str:
            raise TypeError("the name of a global is not text")
        self.push_global(module, name)

    def reduce(self, _: Any) -> None:
        function, arguments = self.take(2)
        if type(function) is not Global or function.function is None or type(arguments) is not tuple:
            raise TypeError("a call of what cannot be called")
        self.charge(sum(len(argument) for argument in arguments if isinstance(argument, (tuple, list, dict))))
        self.stack.append(function.function(*arguments))

    def build(self, _: Any) -> None:
        (state,) = self.take(1)
        if type(self.stack[-1]) is not self.policy.takes_attributes or not isinstance(state, dict):
            raise TypeError("attributes of a value that has none")
        self.charge(len(state))  # this machine ignores them, other readers copy them

    def refer(self, _: Any) -> None:
        (identity,) = self.take(1)
        if self.policy.reference is None:
            raise TypeError("a persistent id")
        value = self.policy.reference(identity)
        self.references.append(value)
        self.stack.append(value)


_Step = Callable[[_Machine, Any], None]

_LITERALS = ("NONE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "BINFLOAT",
             "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")  # fmt: skip


def _constant(value: object) -> _Step:
    return lambda machine, _: machine.push(value)


def _tuple_of(count: int) -> _Step:
    return lambda machine, _: machine.push_tuple(machine.take(count))


def _dict(machine: _Machine, _: object) -> None:
    items = machine.take_to_mark()
    machine.stack.append({})
    machine.update(items)


_STEPS: Mapping[str, _Step] = {
    "PROTO": _Machine.protocol,
    **dict.fromkeys(("FRAME", "STOP"), lambda _machine, _argument: None),
    **dict.fromkeys(_LITERALS, _Machine.push),
    **dict.fromkeys(("STRING", "BINSTRING", "SHORT_BINSTRING"), _Machine.push_ascii),
    "NEWTRUE": _constant(True),
    "NEWFALSE": _constant(False),
    "MARK": _Machine.mark,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    "MEMOIZE": _Machine.memoize,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    "EMPTY_TUPLE": _tuple_of(0),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "TUPLE": lambda machine, _: machine.push_tuple(machine.take_to_mark()),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "LIST": lambda machine, _: machine.push(machine.take_to_mark()),
    "APPEND": lambda machine, _: machine.extend(machine.take(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.take_to_mark()),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "DICT": _dict,
    "SETITEM": lambda machine, _: machine.update(machine.take(2)),
    "SETITEMS": lambda machine, _: machine.update(machine.take_to_mark()),
    "GLOBAL": lambda machine, argument: machine.push_global(*argument.split(" ", 1)),
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.refer,
}

SUPPORTED = frozenset(_STEPS)
"""Names of all instructions that a policy may allow, in ``pickletools``."""
