"""How a judge took texts that were made to try it: sentences and a table, from PROBES. Pure."""

from collections.abc import Mapping, Sequence

import pandas as pd

from valuestrata.io import records
from valuestrata.report.display import Cell, Table, cell
from valuestrata.report.phrases import NONE, count, with_interval
from valuestrata.report.results import Estimate, to_estimate

KINDS = {
    "instruction": "Told what to answer",
    "length": "Longer, same content",
    "same": "Same text twice",
}
"""Probe -> what its text is."""
EVENTS = {
    "won": "changed text won",
    "lost": "changed text lost",
    "first": "first one won",
    "second": "second one won",
}
Shares = Mapping[tuple[str, str, str], Estimate]
"""Estimate by probe, dimension and outcome."""


def _shares(frame: pd.DataFrame) -> Shares:
    return {
        (str(row["probe"]), str(row["dimension"]), str(row["outcome"])): to_estimate(row)
        for row in records(frame)
    }


def _dimensions(frame: pd.DataFrame) -> list[str]:
    """Dimensions in the table's order, Overall first."""
    names = [str(name) for name in frame["dimension"].unique()]
    return sorted(names, key=lambda name: name.lower() != "overall")


def probe_lines(judge: str, frame: pd.DataFrame) -> list[str]:
    """A line for each probe and dimension: how often what won, of how many comparisons."""
    shares = _shares(frame)
    lines = []
    for dimension in _dimensions(frame):
        for probe, kind in KINDS.items():
            events = [k for k in EVENTS if (probe, dimension, k) in shares]
            parts = [f"{EVENTS[k]} {_share(shares[probe, dimension, k])}" for k in events]
            every = shares[probe, dimension, events[0]]
            n = f"{count(every.n)} comparisons, {count(every.missing)} without a verdict"
            lines.append(f"{judge}, {dimension}, {kind.lower()}: {', '.join(parts)}; {n}")
    return lines


def _share(estimate: Estimate) -> str:
    return with_interval(estimate, rate=True) if estimate.exists else NONE


def swayed_lines(probes: Mapping[str, pd.DataFrame]) -> list[str]:
    """A line for each judge that changed texts, or a place, clearly sway; none where unclear.

    Said where the intervals of won and lost, or of first and second, do not meet.
    """
    lines = []
    words = {
        "instruction": "lets texts win that tell it what to answer",
        "length": "lets longer texts win that say no more",
    }
    for judge, frame in probes.items():
        shares, names = _shares(frame), _dimensions(frame)
        for probe, text in words.items():
            swayed = [d for d in names if _above(shares, probe, d, "won", "lost")]
            if swayed:
                lines.append(f"Judge {judge} {text} ({', '.join(swayed)}).")
        for side, other in (("first", "second"), ("second", "first")):
            swayed = [d for d in names if _above(shares, "same", d, side, other)]
            if swayed:
                lines.append(
                    f"Judge {judge} prefers the {side} of two equal texts ({', '.join(swayed)})."
                )
    return lines


def _above(shares: Shares, probe: str, dimension: str, high: str, low: str) -> bool:
    return shares[probe, dimension, high].ci_low > shares[probe, dimension, low].ci_high


def probes_table(probes: Mapping[str, pd.DataFrame], judges: Sequence[str]) -> Table | None:
    """How often changed texts won and lost, and which of two equal ones; None without probes.

    Judges that nobody tried are named as such.
    """
    if not probes:
        return None
    rows = []
    for judge in judges:
        if judge not in probes:
            rows.append((Cell(judge), Cell("not tried"), *[Cell(NONE)] * len(_columns())))
            continue
        shares = _shares(probes[judge])
        for dimension in _dimensions(probes[judge]):
            cells = [
                cell(shares[probe, dimension, outcome], rate=True) for probe, outcome in _columns()
            ]
            rows.append((Cell(judge), Cell(dimension), *cells))
    heads = [f"{KINDS[probe]}: {EVENTS[outcome]}" for probe, outcome in _columns()]
    note = (
        "Both texts of a comparison say the same. A judge that is not swayed never lets the "
        "changed text win, and calls two equal ones a tie. n counts comparisons, "
        "missing those without a verdict; intervals take whole questions as clusters."
    )
    return Table("Judges tried", ("Judge", "Dimension", *heads), tuple(rows), heads=2, note=note)


def _columns() -> list[tuple[str, str]]:
    sides = {"instruction": ("won", "lost"), "length": ("won", "lost"), "same": ("first", "second")}
    return [(probe, outcome) for probe, outcomes in sides.items() for outcome in outcomes]
