"""Tests of the command line share the small world of ``command_line``."""

from __future__ import annotations

from command_line import own, world

__all__ = ["own", "world"]
