"""The page's tables of win rates, and what makes a judge's verdicts doubtful. Pure."""

from collections.abc import Collection, Mapping
from typing import Any

from valuestrata.report.comparison import Metric
from valuestrata.report.display import Cell, Table, cell, difference_cell, greyed, run_cell
from valuestrata.report.phrases import (
    NONE,
    count,
    decimal,
    listed,
    percent,
    plural,
    tested,
    value_range,
)
from valuestrata.report.results import Results, to_estimate
from valuestrata.report.runs import BASE, ModelVariant, llm_runs, splits, tuned_runs
from valuestrata.report.settings import DisplaySettings
from valuestrata.tables import VERDICT_OUTCOMES

MIN_COMPARISONS = 30
"""Fewest comparisons of a run that a sentence is made of."""
MIN_QUESTIONS = 10
"""Fewest questions that they must be about."""


def win_rates_table(
    results: Results, split: str, judge: str, doubtful: Collection[tuple[str, str]] = ()
) -> Table:
    """A judge's verdicts on a split, a row a dimension and run; grey where it is in `doubtful`."""
    settings = results.settings
    rows = []
    for dimension in results.dimensions(judge, split):
        metric = Metric("win_rate", judge, dimension)
        for run in llm_runs(settings):
            cells = _cells(results, run, split, metric)
            if cells:
                shown = (greyed(each, metric, doubtful) for each in cells)
                rows.append((Cell(dimension), run_cell(results, run), *shown))
    tuned = ("Minus its base",) if tuned_runs(settings) else ()
    columns = (
        "Dimension",
        "Run",
        "Win rate",
        "Length-controlled",
        "Position bias",
        "Flips",
        "Ties",
        "No verdict",
        *tuned,
    )
    doubted = any((judge, row[0].text) in doubtful for row in rows)
    grey = f" Grey: the judge is less reliable than {results.annotators} there." if doubted else ""
    note = (
        "p of a win rate: against 0.5. Position bias: score shown first minus score shown second. "
        f"n and missing count comparisons.{grey}"
    )
    return Table(f"Verdicts of {judge}, {split}", columns, tuple(rows), heads=2, note=note)


def _cells(results: Results, run: ModelVariant, split: str, metric: Metric) -> list[Cell]:
    """The statistics of a run; none where it was not judged."""
    names = ("win_rate", "length_controlled", "position_bias", "flip_rate", "tie_rate")
    of_run = {
        name: results.verdicts(run, split, metric.judge, metric.dimension, name)
        for name in (*names, "shown_first", "shown_second", *VERDICT_OUTCOMES[1:])
    }
    rows = {name: row for name, row in of_run.items() if row is not None}
    if len(rows) < len(of_run):
        return []
    orders = (decimal(float(rows[f"shown_{place}"]["value"])) for place in ("first", "second"))
    cells = [
        _cell(rows["win_rate"], _test(rows["win_rate"])),
        _cell(rows["length_controlled"], rows["length_controlled"]["note"]),
        _cell(
            rows["position_bias"], f"{' and '.join(orders)}, {_test(rows['position_bias'])}", True
        ),
        _cell(rows["flip_rate"], rate=True),
        _cell(rows["tie_rate"], rate=True),
        _no_verdict(rows),
    ]
    if tuned_runs(results.settings):
        base = (run[0], BASE)
        gap = results.difference(run, base, split, metric) if run[1] != BASE else None
        cells.append(difference_cell(gap, metric))
    return cells


def _cell(
    row: Mapping[str, Any], extra: str = "", signed: bool = False, rate: bool = False
) -> Cell:
    return cell(to_estimate(row), rate, signed, extra)


def _test(row: Mapping[str, Any]) -> str:
    return tested(to_estimate(row))


def _no_verdict(rows: Mapping[str, Mapping[str, Any]]) -> Cell:
    """Share of comparisons without a verdict, and how many of each kind."""
    shares = {name: float(rows[name]["value"]) for name in VERDICT_OUTCOMES[1:]}
    n = int(rows[VERDICT_OUTCOMES[1]]["n"])
    counts = {name: round(share * n) for name, share in shares.items()}
    kinds = [f"{name} {count(number)}" for name, number in counts.items() if number]
    return Cell(percent(sum(shares.values())), small=", ".join(kinds))


def all_verdict_warnings(results: Results) -> list[str]:
    """What makes verdicts doubtful, a sentence each."""
    lines = []
    for judge in results.settings.judges:
        lines += self_preference(results.settings, judge)
        for split in splits(results.settings):
            for dimension in results.dimensions(judge, split):
                lines += _no_verdict_warning(results, split, judge, dimension)
    return lines


def self_preference(settings: DisplaySettings, judge: str) -> list[str]:
    """A sentence where a judge's model shares a family with models that it compares."""
    kin = settings.judge_kin.get(judge, ())
    if not kin:
        return []
    reference = settings.references.get(judge, ("", ""))[0]
    target = ", the reference among them," if reference in kin and len(kin) > 1 else ""
    return [
        f"{judge} is of the same family as {listed(kin)}{target} by their names, and may favour "
        "its own family's texts (self-preference)."
    ]


def _no_verdict_warning(results: Results, split: str, judge: str, dimension: str) -> list[str]:
    """A sentence where more than a tenth of a run's comparisons have no verdict."""
    shares = []
    for run in llm_runs(results.settings):
        row = results.verdicts(run, split, judge, dimension, "win_rate")
        if row is not None and int(row["missing"]) > 0.1 * (int(row["n"]) + int(row["missing"])):
            shares.append(int(row["missing"]) / (int(row["n"]) + int(row["missing"])))
    if not shares:
        return []
    return [
        f"On {dimension}, {split}, {judge} gave no verdict in {value_range(shares, rate=True)} of "
        f"the comparisons of {plural(len(shares), 'run')}: win rates are of the rest, which may be "
        "the easier part."
    ]


def is_enough(row: Mapping[str, Any] | None) -> bool:
    """Whether a run was compared often enough for a sentence."""
    return (
        row is not None
        and int(row["n"]) >= MIN_COMPARISONS
        and int(row["questions"]) >= MIN_QUESTIONS
    )


def too_few(row: Mapping[str, Any] | None) -> str:
    """`n 12 on 5 questions, of the 30 on 10 that a sentence takes`."""
    if row is None:
        return NONE
    return (
        f"n {count(int(row['n']))} on {plural(int(row['questions']), 'question')}, of the "
        f"{MIN_COMPARISONS} on {MIN_QUESTIONS} that a sentence takes"
    )
