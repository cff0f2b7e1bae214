"""Findings on conflict: where subgroups disagree, and whether more than chance. Pure sentences."""

from typing import Any

import pandas as pd

from valuestrata.report.phrases import MEASURES, RANKS, decimal, estimate, listed, plural
from valuestrata.report.results import Estimate, Results, number, records, stratum_label

Blocks = list[tuple[str, Estimate]]


def disagreement(results: Results) -> tuple[str, list[str]]:
    """Blocks that divide subgroups most and least, and what lies above the permutation null."""
    alpha = 1 - results.spec.compare.evaluation.level
    found = {measure: _blocks(results.diversity, measure) for measure in MEASURES}
    blocks = [(b, n) for b, n in found["mds"] if b != "all" and n.known]
    if len(blocks) < 2:
        return "There are too few blocks of questions to compare.", []
    first, last = blocks[0], blocks[-1]
    above = [b for b, n in blocks if n.p is not None and n.p < alpha]
    within = [b for b, _ in blocks if b not in above]
    answer = (
        f"Most about {_block(*first)}, least about {_block(*last)}, by Modal Diversity Score. "
        f"More than if membership in a subgroup meant nothing (p < {alpha:.2g}) in {len(above)} of "
        f"{plural(len(blocks), 'block')}" + (f"; not in {listed(within)}." if within else ".")
    )
    details = []
    broad = [(b, n) for b, n in blocks if n.n >= 3]
    if min(first[1].n, last[1].n) < 3 and len(broad) > 1:
        details.append(
            f"Blocks of one or two questions say little; among those with at least three, most "
            f"about {_block(*broad[0])} and least about {_block(*broad[-1])}."
        )
    details += [line for m in MEASURES if (line := _whole(results.diversity, m, alpha))]
    spread = [(b, n) for b, n in found["wasserstein"] if b != "all" and n.known]
    if spread:
        low = [b for b, n in spread if n.p is None or n.p >= alpha]
        beyond = f"; not above chance in {listed(low)}" if low else "; above chance in every block"
        details.append(
            f"By Wasserstein distance between whole distributions: most about "
            f"{_block(*spread[0])}{beyond}."
        )
    return answer, [*details, *agreement(results)]


def agreement(results: Results) -> list[str]:
    """Whether both scores put questions in the same order, over all strata and in the extremes."""
    frame = results.agreement
    found = [
        (coefficient, number(row))
        for coefficient in RANKS
        for row in records(frame[frame["stratum"] == "mean"])
        if row["coefficient"] == coefficient
    ]
    known = [(c, n) for c, n in found if n.known]
    if not known:
        return []
    said = " and ".join(f"{RANKS[c]} {estimate(n)}" for c, n in known)
    line = f"Both scores rank {plural(known[0][1].n, 'question')} alike by {said}"
    first = known[0][0]
    own = frame[(frame["stratum"] != "mean") & (frame["coefficient"] == first)]
    strata = sorted((float(r["value"]), str(r["stratum"])) for r in records(own.dropna()))
    if strata:
        low, high = (f"{decimal(r)} ({stratum_label(name)})" for r, name in (strata[0], strata[-1]))
        line += f"; within strata {RANKS[first]} runs from {low} to {high}"
    return [line + "."]


def _blocks(frame: pd.DataFrame, measure: str) -> Blocks:
    means = frame[(frame["stratum"] == "mean") & (frame["question"] == "mean")]
    rows = records(means[means["measure"] == measure])
    numbers = [(str(row["block"]), number(row)) for row in rows]
    return sorted(numbers, key=lambda pair: -pair[1].value if pair[1].known else 1.0)


def _whole(frame: pd.DataFrame, measure: str, alpha: float) -> str:
    """One sentence on all questions together, and on how many single ones lie above chance."""
    means = frame[(frame["stratum"] == "mean") & (frame["measure"] == measure)]
    whole = records(means[(means["question"] == "mean") & (means["block"] == "all")])
    if not whole:
        return ""
    one = number(whole[0])
    line = f"{MEASURES[measure]} over all blocks: {estimate(one)}, {plural(one.n, 'question')}"
    line += f", where chance gives {_chance(whole[0])}" if one.known else ""
    tested = means[(means["question"] != "mean") & means["p_value"].notna()]
    if not len(tested):
        return f"{line}."
    hits = int((tested["p_value"] < alpha).sum())
    return (
        f"{line}; above it in {hits:,} of {plural(len(tested), 'single question')}, of which "
        f"about {alpha * len(tested):.1f} would be by chance alone."
    )


def _chance(row: dict[str, Any]) -> str:
    mean, high = float(row["null_mean"]), float(row["null_p95"])
    return f"{decimal(mean)} (95th percentile {decimal(high)})"


def _block(name: str, one: Estimate) -> str:
    return f"{name} ({estimate(one)}, {plural(one.n, 'question')})"
