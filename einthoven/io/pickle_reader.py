"""Reads a pickle as data: an interpreter of the few opcodes and the few names that a checkpoint needs, and of no other.

Python's own unpickler calls whatever the file names. This one never looks a name up in Python: ``pickletools`` splits the
bytes into opcodes, and a name that the file mentions is only a key into a table of constructors that the caller wrote. A
name that is not in the table, or an opcode that no checkpoint needs, ends the reading (unless placeholders were asked for:
then the name stays a name, and what the file would make by it stays undone).
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from einthoven.errors import CheckpointError

MAX_PICKLE_BYTES = 256 * 2**20
"""The structure of a checkpoint is some 100 kB; tensors lie beside it."""


class Buildable:
    """What a constructor of the table begins and the pickle's BUILD opcode completes."""

    def build(self, state: Any) -> Any:
        """The finished value, which takes this object's place."""
        raise NotImplementedError


class _Constructor:
    """A function of the table, on the stack until it is called."""

    def __init__(self, call: Callable[..., Any]):
        self.call = call


@dataclass(frozen=True)
class Placeholder:
    """A name of which the pickle spoke and that nobody looked up: ``module.name``, as text."""

    module: str
    name: str


class Inert(Buildable):
    """What a pickle would have made by calling a name: the name, the arguments, and the state that was to fill it in. It does nothing."""

    def __init__(self, kind: Placeholder, arguments: tuple):
        self.kind, self.arguments, self.state = kind, arguments, None

    def build(self, state: Any) -> Inert:
        self.state = state
        return self

    def __repr__(self) -> str:
        return f"<inert {self.kind.module}.{self.kind.name}>"


_MARK = object()
_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


def read_pickle(data: bytes, names: Mapping[tuple[str, str], Any], persistent: Callable[[Any], Any], *, placeholders: bool = False) -> Any:
    """The value that a pickle describes.

    names        : (module, name) -> what stands for it: a function that is called with the pickle's arguments and checks
                   them, or a value
    persistent   : what to do with a persistent id (torch's storages)
    placeholders : a name that is not in the table becomes a Placeholder, and what the pickle makes by it an Inert, instead of
                   ending the reading. Nothing is looked up or executed either way
    Raises CheckpointError, in one line that names the opcode or name that is refused.
    """
    if len(data) > MAX_PICKLE_BYTES:
        raise CheckpointError(f"its structure alone has {len(data)} bytes; no checkpoint needs that many")
    try:
        return _interpret(data, names, persistent, placeholders)
    except CheckpointError:
        raise
    except (
        ValueError,
        TypeError,
        IndexError,
        KeyError,
        AttributeError,
        OverflowError,
        MemoryError,
        RecursionError,
        UnicodeDecodeError,
    ) as error:
        said = " ".join(str(error).split())[:200]
        raise CheckpointError(f"its pickle is damaged or forged ({type(error).__name__}: {said})") from error


def _interpret(data: bytes, names: Mapping[tuple[str, str], Any], persistent: Callable[[Any], Any], placeholders: bool) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    begun: dict[int, list[int]] = {}  # id of a Buildable -> where the memo holds it

    def remember(key: int) -> None:
        memo[key] = stack[-1]
        if isinstance(stack[-1], Buildable):
            begun.setdefault(id(stack[-1]), []).append(key)

    def pop_mark() -> list[Any]:
        items = []
        while (item := stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    argument: Any
    for opcode, argument, position in pickletools.genops(data):
        name = opcode.name
        if name in _LITERALS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("PROTO", "FRAME"):
            pass
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "POP":
            stack.pop()
        elif name == "POP_MARK":
            pop_mark()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            remember(argument)
        elif name == "MEMOIZE":
            remember(len(memo))
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "EMPTY_TUPLE":
            stack.append(())
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "EMPTY_SET":
            stack.append(set())
        elif name == "LIST":
            stack.append(pop_mark())
        elif name == "TUPLE":
            stack.append(tuple(pop_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            length = int(name[-1])
            stack[-length:] = [tuple(stack[-length:])]
        elif name == "DICT":
            stack.append(_set_items({}, pop_mark()))
        elif name == "FROZENSET":
            stack.append(frozenset(hashable(item) for item in pop_mark()))
        elif name == "APPEND":
            item = stack.pop()
            _expect(stack[-1], list).append(item)
        elif name == "APPENDS":
            items = pop_mark()
            _expect(stack[-1], list).extend(items)
        elif name == "ADDITEMS":
            items = pop_mark()
            _expect(stack[-1], set).update(hashable(item) for item in items)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _set_items(_expect(stack[-1], dict), [key, value])
        elif name == "SETITEMS":
            items = pop_mark()
            _set_items(_expect(stack[-1], dict), items)
        elif name == "GLOBAL":
            module, _, attribute = argument.partition(" ")
            stack.append(_lookup(module, attribute, names, placeholders))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(_lookup(_expect(module, str), _expect(attribute, str), names, placeholders))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, called = _expect(stack.pop(), tuple), stack.pop()
            if isinstance(called, Placeholder):
                stack.append(Inert(called, arguments))
                continue
            if not isinstance(called, _Constructor):
                raise CheckpointError(f"at byte {position} it calls something that is no constructor; refused, nothing was executed")
            stack.append(called.call(*arguments))
        elif name == "BUILD":
            state = stack.pop()
            if isinstance(stack[-1], Buildable):
                built = stack[-1].build(state)
                for key in begun.pop(id(stack[-1]), []):
                    memo[key] = built
                stack[-1] = built
            elif not isinstance(
                stack[-1], dict
            ):  # a dict's attributes are passed over: torch keeps version numbers of modules in `_metadata`
                raise CheckpointError(f"at byte {position} it fills in a {type(stack[-1]).__name__}; refused, nothing was executed")
        elif name == "BINPERSID":
            stack.append(persistent(stack.pop()))
        elif name == "STOP":
            if len(stack) != 1 or stack[0] is _MARK:
                raise CheckpointError(f"its pickle ends with {len(stack)} values instead of one; it is damaged")
            return stack[0]
        else:
            raise CheckpointError(f"its pickle uses the operation {name}, which no checkpoint needs; refused, nothing was executed")
    raise CheckpointError("its pickle has no end; it is truncated")


def _lookup(module: str, name: str, names: Mapping[tuple[str, str], Any], placeholders: bool) -> Any:
    if (module, name) not in names:
        if placeholders:
            return Placeholder(module, name)
        raise CheckpointError(f"its pickle asks for {module}.{name}, which a checkpoint does not need; refused, nothing was executed")
    found = names[module, name]
    return _Constructor(found) if callable(found) else found


def _expect(item: Any, kind: type) -> Any:
    if not isinstance(item, kind):
        raise CheckpointError(f"its pickle is forged: a {kind.__name__} was expected where a {type(item).__name__} stands")
    return item


def hashable(item: Any) -> Any:
    """A key of a dict or member of a set: a plain value or a name, or a tuple of such. A nest of tuples could take for ever to hash."""
    plain = (str, bytes, int, float, bool, type(None), Placeholder)
    if not (isinstance(item, plain) or (isinstance(item, tuple) and all(isinstance(one, plain) for one in item))):
        raise CheckpointError(f"its pickle is forged: a {type(item).__name__} cannot be a key")
    return item


def _set_items(target: dict, items: list) -> dict:
    if len(items) % 2:
        raise CheckpointError("its pickle is forged: a key without a value")
    for key, value in zip(items[::2], items[1::2]):
        target[hashable(key)] = value
    return target
