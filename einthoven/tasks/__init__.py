"""Tasks: a module around an encoder that learns from labels and answers with probabilities (docs/architecture.md)."""

from __future__ import annotations

from einthoven.tasks.diagnosis import Diagnosis

TASKS = {"diagnosis": Diagnosis}
"""By the name that recipes and model folders use."""

__all__ = ["TASKS", "Diagnosis"]
