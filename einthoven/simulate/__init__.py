"""The synthetic heart: 12-lead ECGs of simulated persons, whose truth is known."""

from einthoven.simulate.findings import FINDINGS
from einthoven.simulate.heart import Simulated, Truth, simulate

__all__ = ["FINDINGS", "Simulated", "Truth", "simulate"]
