"""Which release of a corpus lies in a folder, as the folder's name tells it."""

from __future__ import annotations

import re
from pathlib import Path

_VERSION = re.compile(r"(?:^|[-_ v])(\d+(?:\.\d+){1,2})$")
_BELOW = ("training", "files")  # folders inside a release that are given as its root


def version_in_name(root: Path) -> str | None:
    """``ptb-xl-…-1.0.3``, or ``ptb-xl/1.0.3`` as PhysioNet's mirror has it -> ``1.0.3``; also through a link, and from the folder inside."""
    for path in (root, root.resolve()):
        for folder in (path, path.parent) if path.name.lower() in _BELOW else (path,):
            if match := _VERSION.search(folder.name):
                return match[1]
    return None
