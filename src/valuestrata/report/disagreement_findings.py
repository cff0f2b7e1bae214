"""The finding on conflict: where subgroups disagree, and whether above the null. Pure sentences."""

import pandas as pd

from valuestrata.io import records
from valuestrata.report.phrases import MEASURES, RANKS, decimal, listed, plural, with_interval
from valuestrata.report.results import Estimate, Results, stratum_label, to_estimate

Blocks = list[tuple[str, Estimate]]
FEW_QUESTIONS = 3


def disagreement_finding(results: Results) -> tuple[str, list[str]]:
    """Blocks that divide subgroups most and least, and what is above the permutation null."""
    alpha = 1 - results.settings.evaluation.confidence_level
    blocks = _blocks(results.diversity)
    if len(blocks) < 2:
        return "There are too few blocks of questions to compare.", []
    first, last = blocks[0], blocks[-1]
    within = [b for b, score in blocks if score.p_value is None or score.p_value >= alpha]
    answer = (
        f"Most about {_block(*first)}, least about {_block(*last)}, by Modal Diversity Score; "
        f"above its null (p < {alpha:.2g}) in {len(blocks) - len(within)} of "
        f"{plural(len(blocks), 'block')}{f', not in {listed(within)}' if within else ''}."
    )
    details = []
    broad = [(b, score) for b, score in blocks if score.n >= FEW_QUESTIONS]
    if min(first[1].n, last[1].n) < FEW_QUESTIONS and len(broad) > 1:
        details.append(
            f"Among blocks of at least {FEW_QUESTIONS} questions: most about {_block(*broad[0])}, "
            f"least about {_block(*broad[-1])}."
        )
    questions = [line for m in MEASURES if (line := _questions(results.diversity, m, alpha))]
    details += [f"Single questions above their null: {'; '.join(questions)}."] if questions else []
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


def _blocks(frame: pd.DataFrame) -> Blocks:
    """Modal Diversity Score of each block, highest first."""
    means = frame[(frame["stratum"] == "mean") & (frame["question"] == "mean")]
    rows = records(means[(means["measure"] == "mds") & (means["block"] != "all")])
    scores = [(str(row["block"]), to_estimate(row)) for row in rows]
    return sorted(
        [(block, score) for block, score in scores if score.exists],
        key=lambda pair: -pair[1].value,
    )


def _questions(frame: pd.DataFrame, measure: str, alpha: float) -> str:
    """How many single questions are above their null; '' if none was tested."""
    means = frame[(frame["stratum"] == "mean") & (frame["measure"] == measure)]
    tested = means[(means["question"] != "mean") & means["p_value"].notna()]
    if not len(tested):
        return ""
    hits = int((tested["p_value"] < alpha).sum())
    expected = f"about {alpha * len(tested):.1f} expected by chance"
    return f"{MEASURES[measure]} {hits:,} of {len(tested):,} ({expected})"


def _block(name: str, score: Estimate) -> str:
    return f"{name} ({with_interval(score)}, {plural(score.n, 'question')})"
