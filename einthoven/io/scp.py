"""SCP-ECG (EN 1064, ISO 11073-91064, ANSI/AAMI EC71), versions 1 and 2, and 3 where it kept their layout.

Our own code, for lack of a library: ``scp_sections`` finds and checks the sections, ``scp_huffman`` decodes, ``scp_signal`` undoes bimodal compression and
the subtraction of the reference beat, ``scp_describe`` reads what is said beside the signal.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from einthoven.errors import FormatError
from einthoven.io.cut import cut, unique_names, with_limb_leads
from einthoven.io.scp_describe import describe
from einthoven.io.scp_sections import read_sections
from einthoven.io.scp_signal import read_signal
from einthoven.leads import canonical
from einthoven.record import Record


def read(path: Path | str, *, leads: Sequence[str] | None = None, start: float | None = None, stop: float | None = None) -> Record:
    """An SCP-ECG file, in mV; the leads in its order, III, aVR, aVL and aVF derived where it holds the other eight.

    leads       : only these leads, in this order
    start, stop : only this part, in seconds

    ``meta["checksum_mismatch"]`` names what has a wrong checksum without being part of the signal. Raises FormatError.
    """
    path = Path(path)
    sections, mismatched = read_sections(path)
    if missing := [number for number in (3, 6) if number not in sections]:
        long_term = ", but a long-term recording (section 12), which is not read" if 12 in sections else ""
        raise FormatError(
            f"{path}: expected the leads (section 3) and their rhythm data (section 6); it has no section {missing[0]}{long_term}; export it again."
        )
    try:
        signal, fs, names = read_signal(sections)
    except (ValueError, struct.error) as error:
        raise FormatError(f"{path}: a damaged SCP-ECG file: {error}; export it again.") from None
    meta, patient = describe(sections)
    if mismatched:
        meta["checksum_mismatch"] = mismatched
    record = Record(signal, fs, tuple(unique_names([_name(name) for name in names])), record=path.stem, patient=patient, meta=meta)
    return cut(with_limb_leads(record), path, leads=leads, start=start, stop=stop)


def _name(name: str) -> str:
    """The field's spelling; what the standard keeps apart from the plain lead keeps its name."""
    return name if "(" in name else canonical(name)
