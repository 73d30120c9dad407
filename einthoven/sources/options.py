"""The options of a source are the keyword arguments of its ``records``; on the command line they are texts."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

from einthoven.errors import EinthovenError
from einthoven.sources import SOURCES

_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def parameters_of(source: str) -> dict[str, inspect.Parameter]:
    """The options of a source by name, in the order of its signature."""
    return {name: one for name, one in inspect.signature(SOURCES[source].records).parameters.items() if one.kind is one.KEYWORD_ONLY}


def meanings_of(source: str) -> dict[str, str]:
    """What each option of a source means: the lines ``name : meaning`` of the docstring of its ``records``, which may go on indented."""
    known, meanings = parameters_of(source), dict[str, str]()
    name, column = "", 0
    for line in inspect.cleandoc(SOURCES[source].records.__doc__ or "").splitlines():
        word, colon, rest = line.partition(":")
        if colon and word.strip() in known:
            name, column = word.strip(), len(line) - len(rest.lstrip())
            meanings[name] = rest.strip()
        elif name and line.strip() and not line[:column].strip():
            meanings[name] += f" {line.strip()}"
        else:
            name = ""
    return meanings


def options_of(source: str, texts: Sequence[str]) -> dict[str, Any]:
    """``["signals=denoised", "subset=ptb,georgia"]`` as keyword arguments of the source's ``records``.

    Raises EinthovenError for an option that the source has not, and a value that is none of its kind.
    """
    known = parameters_of(source)
    hints = get_type_hints(SOURCES[source].records)
    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise EinthovenError(f"--option {text}: expected KEY=VALUE.")
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            there = f"it has {', '.join(known)}" if known else "it has none"
            raise EinthovenError(f"--option {text}: the source {source} has no option {name}; {there}{hint}.")
        options[name] = _value(text, value, known[name].default, hints.get(name))
    return options


def _value(text: str, value: str, default: Any, hint: Any) -> Any:
    kinds = set(get_args(hint)) or {hint}
    expected = f"a value such as {default}" if default is not None else "a number"
    try:
        if bool in kinds:
            return _TRUTH[value.lower()]
        if float in kinds or int in kinds:
            return float(value) if float in kinds else int(value)
    except (KeyError, ValueError):
        raise EinthovenError(f"--option {text}: expected {expected}; got {value!r}.") from None
    if isinstance(default, tuple):
        return tuple(part for part in value.split(",") if part)
    return str(Path(value).expanduser().absolute()) if Path in kinds else value
