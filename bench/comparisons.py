"""Simulate the tests that compare groups and runs: how often they err, cover and find.

`python -m bench.comparisons` prints the tables of docs/statistics.md; each world is seeded.
Symbols: S subgroups, Q questions, M models.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from valuestrata.metrics import contrasts
from valuestrata.metrics.inequality_change import inequality_changes, joint_p
from valuestrata.metrics.power import label_share, matched_design

Floats = NDArray[np.float64]
LEVEL = 0.95
ALPHA = 0.05
Rng = np.random.Generator


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=1000, help="simulated studies a row")
    worlds = parser.parse_args().worlds
    print("| groups against the rest: Q, groups | size | coverage |")
    for questions, groups in ((3, 2), (5, 3), (10, 6), (40, 6), (214, 6), (40, 48)):
        show((questions, groups), contrast_rates(worlds, questions, groups))
    print("| changes of inequality: S, Q, means, CVs | size, power of each | coverage CV, NR |")
    for subgroups, questions in ((48, 214), (48, 40), (10, 214), (6, 40)):
        for means, cvs in (
            ((0.4, 0.65), (0.0, 0.0)),
            ((0.4, 0.65), (0.08, 0.08)),
            ((0.4, 0.65), (0.15, 0.15)),
            ((0.45, 0.6), (0.05, 0.12)),
        ):
            rates = change_rates(worlds // 5, subgroups, questions, means, cvs)
            show((subgroups, questions, means, cvs), rates)
    print("| joint test: S, Q, changes of CV (accuracy, error) | shown |")
    for change in ((0.0, 0.0), (-0.08, 0.0), (0.0, 0.08), (-0.08, 0.08)):
        for subgroups, questions in ((48, 214), (48, 40)):
            rates = joint_rate(worlds // 5, subgroups, questions, *change)
            show((subgroups, questions, change), rates)
    print("| over M models: M, Q, SD between models | crossed | as if independent |")
    for models in (4, 10):
        for between in (0.0, 0.05):
            show((models, 40, between), consistency_rates(worlds, models, 40, between))
    print("| power at the smallest gap: Q, pairs, people | found |")
    for questions, pairs, people in ((40, 8, 40), (40, 40, 200), (214, 8, 60)):
        show((questions, pairs, people), power_rate(worlds, questions, pairs, people))


def show(design: tuple[Any, ...], rates: tuple[float, ...]) -> None:
    """Print a row of a table."""
    print(f"| {', '.join(map(str, design))} | {' | '.join(f'{rate:.3f}' for rate in rates)} |")


def rates_of(worlds: int, seed: int, world: Callable[[Rng], tuple[float, ...]]) -> Any:
    """The mean over worlds of what each gives, NaN left out."""
    drawn = [world(np.random.default_rng([seed, i])) for i in range(worlds)]
    return tuple(float(x) for x in np.nanmean(np.array(drawn, dtype=np.float64), axis=0))


def answers(rng: Rng, true: Floats, question: Floats, interaction: float) -> Floats:
    """[S, Q] hits: group means [S], question effects [Q], effects of both together."""
    chance = chances(rng, true, question, interaction)
    return (rng.random(chance.shape) < chance).astype(np.float64)


def chances(rng: Rng, true: Floats, question: Floats, interaction: float) -> Floats:
    """[S, Q] chance of each hit, kept between .02 and .98."""
    both = interaction * rng.standard_normal((len(true), len(question)))
    return np.asarray(np.clip(true[:, None] + question + both, 0.02, 0.98))


def contrast_rates(
    worlds: int, questions: int, groups: int, gap: float = 0.1, subgroups: int = 48
) -> tuple[float, float]:
    """Of a group against the rest: how often a true 0 is rejected, and a true gap covered.

    Groups have unequal sizes, some pairs are missing, and questions differ by group.
    """
    sizes = np.arange(subgroups) % groups == 0
    member, rest = sizes[None].astype(np.float64), (~sizes)[None].astype(np.float64)

    def one(rng: Rng, true_gap: float) -> tuple[float, float, float, float]:
        per_question = 0.1 * rng.standard_normal(questions)
        effect = sizes[:, None] * (true_gap + per_question)
        chance = np.clip(0.5 + rng.uniform(-0.2, 0.2, questions) + effect, 0.02, 0.98)
        values = (rng.random(chance.shape) < chance).astype(np.float64)
        values[rng.random(values.shape) < 0.05] = np.nan
        effects = contrasts.matched_difference(
            contrasts.totals(values, member), contrasts.totals(values, rest)
        )
        low, high = contrasts.interval(effects, LEVEL)
        p = contrasts.two_sided(effects)
        return float(effects.value[0]), float(p[0]), float(low[0]), float(high[0])

    def world(rng: Rng) -> tuple[float, float]:
        _, p, _, _ = one(rng, 0.0)
        _, _, low, high = one(rng, gap)
        return float(p < ALPHA), float(low <= gap <= high)

    return rates_of(worlds, 1, world)


def group_means(rng: Rng, subgroups: int, mean: float, cv: float) -> Floats:
    """[S] true means with exactly this mean and coefficient of variation."""
    z = rng.standard_normal(subgroups)
    z = (z - z.mean()) / z.std()
    return np.asarray(mean * (1 + cv * z))


def change_rates(
    worlds: int,
    subgroups: int,
    questions: int,
    means: tuple[float, float],
    cvs: tuple[float, float],
) -> tuple[float, float, float, float]:
    """Of the change of CV and of Norm.Range: how often it is called one, and covered."""

    def world(rng: Rng) -> tuple[float, float, float, float]:
        true = [group_means(rng, subgroups, m, cv) for m, cv in zip(means, cvs, strict=True)]
        common = rng.uniform(-0.25, 0.25, questions)
        totals = []
        for each in true:
            effect = 0.5 * common + 0.5 * rng.uniform(-0.25, 0.25, questions)
            hits = answers(rng, each, effect, 0.1)
            totals.append((hits, np.ones_like(hits)))
        many = 0.5 * rng.uniform(-0.25, 0.25, (2, 4000)).sum(axis=0)
        true = [chances(rng, each, many, 0.1).mean(axis=1) for each in true]
        changes = {c.statistic: c for c in inequality_changes(totals[0], totals[1], LEVEL)}
        truth = {
            "cv": np.diff([each.std() / each.mean() for each in true])[0],
            "norm_range": np.diff([np.ptp(each) / each.max() for each in true])[0],
        }
        covered = [
            float("nan") if c.ci_low != c.ci_low else float(c.ci_low <= truth[name] <= c.ci_high)
            for name in ("cv", "norm_range")
            for c in (changes[name],)
        ]
        rejected = [float(changes[name].p_value < ALPHA) for name in ("cv", "norm_range")]
        return rejected[0], rejected[1], covered[0], covered[1]

    return rates_of(worlds, 2, world)


def joint_rate(
    worlds: int, subgroups: int, questions: int, accuracy: float, error: float
) -> tuple[float]:
    """How often the paradox is shown where CVs change from .12 by these amounts.

    Errors are those of the same groups: 1 less a hit, times how far off.
    """

    def world(rng: Rng) -> tuple[float]:
        tests = []
        for mean, change in (((0.45, 0.65), accuracy), ((0.4, 0.25), error)):
            totals = []
            for each, cv in zip(mean, (0.12, 0.12 + change), strict=True):
                true = group_means(rng, subgroups, each, cv)
                hits = answers(rng, true, rng.uniform(-0.15, 0.15, questions), 0.05)
                totals.append((hits, np.ones_like(hits)))
            tests.append({c.statistic: c for c in inequality_changes(*totals, LEVEL)}["cv"])
        return (float(joint_p(tests[0].p_fall, tests[1].p_rise) < ALPHA),)

    return rates_of(worlds, 3, world)


def consistency_rates(
    worlds: int, models: int, questions: int, between: float
) -> tuple[float, float]:
    """How often a mean effect of 0 over models is rejected: as questions are shared, and ignored.

    Half of the variance over questions is of the labels, which all models share.
    """

    def world(rng: Rng) -> tuple[float, float]:
        shared = rng.standard_normal(questions)
        true = between * rng.standard_normal((models, 1))
        gaps = true + 0.2 * (shared + rng.standard_normal((models, questions))) / 2**0.5
        value = gaps.mean(axis=1)
        influence = (gaps - value[:, None]) / questions
        crossed = contrasts.over_models(value, influence, LEVEL).p_value
        variance = gaps.var(axis=1, ddof=1) / questions
        excess = max(value.var(ddof=1) - variance.mean(), 0.0)
        naive = abs(value.mean()) / ((variance + excess).sum() / models**2) ** 0.5
        return float(crossed < ALPHA), float(naive > 1.96)

    return rates_of(worlds, 4, world)


def power_rate(worlds: int, questions: int, pairs: int, people: int) -> tuple[float]:
    """How often the smallest gap that `valuestrata power` gives is found; 80% are wanted.

    A group has `pairs` pairs a question, the rest as many; labels are modes of `people` people.
    """
    accuracy, group_sd, options = 0.6, 0.3, 4
    sd = (accuracy * (1 - accuracy)) ** 0.5
    n = np.full(questions, float(pairs))
    design = matched_design(n, n, sd, group_sd * sd)
    shape = (2, questions, pairs)
    shares = np.array([0.4, 0.28, 0.2, 0.12])
    # ties go to the lowest code, which is any of the answers
    mixed = np.random.default_rng(0).permuted(np.tile(shares, (1000, 1)), axis=1)
    kept = label_share(mixed, np.full(1000, float(people)))
    gap = design.smallest_gap(ALPHA, 0.8) / kept
    by_luck = (1 - kept) / options  # a wrong answer that hits a wrong label
    true = (accuracy - by_luck) / kept  # measured against labels it is `accuracy`

    def world(rng: Rng) -> tuple[float]:
        half = (gap + group_sd * sd / kept * _uniform(rng, questions)) / 2
        chance = true + np.array([1, -1])[:, None] * half
        counts = rng.multinomial(people, shares, size=shape)
        label = (counts + 1e-6 * rng.random(counts.shape)).argmax(axis=-1)
        right = rng.random(shape) < chance[..., None]
        answer = np.where(right, 0, rng.integers(1, options, shape))
        hits = (answer == label).sum(axis=-1).astype(np.float64)
        effects = contrasts.matched_difference((hits[:1], n[None]), (hits[1:], n[None]))
        p = contrasts.two_sided(effects)
        return (float(p[0] < ALPHA),)

    return rates_of(worlds, 5, world)


def _uniform(rng: Rng, size: int) -> Floats:
    """[n] with mean 0 and standard deviation 1."""
    return np.asarray(rng.uniform(-(3**0.5), 3**0.5, size))


if __name__ == "__main__":
    main()
