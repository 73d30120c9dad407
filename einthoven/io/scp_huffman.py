"""The Huffman code of SCP-ECG: bits in, differences out, all symbols of a lead found at once.

A code structure is a prefix of bits, perhaps followed by more bits that hold the value itself in two's complement, and added to a base
value. A structure may instead switch to another table. Nothing marks where a symbol begins, so a decoder must go from one to the next;
here the symbol that would begin at *every* bit is looked up first, and then the chain of the true ones is followed sixteen at a time.

Source: EN 1064 (ANSI/AAMI EC71), section 2 and annex C. Decoding of each lead begins with the first table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

DEFAULT_TABLE = 19999
"""The number of tables by which section 2 means the standard's own table."""

MAX_TABLES = 16
_CHUNK = 32_768  # bits looked at together: the arrays stay in the processor's cache
_JUMP = 8


@dataclass(frozen=True, eq=False)
class Table:
    """The code structures of one table, sorted by prefix, and behind them one of no bits, which stands for bits that are no code (index -1).

    first  : (code,) uint64, the prefix in the high bits of a 32-bit word
    prefix : (code,) bits of the prefix
    total  : (code,) bits of prefix and value together
    value  : (code,) base value; of a switch the number of the next table, from 0
    switch : (code,) bool
    """

    first: np.ndarray
    prefix: np.ndarray
    total: np.ndarray
    value: np.ndarray
    switch: np.ndarray
    quick: np.ndarray | None
    """For every 16 bits the index of the structure they begin with; None where a prefix is longer than 16 bits."""


def make_table(codes: Sequence[tuple[int, int, bool, int, int]], n_tables: int = 1) -> Table:
    """A table from its structures: (prefix bits, bits in all, is a value, base value or table from 1, prefix with its first bit lowest).

    Raises ValueError where the structures are no code: a prefix begins another one, a length is impossible, a table is not there.
    """
    if not codes:
        raise ValueError("a Huffman table without a code")
    rows = []
    for prefix, total, is_value, base, reversed_code in codes:
        if not 0 < prefix <= 32 or not 0 <= total - prefix <= (16 if is_value else 0) or reversed_code >> prefix:
            raise ValueError(f"a Huffman code of {prefix} bits, {total} with its value, and prefix {reversed_code}")
        if not is_value and not 1 <= base <= n_tables:
            raise ValueError(f"a switch to Huffman table {base} of {n_tables}")
        code = int(f"{reversed_code:0{prefix}b}"[::-1], 2)
        rows.append((code << (32 - prefix), prefix, total, base if is_value else base - 1, not is_value))
    rows.sort()
    first, prefixes, totals, values, switches = (np.array(column) for column in zip(*rows, (1 << 33, 32, 0, 0, False)))
    ends = first + (1 << (32 - prefixes))
    if (ends[:-1] > first[1:]).any():
        raise ValueError("Huffman codes of which one begins another")
    table = Table(first.astype(np.uint64), prefixes, totals, values, switches.astype(bool), None)
    if prefixes[:-1].max() > 16:
        return table
    quick = _search(table, np.arange(65536, dtype=np.uint64) << np.uint64(16))
    return Table(table.first, table.prefix, table.total, table.value, table.switch, quick)


@lru_cache(maxsize=1)
def default_table() -> Table:
    """The standard's table: n ones and a zero, then a sign, for ±n up to 8; after ten bits an 8-bit or a 16-bit value."""
    codes = [(1, 1, True, 0, 0)]
    for n in range(1, 9):
        ones = (1 << n) - 1
        codes += [(n + 2, n + 2, True, n, ones), (n + 2, n + 2, True, -n, ones | 1 << (n + 1))]
    return make_table([*codes, (10, 18, True, 0, 0x1FF), (10, 26, True, 0, 0x3FF)])


def decode(data: bytes, n: int, tables: Sequence[Table]) -> np.ndarray:
    """The first n values that are coded in ``data``: (n,) int64, fewer where the data end before.

    Raises ValueError where the bits are no code of the table.
    """
    n_tables = len(tables)
    n_bits, chunk = 8 * len(data), max(_CHUNK // n_tables // 8, 64) * 8
    padded = np.frombuffer(data + bytes(8), dtype=np.uint8).astype(np.uint64)
    words = padded[: len(data)].copy()  # eight bytes from each byte on, the first of them highest
    for k in range(1, 8):
        words = words << np.uint64(8) | padded[k : k + len(data)]
    parts: list[np.ndarray] = []
    found, start, table = 0, 0, 0
    while found < n and start < n_bits:
        values, after, table = _decode_chunk(words, start, min(chunk, n_bits - start), n_bits, table, tables)
        parts.append(values)
        found += len(values)
        if after == start:
            break
        start = after
    if found < n and start + 32 < n_bits:
        raise ValueError(f"bits that are no code of the Huffman table, after {found} of {n} samples")
    return np.concatenate(parts)[:n] if parts else np.zeros(0, dtype=np.int64)


def _decode_chunk(
    words: np.ndarray, start: int, n_bits: int, n_all: int, table: int, tables: Sequence[Table]
) -> tuple[np.ndarray, int, int]:
    """The values of the symbols that begin within ``n_bits`` bits from ``start``, and where, and by which table, decoding goes on.

    It goes on where it was when no symbol begins there, or one that runs beyond all ``n_all`` bits.
    """
    whole = words[start // 8 : (start + n_bits + 7) // 8, None] << np.arange(8, dtype=np.uint64)
    bits = whole.reshape(-1)[start % 8 : start % 8 + n_bits]  # at each bit the 57 bits, or more, from there on
    index = [_find(one, bits) for one in tables]
    here = np.tile(np.arange(n_bits), len(tables))
    after = here + np.concatenate([one.total.take(i) for one, i in zip(tables, index)])
    # A node of the chain is a table and a bit.
    end = len(tables) * n_bits
    follow = np.zeros(1, dtype=np.int64)  # the table after each node
    if len(tables) > 1:
        follow = np.concatenate([np.where(one.switch[i], one.value[i], own) for own, (one, i) in enumerate(zip(tables, index))])
    chain = np.append(np.where((after < n_bits) & (after > here), follow * n_bits + after, end), end)
    nodes = _follow(chain, table * n_bits, end)
    if after[nodes[-1]] == here[nodes[-1]] or after[nodes[-1]] > n_all - start:
        nodes = nodes[:-1]
    if not len(nodes):
        return np.zeros(0, dtype=np.int64), start, table
    values = np.zeros(len(nodes), dtype=np.int64)
    is_value = np.ones(len(nodes), dtype=bool)
    for own, (one, i) in enumerate(zip(tables, index)):
        mine = np.flatnonzero(nodes // n_bits == own) if len(tables) > 1 else np.arange(len(nodes))
        which = i[nodes[mine] - own * n_bits]
        values[mine] = one.value[which] + _extra(bits[nodes[mine] - own * n_bits], one.prefix[which], one.total[which])
        is_value[mine] = ~one.switch[which]
    last = nodes[-1]
    return values[is_value], start + int(after[last]), int(follow[last]) if len(tables) > 1 else 0


def _extra(bits: np.ndarray, prefix: np.ndarray, total: np.ndarray) -> np.ndarray:
    """The signed number in the bits of a symbol behind its prefix; 0 where there is none."""
    n = total - prefix
    out = np.zeros(len(bits), dtype=np.int64)
    some = np.flatnonzero(n)
    shifted = (bits[some] << prefix[some].astype(np.uint64)).view(np.int64)
    out[some] = shifted >> (64 - n[some])
    return out


def _search(table: Table, head: np.ndarray) -> np.ndarray:
    """The index of the structure that 32 bits begin with, -1 where none."""
    index = np.searchsorted(table.first[:-1], head, side="right") - 1
    width = (32 - table.prefix[index]).astype(np.uint64)
    return np.where((index >= 0) & (head >> width == table.first[index] >> width), index, -1)


def _find(table: Table, bits: np.ndarray) -> np.ndarray:
    """The index of the structure that 64 bits begin with, -1 where none."""
    return _search(table, bits >> np.uint64(32)) if table.quick is None else table.quick.take((bits >> np.uint64(48)).view(np.int64))


def _follow(chain: np.ndarray, start: int, end: int) -> np.ndarray:
    """Every node on the way from ``start`` to ``end`` (left out), where ``chain`` names the next of each."""
    jumps = [chain]
    while len(jumps) < _JUMP.bit_length():
        jumps.append(jumps[-1].take(jumps[-1]))
    far, stops, node = jumps[-1], [], start
    while node != end:
        stops.append(node)
        node = int(far[node])
    nodes = np.array(stops)[:, None]
    for jump in reversed(jumps[:-1]):
        nodes = np.stack([nodes, jump[nodes]], axis=-1).reshape(len(nodes), -1)
    nodes = nodes.reshape(-1)
    return nodes[nodes != end]
