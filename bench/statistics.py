"""How often intervals hold the truth and tests reject, in simulated worlds: docs/statistics.md.

`make bench-statistics` prints the tables and writes results/bench/statistics.json; an hour or so.
Every share comes with its Monte Carlo error: its standard deviation over the root of the worlds.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from bench import data, worlds
from valuestrata.metrics import between_groups, fairness, resample
from valuestrata.metrics.fairness import STATISTICS
from valuestrata.study.evaluation import Evaluation, Labels
from valuestrata.survey.ceilings import REACHABLE, prediction_scores, reachable_scores
from valuestrata.survey.conflict import mean_wasserstein, modal_diversity
from valuestrata.survey.diversity import MEASURES, Scorer, widen
from valuestrata.survey.noise_free import DRAWS, ScoreDraws, draw_scores
from valuestrata.survey.resampled import respondent_draws

OUTPUT = data.ROOT / "results/bench/statistics.json"
LEVEL, ALPHA = 0.95, 0.05
Row = dict[str, Any]


def share(hits: Sequence[float]) -> str:
    """A share and its Monte Carlo error, over worlds: of each whether, or how often, it held."""
    return f"{np.mean(hits):.3f} ± {np.std(hits) / np.sqrt(len(hits)):.3f}"


# Differences between groups ------------------------------------------------------------------


def spreads(n_worlds: int) -> Iterator[Row]:
    """Coverage of SD, CV and Norm.Range, and mean estimates beside the truth."""
    plain = [
        ("normal", s, q, sd) for s in (10, 48, 98) for q in (30, 214) for sd in (0, 0.03, 0.08)
    ]
    others = [("far", 48, q, 0.03) for q in (30, 214)]
    others += [("interaction", 48, q, 0.03) for q in (30, 214)]
    for kind, groups, questions, sd in (*plain, *others):
        yield spread_row(kind, groups, questions, sd, n_worlds)


def spread_row(kind: str, groups: int, questions: int, sd: float, n_worlds: int) -> Row:
    """One design."""
    names = tuple(STATISTICS)
    held: dict[str, list[bool]] = {name: [] for name in (*names, "shrunk")}
    values: dict[str, list[tuple[float, ...]]] = {name: [] for name in names}
    for world in range(n_worlds):
        rng = np.random.default_rng([world, groups, questions, round(1000 * sd)])
        truth, scores = worlds.scores(rng, groups, questions, sd, kind)
        measured = fairness.group_scores(scores, np.eye(groups))
        result = between_groups.spread(measured, LEVEL, 2000, 1)
        for name in names:
            true, (value, low, high) = float(STATISTICS[name](truth)), getattr(result, name)
            held[name].append(low - 1e-9 <= true <= high + 1e-9)
            raw = float(STATISTICS[name](measured.means))
            values[name].append((true, value, raw, high - low))
        shrunk = result.shrunk
        held["shrunk"] += list((shrunk[:, 1] <= truth) & (truth <= shrunk[:, 2]))
    row: Row = {"groups": kind, "S": groups, "Q": questions, "true SD": sd, "worlds": n_worlds}
    for name in names:
        true, value, raw, width = np.mean(values[name], axis=0)
        means = {"true": true, "corrected": value, "raw": raw, "width": width}
        row |= {f"{name} {key}": round(float(mean), 4) for key, mean in means.items()}
    return row | {f"{name} coverage": share(hits) for name, hits in held.items()}


# Tests ---------------------------------------------------------------------------------------


def tests(n_worlds: int) -> Iterator[Row]:
    """How often a fair model is called unequal at 5%, by level, with overlapping subgroups."""
    for questions, codes, spread in ((40, 4, 0.15), (214, 4, 0.0), (214, 4, 0.4), (214, 10, 0.4)):
        yield from test_rows(questions, codes, spread, n_worlds)


def test_rows(questions: int, codes: int, spread: float, n_worlds: int) -> Iterator[Row]:
    """A row a model, see `test_world`."""
    rejected: dict[str, dict[str, list[bool]]] = {}
    for number in range(n_worlds):
        for name, by_level in test_world(number, questions, codes, spread).items():
            for level, is_rejected in by_level.items():
                rejected.setdefault(name, {}).setdefault(level, []).append(is_rejected)
    for name, hits in rejected.items():
        about = {"model": name, "Q": questions, "C": codes, "spread": spread, "worlds": n_worlds}
        yield about | {level: share(each) for level, each in hits.items()}


def test_world(
    number: int, questions: int, codes: int, spread: float
) -> dict[str, dict[str, bool]]:
    """By model and level, whether it is called unequal.

    Models: one that answers at random whoever is asked, and one that knows all modes; the second
    with its scores as they are, and net of what perfect knowledge would reach.
    """
    rng = np.random.default_rng([number, questions, codes])
    world = worlds.survey(rng, questions, codes, spread)
    scale = world.survey.scale
    counts, true = (np.concatenate(part)[None] for part in (world.counts, world.true))
    label = np.eye(codes)[rng.integers(0, codes, questions)]
    blind = prediction_scores(np.broadcast_to(label, counts.shape), counts.astype(int), scale)
    perfect = prediction_scores(true, counts.astype(int), scale)
    reachable = [
        reachable_scores(f"stratum {i}", each, scale, 50, number)
        for i, each in enumerate(world.counts)
    ]
    models = {"persona-agnostic, at random": blind["accuracy"][0]}
    for metric, column in REACHABLE.items():
        ceiling = np.concatenate([each[column] for each in reachable])
        models[f"knows all modes, {metric}"] = perfect[metric][0]
        models[f"knows all modes, {metric}, net"] = perfect[metric][0] - ceiling
    result: dict[str, dict[str, bool]] = {}
    for name, scores in models.items():
        for level, member in worlds.levels(world.strata).items():
            nulls = fairness.equal_groups(fairness.group_scores(scores, member), 999, 1)
            for statistic in ("sd",) if "net" in name else ("sd", "norm_range"):
                by_level = result.setdefault(f"{name} ({statistic})", {})
                by_level[level] = bool(nulls[statistic].test.p_value <= ALPHA)
    return result


# Conflict scores -----------------------------------------------------------------------------

STRATA = (("sex",), ("religion",), ("age", "religion"), ("ethnicity", "religion"))


def conflict(n_worlds: int) -> Iterator[Row]:
    """Coverage of the Modal Diversity Score and of the Wasserstein distance between subgroups."""
    designs = [(40, 4, spread) for spread in (0.0, 0.15, 0.4, 0.8)]
    for questions, codes, spread in (*designs, (40, 10, 0.15), (40, 10, 0.4), (214, 4, 0.15)):
        yield from conflict_rows(questions, codes, spread, n_worlds)


def conflict_rows(
    questions: int, codes: int, spread: float, n_worlds: int, draws: int = DRAWS
) -> Iterator[Row]:
    """A row a measure and stratum, and for the mean over the strata: by how many questions."""
    rows: dict[tuple[str, str], dict[str, list[Any]]] = {}
    for number in range(n_worlds):
        for key, by_size in conflict_world(number, questions, codes, spread, draws).items():
            row = rows.setdefault(key, {size: [] for size in by_size})
            for size, value in by_size.items():
                row[size].append(value)
    for (measure, name), row in rows.items():
        means = np.mean(row.pop("values"), axis=0).round(4)
        about = {"measure": measure, "stratum": name, "Q": questions, "C": codes, "spread": spread}
        about |= dict(zip(("true", "corrected", "raw", "width"), map(float, means), strict=True))
        yield about | {"worlds": n_worlds} | {f"{k} questions": share(v) for k, v in row.items()}


def conflict_world(
    number: int, questions: int, codes: int, spread: float, draws: int
) -> dict[tuple[str, str], Row]:
    """By measure and stratum: the share of intervals that hold the truth, by questions of a mean.

    A world takes seconds, so that all means of so many questions which follow on each other, none
    in two of them, are looked at in each. Of the mean over all: true, median, raw, width.
    """
    rng = np.random.default_rng([number, questions, codes, 2])
    scored = scored_world(worlds.survey(rng, questions, codes, spread, STRATA), number, draws)
    result: dict[tuple[str, str], Row] = {}
    for m, measure in enumerate(MEASURES):
        for name, true, observed, score_draws in scored:
            row: Row = {}
            for size in (3, 10, 20, questions):
                asked = np.arange(questions // size * size).reshape(-1, size)
                shown = observed[m, asked].mean(axis=1)
                drawn = score_draws[(m, asked)].mean(axis=-1).matched(shown)  # [B, means]
                tails = [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2]
                low, high = widen(*np.quantile(drawn, tails, axis=0))
                truth = true[m, asked].mean(axis=1)
                held = (low - 1e-9 <= truth) & (truth <= high + 1e-9)
                row["all" if size == questions else str(size)] = float(held.mean())
            middle = float(np.median(drawn))
            row["values"] = (float(truth[0]), middle, float(shown[0]), float(high[0] - low[0]))
            result[measure, name] = row
    return result


def scored_world(world: worlds.World, seed: int, draws: int) -> list[tuple[str, Any, Any, Any]]:
    """Name, true and observed scores [M, Q] and draws of each stratum, and of their mean."""
    scorer = Scorer(world.survey, worlds.MIN_N, Labels(), Evaluation(seed=seed))
    respondents = respondent_draws(len(world.survey.answers), draws, seed)
    scale, parts = world.survey.scale, []
    for axes, members, counts, true in zip(
        STRATA, world.strata, world.counts, world.true, strict=True
    ):
        present = np.ones(counts.shape[:2], dtype=bool)
        both = [
            np.stack(
                [modal_diversity(c.argmax(-1), present, scale), mean_wasserstein(c, present, scale)]
            )
            for c in (true, counts)
        ]
        drawn = draw_scores(world.survey, members, scorer.scorers(present), respondents, [seed])
        parts.append((" x ".join(axes), *both, drawn))
    true, observed = (np.mean([part[i] for part in parts], axis=0) for i in (1, 2))
    drawn = (
        np.mean([getattr(part[3], name) for part in parts], axis=0) for name in ("true", "sample")
    )
    return [*parts, ("mean", true, observed, ScoreDraws(*drawn))]


# Few questions -------------------------------------------------------------------------------


def few(n_worlds: int) -> Iterator[Row]:
    """Coverage of means over few questions, and of rates near 0, beside the plain percentiles."""
    for kind in ("accuracy", "difference", "uncommon", "rare", "never"):
        for questions in (3, 5, 10, 20, 30, 40, 100):
            yield few_row(kind, questions, n_worlds)


def few_row(kind: str, questions: int, n_worlds: int) -> Row:
    """One design: 48 subgroups, whose scores on a question go together."""
    held: dict[str, list[bool]] = {"coverage": [], "percentiles": []}
    widths = []
    for number in range(n_worlds):
        rng = np.random.default_rng([number, questions])
        chance = {
            "accuracy": rng.beta(1.2, 0.8, (questions, 1)),
            "difference": rng.normal(0.05, 0.1, (questions, 1)),
            "uncommon": rng.beta(0.2, 3.8, (questions, 1)),
            "rare": rng.beta(0.1, 9.9, (questions, 1)),
            "never": np.full((questions, 1), 1e-5),
        }[kind]
        truth = {"accuracy": 0.6, "difference": 0.05, "uncommon": 0.05, "rare": 0.01}
        if kind == "difference":
            values = chance + rng.normal(0, 0.4, (questions, 48))
        else:
            values = (rng.random((questions, 48)) < chance).astype(np.float64)
        cluster = np.repeat(np.arange(questions), 48)
        is_rate = kind != "difference"
        _, low, high = resample.mean_with_interval(values.ravel(), cluster, 500, LEVEL, 1, is_rate)
        draws = resample.cluster_draws(questions, 500, 1) @ values.mean(axis=1) / questions
        plain = resample.percentiles(draws, LEVEL)
        for name, ends in (("coverage", (low, high)), ("percentiles", plain)):
            held[name].append(ends[0] <= truth.get(kind, 1e-5) <= ends[1])
        widths.append(high - low)
    about = {"values": kind, "questions": questions, "worlds": n_worlds}
    about |= {"mean width": round(float(np.mean(widths)), 3)}
    return about | {name: share(hits) for name, hits in held.items()}


# ---------------------------------------------------------------------------------------------

PARTS: dict[str, tuple[Callable[[int], Iterator[Row]], int]] = {
    "few": (few, 1000),
    "spreads": (spreads, 300),
    "tests": (tests, 300),
    "conflict": (conflict, 100),
}
"""What is measured, and in how many worlds a design."""


def as_table(rows: list[Row]) -> str:
    """Rows as a markdown table."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names)]
    lines += [[str(row.get(name, "")) for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Run everything; with --worlds fewer, to see that it runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, help="worlds of each design")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    results: dict[str, list[Row]] = {}
    with threadpool_limits(1):
        for name in arguments.parts:
            measure, n_worlds = PARTS[name]
            results[name] = []
            for row in measure(arguments.worlds or n_worlds):
                results[name].append(row)
                sys.stdout.write(f"{row}\n")
                sys.stdout.flush()
            sys.stdout.write(f"\n## {name}\n{as_table(results[name])}\n")
            arguments.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
