"""Tasks: a module around an encoder that learns from labels, persons or measurements, and answers (docs/architecture.md)."""

from __future__ import annotations

from einthoven.tasks.diagnosis import Diagnosis
from einthoven.tasks.identification import Identification
from einthoven.tasks.regression import Regression

TASKS = {"diagnosis": Diagnosis, "identification": Identification, "regression": Regression}
"""By the name that recipes and model folders use."""

__all__ = ["TASKS", "Diagnosis", "Identification", "Regression"]
