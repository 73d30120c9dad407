"""Errors that speak to the person who caused them.

Each message says what was expected, what came, and what to do. The command line prints it in one line and exits with
status 2; a batch job (ingest, predict) sets the file aside with it and goes on. Wrong arrays given to a function raise
a plain ``ValueError``.
"""


class EinthovenError(Exception):
    """Something that a user can mend. Its text is the whole explanation."""


class FormatError(EinthovenError):
    """A file cannot be read as an ECG: damaged, truncated, or of a format we do not know."""


class ContractError(EinthovenError):
    """A record does not meet a model's or store's signal contract, and may not be converted to it."""


class StoreError(EinthovenError):
    """A store is missing, damaged, of another version, or lacks what was asked of it."""


class RecipeError(EinthovenError):
    """A recipe, or a ``key=value`` that changes one, is wrong."""


class CheckpointError(EinthovenError):
    """A checkpoint or model is damaged, does not fit, or holds what we refuse to execute."""
