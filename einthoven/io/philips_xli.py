"""XLI, the compression of Philips' SierraECG files: LZW over the second differences of each lead.

A chunk per lead: its size in bytes (int32), an unknown int16 (always 1), the first difference code (int16), all little-endian; then LZW with codes of
10 bits, the most significant bit first, whose table is full at code 1022 and stays so. What unfolds are the high bytes of all difference codes,
then all low bytes: the first two codes are samples, each further one is 64 minus the second difference of the sample that follows it.

The form is known from C. Watford's sierra-ecg-tools, MIT licence (https://github.com/sixlettervariables/sierra-ecg-tools/wiki).
"""

from __future__ import annotations

import numpy as np

HEADER = 8
_BITS = 10
_LAST_CODE = 1022
_BIAS = 64
_WEIGHTS = 1 << np.arange(_BITS - 1, -1, -1)
_BYTES = [bytes([value]) for value in range(256)]


def decompress(data: bytes, n_leads: int, n_samples: int) -> np.ndarray:
    """The first ``n_leads`` chunks of a file's waveform, as they were stored: (lead, time) int16. A lead shorter than ``n_samples`` ends early.

    Raises ValueError where a chunk is missing or cut off, has a code that no table can hold, or unfolds to another length than was promised.
    """
    out = np.empty((n_leads, n_samples), dtype=np.int16)
    place = 0
    for lead in range(n_leads):
        if place + HEADER > len(data):
            raise ValueError(f"it ends in the header of lead {lead + 1} of {n_leads}")
        size = int.from_bytes(data[place : place + 4], "little", signed=True)
        first = int.from_bytes(data[place + 6 : place + HEADER], "little", signed=True)
        place += HEADER
        if not 0 <= size <= len(data) - place:
            raise ValueError(f"lead {lead + 1} of {n_leads} should have {size} bytes; {len(data) - place} are left")
        try:
            codes = unfold(data[place : place + size], 2 * n_samples)
        except ValueError as error:
            raise ValueError(f"lead {lead + 1} of {n_leads}: {error}") from None
        out[lead] = _integrate(np.frombuffer(codes, dtype=np.uint8).reshape(2, n_samples), first)
        place += size
    return out


def unfold(data: bytes, n_bytes: int) -> bytes:
    """LZW of 10-bit codes -> exactly ``n_bytes``. Raises ValueError where the codes give another number, or one is none.

    At most 7 bits of padding follow the last code; a code 1023 would end the data.
    """
    n_codes = len(data) * 8 // _BITS
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8), count=n_codes * _BITS)
    codes = (bits.reshape(n_codes, _BITS) @ _WEIGHTS).tolist()
    if _LAST_CODE + 1 in codes:
        codes = codes[: codes.index(_LAST_CODE + 1)]
    table = list(_BYTES)
    pieces: list[bytes] = []
    previous = b""
    for code in codes[: _LAST_CODE + 2 - len(_BYTES)]:  # each but the first adds one to the table, until it is full
        if code < len(table):
            piece = table[code]
        elif code == len(table) and previous:  # the piece that this very code completes
            piece = previous + previous[:1]
        else:
            raise ValueError(f"code {code} where {len(table)} are known")
        if previous:
            table.append(previous + piece[:1])
        pieces.append(piece)
        previous = piece
    pieces += [table[code] for code in codes[len(pieces) :]]
    if (total := sum(map(len, pieces))) != n_bytes:
        raise ValueError(f"unfolds to {total} bytes; {n_bytes} expected")
    return b"".join(pieces)


def _integrate(codes: np.ndarray, first: int) -> np.ndarray:
    """(2, time) high and low bytes -> (time,) int16. The device computes in 16 bits, so an overflow wraps and unwraps again."""
    n_samples = codes.shape[1]
    code = (codes[0].astype(np.uint16) << 8 | codes[1]).view(np.int16).astype(np.int64)
    if n_samples < 3:
        return code.astype(np.int16)
    second = np.empty(n_samples - 2, dtype=np.int64)
    second[0] = -first
    second[1:] = _BIAS - code[2:-1]
    slope = np.concatenate([[0], code[1] - code[0] + np.concatenate([[0], np.cumsum(second)])])
    return (code[0] + np.cumsum(slope)).astype(np.int16)
