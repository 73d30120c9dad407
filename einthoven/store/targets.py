"""Labels of a store's recordings as the columns of a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from einthoven.store.read import Store

if TYPE_CHECKING:
    from einthoven.sources.vocabulary import LabelClass


def targets_of(store: Store, rows: np.ndarray, classes: Sequence[LabelClass]) -> np.ndarray:
    """(row, class) float32 of these rows: 1, 0, or NaN where not known; recordings with the same labels are looked up once."""
    from einthoven.sources.vocabulary import targets

    kind, kinds = store.label_sets()
    codes, systems = store.codes("label_system")
    seen, which = np.unique(kind[rows] * len(systems) + codes[rows], return_inverse=True)
    pairs = zip(*(part.tolist() for part in np.divmod(seen, len(systems))))
    known = [np.asarray(targets(kinds[number], systems[code], tuple(classes)), dtype=np.float32) for number, code in pairs]
    return np.stack(known)[which] if known else np.empty((0, len(classes)), dtype=np.float32)
