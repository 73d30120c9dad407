"""The page that all reports share: one skeleton, one style sheet, and the functions through which every value enters it.

A page is one file: no script, no font, no picture is fetched from anywhere. Text from files goes through ``text`` (``einthoven.plot.caption.markup``); only
what this package makes itself (an SVG tracing, a figure) goes in as it is.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from einthoven.plot.caption import markup as text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTICE = (
    "Research software, not a medical device. It has no regulatory clearance; nothing on this page may be used to diagnose, "
    "to treat or to reassure a person. Probabilities are a model's and may be wrong."
)

STYLE = """
:root { --ink: #1b2430; --muted: #5f6b78; --line: #dde2e7; --ground: #ffffff; --soft: #f5f7f9; --accent: #0f5c78; --found: #a1283c; }
* { box-sizing: border-box; }
html { background: var(--soft); }
body { max-width: 1104px; margin: 0 auto; padding: 36px 42px 48px; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", Helvetica, Arial, sans-serif; font-variant-numeric: tabular-nums; }
header { border-bottom: 2px solid var(--ink); padding-bottom: 14px; margin-bottom: 22px; }
h1 { font-size: 27px; line-height: 1.2; margin: 0; font-weight: 650; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 40px 0 10px; font-weight: 650; overflow-wrap: anywhere; }
h3 { font-size: 15px; margin: 22px 0 6px; font-weight: 650; }
p { margin: 8px 0; max-width: 76ch; }
a { color: var(--accent); text-decoration: none; } a:hover { text-decoration: underline; }
.brand { color: var(--accent); font-size: 12.5px; font-weight: 650; letter-spacing: .09em; text-transform: uppercase; margin: 0 0 6px; }
.lead { color: var(--muted); margin: 6px 0 0; max-width: none; }
.muted, .unit { color: var(--muted); } .small { font-size: 13px; }
code { font: 13px/1.4 ui-monospace, "SF Mono", "DejaVu Sans Mono", Menlo, monospace; overflow-wrap: anywhere; }
pre { font: 13px/1.5 ui-monospace, "SF Mono", "DejaVu Sans Mono", Menlo, monospace; background: var(--soft); border-left: 3px solid var(--accent);
  padding: 9px 14px; margin: 10px 0; white-space: pre-wrap; overflow-wrap: anywhere; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: 3px 22px; margin: 10px 0; font-size: 14px; }
dl.facts dt { color: var(--muted); } dl.facts dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; margin: 10px 0 14px; font-size: 14px; }
th { text-align: left; color: var(--muted); font-weight: 500; border-bottom: 1px solid var(--ink); padding: 5px 14px 5px 0; vertical-align: bottom; }
td { border-bottom: 1px solid var(--line); padding: 5px 14px 5px 0; vertical-align: top; overflow-wrap: anywhere; }
th.number, td.number { text-align: right; white-space: nowrap; }
tr.found td { font-weight: 650; } tr.found td.code, tr.found td.number.unit { font-weight: 400; }
tr.ours td { font-weight: 650; }
td.code { color: var(--muted); font-size: 13px; } .whole { white-space: nowrap; }
.bar { position: relative; display: block; width: 240px; max-width: 100%; height: 10px; margin-top: 6px; background: #e9edf1; border-radius: 2px; }
.bar i { position: absolute; left: 0; top: 0; bottom: 0; background: #8fa3b3; border-radius: 2px; }
.found .bar i { background: var(--found); }
.bar b { position: absolute; top: -3px; bottom: -3px; width: 2px; margin-left: -1px; background: var(--ink); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 0 26px; margin: 16px 0 20px; }
.tile { border-top: 1px solid var(--ink); padding: 8px 0; }
.tile strong { display: block; font-size: 25px; line-height: 1.25; font-weight: 600; letter-spacing: -.01em; } .tile span { color: var(--muted); font-size: 13px; }
ul.notes { margin: 6px 0 10px; padding-left: 18px; font-size: 13.5px; color: var(--muted); }
.refused { border-left: 3px solid var(--found); background: #fbf4f5; padding: 9px 14px; margin: 12px 0; overflow-wrap: anywhere; }
.notice { max-width: none; font-size: 13px; color: var(--muted); background: var(--soft); border-left: 3px solid var(--found); padding: 7px 14px; margin: 0 0 16px; }
.mark { color: var(--found); font-weight: 650; }
svg.ecg { display: block; margin: 12px 0; max-width: 100%; height: auto; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 8px 26px; } .pair figure { margin: 6px 0; }
figure { margin: 14px 0; } figure img { display: block; max-width: 100%; height: auto; } figcaption { color: var(--muted); font-size: 13px; margin-top: 4px; }
.scroll { overflow-x: auto; }
footer { border-top: 1px solid var(--line); margin-top: 44px; padding-top: 12px; color: var(--muted); font-size: 13px; } footer p { max-width: none; }
@media screen and (max-width: 760px) { body { padding: 22px 16px; } .pair { grid-template-columns: 1fr; } }
@page { size: A4 landscape; margin: 11mm 13mm; }
@media print { html { background: none; } body { max-width: none; padding: 0; font-size: 10.5pt; } a { color: inherit; }
  svg.ecg { max-width: none; } .pair svg.ecg { max-width: 100%; } section.record + section.record { break-before: page; } dl.facts { font-size: 9.5pt; } h2 { margin-top: 18px; }
  tr, figure, svg.ecg, .tile { break-inside: avoid; } h2, h3 { break-after: avoid; } .bar, .bar i, .bar b, .refused { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


def page(title: str, body: str, *, lead: str = "", brand: str = "Einthoven") -> str:
    """A whole HTML page. ``title``, ``lead`` and ``brand`` are plain text; ``body`` is HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        # No request of any kind leaves this page, whatever stands in it.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\"/>\n"
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<header><p class="brand">{text(brand)}</p><h1>{text(title)}</h1>{f"<p class={chr(34)}lead{chr(34)}>{text(lead)}</p>" if lead else ""}</header>\n'
        f"<main>\n{body}\n</main>\n<footer><p>{NOTICE}</p></footer>\n</body>\n</html>\n"
    )


def facts(pairs: Mapping[str, Any]) -> str:
    """Names and values as a small two-column list; what is not known (None, "") is left out."""
    rows = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in pairs.items() if value not in (None, ""))
    return f'<dl class="facts">{rows}</dl>' if rows else ""


def tiles(pairs: Mapping[str, Any]) -> str:
    """A row of large numbers with what they count below them."""
    return (
        '<div class="tiles">'
        + "".join(f'<div class="tile"><strong>{text(value)}</strong><span>{text(name)}</span></div>' for name, value in pairs.items())
        + "</div>"
    )


def notes(lines: Iterable[str]) -> str:
    rows = "".join(f"<li>{text(line)}</li>" for line in lines)
    return f'<ul class="notes">{rows}</ul>' if rows else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[int] = (), classes: Sequence[str] | None = None) -> str:
    """A table. The cells are HTML already; ``numbers`` are the columns set flush right, ``classes`` one class per row."""
    right = set(numbers)
    mark = [' class="number"' if column in right else "" for column in range(len(head))]
    top = "".join(f"<th{mark[column]}>{text(name)}</th>" for column, name in enumerate(head))
    lines = []
    for i, row in enumerate(rows):
        kind = f' class="{classes[i]}"' if classes and classes[i] else ""
        lines.append(f"<tr{kind}>" + "".join(f"<td{mark[column]}>{cell}</td>" for column, cell in enumerate(row)) + "</tr>")
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>\n' + "\n".join(lines) + "\n</tbody></table></div>"


def picture(figure: Figure, alt: str, caption: str = "") -> str:
    """A matplotlib figure as part of the page, as SVG in a data URI: sharp, and isolated from the rest of the page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    below = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    width = round(figure.get_size_inches()[0] * 96)
    return f'<figure><img width="{width}" alt="{text(alt)}" src="data:image/svg+xml;base64,{data}"/>{below}</figure>'


def figure_of(number: Any, digits: int = 3) -> str:
    """A number with so many decimals; an en dash for what could not be computed."""
    value = as_float(number)
    return "–" if value is None else f"{value:.{digits}f}"


def interval(row: Mapping[str, Any], name: str, digits: int = 3) -> str:
    """``0.912 [0.881, 0.940]`` from ``name``, ``name_low``, ``name_high``; without brackets where there is no interval."""
    low, high = as_float(row.get(f"{name}_low")), as_float(row.get(f"{name}_high"))
    value = figure_of(row.get(name), digits)
    return value if low is None or high is None or value == "–" else f"{value} [{low:.{digits}f}, {high:.{digits}f}]"


def as_float(value: Any) -> float | None:
    """A finite number, or None."""
    if value is None or isinstance(value, str):
        return None
    number = float(value)
    return number if math.isfinite(number) else None
