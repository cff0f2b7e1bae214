"""Whether a judge is as reliable as people: sentences and a table, from HUMAN_AGREEMENT. Pure."""

from dataclasses import dataclass

import pandas as pd

from valuestrata.io import records
from valuestrata.report.display import Cell, Table, cell
from valuestrata.report.phrases import decimal, p_value, plural, sentence, with_interval
from valuestrata.report.results import Estimate, Results, annotators_name, to_estimate

COEFFICIENT = "kappa_linear"
"""What judges and people are compared by."""
MIN_ITEMS = 30
"""Fewest text pairs that a sentence is made of."""


@dataclass(frozen=True)
class Reliability:
    """A judge on a dimension.

    Attributes:
        judge: its name.
        dimension: what was compared.
        people: agreement among people, None with fewer than two.
        judged: agreement of people with the judge.
        difference: the second minus the first, on the same text pairs.
        published: the paper's figures of both, None where it has none.
        annotators: `people`, or `simulated annotators` where a script took their place.
    """

    judge: str
    dimension: str
    people: Estimate | None
    judged: Estimate
    difference: Estimate | None
    published: tuple[float, float] | None
    annotators: str

    def direction(self, confidence_level: float) -> int | None:
        """-1 where the judge is clearly less reliable than people, 1 more, 0 neither.

        None where fewer than two annotators or MIN_ITEMS text pairs are there to tell.
        """
        if self.difference is None or self.difference.n < MIN_ITEMS or not self.difference.exists:
            return None
        return self.difference.direction(confidence_level)


def reliabilities(frame: pd.DataFrame | None) -> list[Reliability]:
    """Each judge on each dimension that people annotated; none without annotations."""
    if frame is None:
        return []
    rows = records(frame[(frame["rater"] == "all") & (frame["coefficient"] == COEFFICIENT)])
    estimates = {(r["comparison"], r["judge"], r["dimension"]): to_estimate(r) for r in rows}
    paper = {
        (r["comparison"], r["dimension"]): float(r["published"])
        for r in rows
        if not pd.isna(r["published"])
    }
    return [
        Reliability(
            judge=judge,
            dimension=dimension,
            people=estimates.get(("human_human", "", dimension)),
            judged=estimate,
            difference=estimates.get(("difference", judge, dimension)),
            published=_both(paper, dimension),
            annotators=annotators_name(frame),
        )
        for (comparison, judge, dimension), estimate in estimates.items()
        if comparison == "human_judge"
    ]


def _both(paper: dict[tuple[str, str], float], dimension: str) -> tuple[float, float] | None:
    keys = [(comparison, dimension) for comparison in ("human_human", "human_judge")]
    return (paper[keys[0]], paper[keys[1]]) if all(key in paper for key in keys) else None


def unreliable(results: Results) -> set[tuple[str, str]]:
    """Judge and dimension wherever the judge is clearly less reliable than people."""
    level = results.settings.evaluation.confidence_level
    every = reliabilities(results.human_agreement)
    return {(each.judge, each.dimension) for each in every if each.direction(level) == -1}


def reliability_sentence(each: Reliability, confidence_level: float) -> str:
    """What people's annotations say of a judge on a dimension: no more than the test does."""
    who = each.annotators
    numbers = f"weighted kappa with {who} {with_interval(each.judged)}"
    if each.people is not None:
        numbers += f", among {who} {with_interval(each.people)}"
    if each.difference is not None and each.difference.exists:
        gap = with_interval(each.difference, signed=True)
        numbers += f", difference {gap}, {p_value(each.difference.p_value)}"
    numbers += f", {plural(each.judged.n, 'text pair')}"
    if each.published is not None:
        people, judged = map(decimal, each.published)
        numbers += f" (in the paper {judged} with its judge, {people} among people)"
    verdict = {
        -1: f"{each.judge} is less reliable than {who}, and its win rates are doubtful",
        0: f"{each.judge} and {who} are not clearly apart, which does not make them equal",
        1: f"{each.judge} agrees with {who} more than they do with each other",
        None: f"too little to compare {each.judge} with {who} (two annotators and {MIN_ITEMS} "
        "text pairs are needed)",
    }[each.direction(confidence_level)]
    doubt = ""
    if each.people is not None and not (each.people.ci_low > 0 or each.people.value == 1):
        doubt = f" {sentence(who)[:-1]} do not clearly agree among themselves more than by chance."
    return f"On {each.dimension}, {verdict}: {numbers}.{doubt}"


def human_table(results: Results) -> Table | None:
    """Weighted kappa of each judge with people, and among people; None without annotations."""
    if results.human_agreement is None:
        return None
    level = results.settings.evaluation.confidence_level
    words = {-1: "less reliable", 0: "no clear difference", 1: "more reliable", None: "too few"}
    rows = []
    for each in reliabilities(results.human_agreement):
        paper = [f"paper {decimal(value)}" for value in each.published or ()] or ["", ""]
        p = "" if each.difference is None else p_value(each.difference.p_value)
        rows.append(
            (
                Cell(each.dimension),
                Cell(each.judge),
                cell(each.people, extra=paper[0]),
                cell(each.judged, extra=paper[1]),
                cell(each.difference, signed=True, extra=p),
                Cell(words[each.direction(level)]),
            )
        )
    who = results.annotators
    columns = (
        "Dimension",
        "Judge",
        f"Among {who}",
        f"{sentence(who)[:-1]} with judge",
        "Difference",
        "The judge",
    )
    note = (
        "Linearly weighted kappa of worse, tie and better; means over pairs of raters. n and "
        "missing count text pairs. Differences are over text pairs that the judge and two of them "
        "rated; intervals and p by resampling questions. Paper: arXiv 2604.12851."
    )
    return Table(f"Judges against {who}", columns, tuple(rows), heads=2, note=note)
