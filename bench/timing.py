"""What the survey's bench measures, how it times, and how it prints."""

import importlib.metadata
import importlib.util
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

PACKAGES = ("numpy", "pandas", "scipy", "polars", "duckdb", "fairlearn")
Row = dict[str, Any]


class Size:
    """How much of the work is done."""

    questions: int | None = None  # all 214
    repeats = 7
    scipy_questions = 24
    resamples = 10_000
    pandas_resamples = 200
    fairlearn_resamples = 40
    countries = 90
    each = 5000

    @classmethod
    def quick(cls) -> "Size":
        """As little as shows that everything runs."""
        size = cls()
        size.questions, size.repeats, size.scipy_questions = 8, 1, 2
        size.resamples, size.pandas_resamples, size.fairlearn_resamples = 100, 5, 5
        size.countries, size.each = 2, 600
        return size


def beside(
    ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int, slow: bool = False
) -> tuple[float, float, Any, Any]:
    """Median CPU seconds and last answers of both; they take turns on a machine that others use."""
    spent: tuple[list[float], list[float]] = ([], [])
    answers: list[Any] = [None, None]
    for turn in range(repeats):
        for place, work in enumerate((ours, theirs)):
            if place == 1 and slow and turn:
                continue
            start = time.process_time()
            answers[place] = work()
            spent[place].append(time.process_time() - start)
    return median(spent[0]), median(spent[1]), *answers


def row(
    against: str,
    work: str,
    ours: float,
    theirs: float,
    at_least: float | None,
    equal: bool,
    scaled_from: str | None = None,
) -> Row:
    """One line of the result."""
    return {
        "against": against,
        "work": work,
        "ours_s": ours,
        "theirs_s": theirs,
        "ratio": theirs / ours,
        "at_least": at_least,
        "equal": equal,
        "scaled_from": scaled_from,
    }


def versions() -> dict[str, str]:
    """Versions of everything that was measured."""
    installed = {"python": sys.version.split()[0]}
    for name in PACKAGES:
        if importlib.util.find_spec(name):
            installed[name] = importlib.metadata.version(name)
    return installed


def print_table(rows: Sequence[Row]) -> None:
    """Print the table of ratios."""
    lines = [("against", "ours", "theirs", "ratio", "asked", "equal", "work")]
    for entry in rows:
        equal = "yes" if entry["equal"] else "NO"
        if entry["ratio"] is None:
            asked = f"<= {entry['cpu_s_at_most']} CPU-s, {entry['peak_mb_at_most']:,} MB"
            spent = f"{entry['cpu_s']:.1f} CPU-s"
            peak = f"{entry['peak_mb']:,.0f} MB"
            lines.append((entry["against"], spent, peak, "", asked, equal, entry["work"]))
            continue
        theirs = f"{entry['theirs_s']:.3g} s" + ("*" if entry["scaled_from"] else "")
        asked = f"{entry['at_least']:,}x" if entry["at_least"] else "-"
        ours = f"{entry['ours_s'] * 1000:.3g} ms"
        ratio = f"{entry['ratio']:,.0f}x"
        lines.append((entry["against"], ours, theirs, ratio, asked, equal, entry["work"]))
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    text = "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    notes = "CPU seconds, one thread. * scaled linearly from a part of the work, named in the json."
    stated = ", ".join(f"{name} {version}" for name, version in versions().items())
    sys.stdout.write(f"{text}\n{notes}\n{stated}\n")
