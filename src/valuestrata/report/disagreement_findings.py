"""The finding on conflict: where subgroups disagree, and whether above the null. Pure sentences."""

from typing import NamedTuple

import pandas as pd

from valuestrata.io import records
from valuestrata.report.phrases import MEASURES, RANKS, decimal, listed, plural, with_interval
from valuestrata.report.results import (
    TIED,
    Estimate,
    Results,
    corrected,
    observed,
    stratum_label,
    to_estimate,
)

FEW_QUESTIONS = 3
"""A block of fewer questions never leads: one question is not a topic."""


class Block(NamedTuple):
    """A block of questions: its score, and what random subgroups would score."""

    name: str
    score: Estimate
    null_mean: float
    without_noise: Estimate

    @property
    def net(self) -> float:
        """How far the score is above its null; the score itself where there is none."""
        return self.score.value - (self.null_mean if self.null_mean == self.null_mean else 0.0)

    def is_above(self, alpha: float) -> bool:
        """Whether a test shows it to be above its null."""
        return self.score.tested is not None and self.score.tested < alpha

    def reaches(self, first: "Block") -> bool:
        """Whether intervals without sampling noise do not show it to lie below another."""
        ends = self.without_noise, first.without_noise
        if not all(estimate.has_interval for estimate in ends):
            return True
        return ends[0].ci_high >= ends[1].ci_low


def disagreement_finding(results: Results) -> tuple[str, list[str]]:
    """Blocks that divide subgroups most and least, and what is above the permutation null."""
    alpha = 1 - results.settings.evaluation.confidence_level
    blocks = _blocks(results.diversity)
    if not blocks:
        return "No block of questions has a score.", []
    above = [block.name for block in blocks if block.is_above(alpha)]
    unclear = [block.name for block in blocks if block.score.tested is not None]
    unclear = [name for name in unclear if name not in above]
    untested = [block.name for block in blocks if block.score.tested is None]
    where = f"above its null (q < {alpha:.2g}) in {len(above)} of {plural(len(blocks), 'block')}"
    where += f", not shown in {listed(unclear)}" if unclear else ""
    where += f", not tested in {listed(untested)}" if untested else ""
    broad = [block for block in blocks if block.score.n >= FEW_QUESTIONS]
    leading = [block for block in broad if block.is_above(alpha)]
    details = []
    if not leading or len(broad) < 2:
        reason = f"No block of at least {FEW_QUESTIONS} questions is shown to divide subgroups"
        if leading:
            reason = f"Only {_block(leading[0])} has {FEW_QUESTIONS} questions or more"
        answer = f"{reason}; Modal Diversity Score is {where}."
    else:
        top = [block for block in leading if block.net >= leading[0].net - TIED]
        low = [block for block in broad if block.net <= broad[-1].net + TIED]
        low = [block for block in low if block not in top and not block.reaches(top[0])]
        answer = f"Most about {listed([_block(b) for b in top])}"
        if low:
            answer += f", least about {listed([_block(b) for b in low])}"
        answer += f", by Modal Diversity Score less its null; {where}."
        near = [b.name for b in broad if b not in top and b.reaches(top[0])]
        if near:
            details.append(f"Not shown to be apart from the first: {listed(near)}.")
    questions = [line for m in MEASURES if (line := _questions(results.diversity, m, alpha))]
    details += (
        [f"Single questions above their null (q < {alpha:.2g}): {'; '.join(questions)}."]
        if questions
        else []
    )
    return answer, [*details, *agreement_lines(results)]


def agreement_lines(results: Results) -> list[str]:
    """How alike both scores rank questions, over all strata and in the extremes."""
    frame = results.agreement
    overall = {row["coefficient"]: row for row in records(frame[frame["stratum"] == "mean"])}
    all_scores = {name: to_estimate(overall[name]) for name in RANKS if name in overall}
    scores = {name: score for name, score in all_scores.items() if score.exists}
    if not scores:
        return []
    first = next(iter(scores))
    values = " and ".join(f"{RANKS[name]} {with_interval(s)}" for name, s in scores.items())
    line = f"Rank agreement of both scores over {plural(scores[first].n, 'question')}: {values}"
    rows = frame[(frame["stratum"] != "mean") & (frame["coefficient"] == first)].dropna()
    strata = sorted((float(row["value"]), str(row["stratum"])) for row in records(rows))
    if strata:
        low, high = (f"{decimal(r)} ({stratum_label(name)})" for r, name in (strata[0], strata[-1]))
        line += f"; within strata {RANKS[first]} from {low} to {high}"
    return [f"{line}."]


def _blocks(frame: pd.DataFrame) -> list[Block]:
    """Modal Diversity Score of each block, that which is most above its null first."""
    means = frame[(frame["stratum"] == "mean") & (frame["question"] == "mean")]
    rows = records(means[(means["measure"] == "mds") & (means["block"] != "all")])
    blocks = [
        Block(str(row["block"]), observed(row), float(row["null_mean"]), corrected(row))
        for row in rows
    ]
    scored = [block for block in blocks if block.score.exists]
    return sorted(scored, key=lambda block: -block.net)


def _questions(frame: pd.DataFrame, measure: str, alpha: float) -> str:
    """How many single questions are above their null; '' if none was tested."""
    means = frame[(frame["stratum"] == "mean") & (frame["measure"] == measure)]
    test = "q_value" if "q_value" in means else "p_value"
    tested = means[(means["question"] != "mean") & means[test].notna()]
    if not len(tested):
        return ""
    hits = int((tested[test] < alpha).sum())
    return f"{MEASURES[measure]} {hits:,} of {len(tested):,}"


def _block(block: Block) -> str:
    score = block.score
    null = f"null {decimal(block.null_mean)}"
    return f"{block.name} ({with_interval(score)}, {null}, {plural(score.n, 'question')})"
