"""What a study can find before a model runs: from its pairs and from stated assumptions. Pure."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from valuestrata.metrics.power import Design, label_share, matched_design, respondents_for
from valuestrata.report.grids import SUBGROUPS, Grid, Side, grid_of, sides
from valuestrata.report.runs import baseline_runs, llm_runs, tuned_runs
from valuestrata.report.settings import ContrastSettings
from valuestrata.tables import PAIR

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Assumptions:
    """What the scores will be like.

    accuracy, refusals: shares of pairs, as measured. nmae_sd, wasserstein_sd, win_sd: standard
    deviation of a pair's score. question_sd, group_sd: standard deviation over questions of the
    true difference of two runs, and of two groups, in standard deviations of a pair's score. power:
    wanted.
    """

    accuracy: float = 0.6
    refusals: float = 0.07
    nmae_sd: float = 0.25
    wasserstein_sd: float = 0.12
    win_sd: float = 0.4
    question_sd: float = 0.5
    group_sd: float = 0.3
    power: float = 0.8

    def pair_sd(self) -> dict[str, float]:
        """Standard deviation of a pair's score in each metric."""
        return {
            "accuracy": (self.accuracy * (1 - self.accuracy)) ** 0.5,
            "nmae": self.nmae_sd,
            "wasserstein": self.wasserstein_sd,
            "refusal": (self.refusals * (1 - self.refusals)) ** 0.5,
        }


@dataclass(frozen=True)
class Finds:
    """What one kind of comparison finds.

    tests: in its family. designs: by metric, one for each group.
    """

    name: str
    tests: int
    designs: Mapping[str, tuple[Design, ...]]

    def gaps(self, metric: str, alpha: float, power: float) -> list[float]:
        """The smallest gap of each group, as measured, smallest first."""
        each = (d.smallest_gap(alpha / self.tests, power) for d in self.designs[metric])
        return sorted(gap for gap in each if gap == gap)


def study_finds(
    pairs: pd.DataFrame,
    axes: Mapping[str, Sequence[str]],
    settings: ContrastSettings,
    assumed: Assumptions,
) -> list[Finds]:
    """Every kind of comparison on the pairs of a split: of runs, of axes' groups, of subgroups.

    A family's tests count together, as they will in the results (report/families.py).
    """
    grid = grid_of(pd.MultiIndex.from_frame(pairs[PAIR]))
    ordinal = (pairs["measurement_level"] == "ordinal").to_numpy(dtype=bool)
    cells = {
        metric: np.isfinite(grid.spread(np.where(ordinal | (not only), 1.0, np.nan)))
        for metric, only in (
            ("accuracy", False),
            ("nmae", True),
            ("wasserstein", True),
            ("refusal", False),
        )
    }
    rows = []
    n_llms, n_baselines = len(llm_runs(settings)), len(baseline_runs(settings))
    for name, tests in (
        ("a fine-tune against its base", len(tuned_runs(settings))),
        ("a language model against a baseline", n_llms * n_baselines),
        ("a baseline against another", n_baselines * (n_baselines - 1) // 2 * (not n_llms)),
    ):
        if tests:
            rows.append(Finds(name, tests, _of_runs(cells, assumed)))
    return rows + _of_groups(grid, cells, axes, settings, assumed)


def true_gaps(
    finds: Finds, metric: str, alpha: float, assumed: Assumptions, share: float
) -> list[float]:
    """The smallest true gaps that are found, in order; none where labels show nothing of a gap.

    Args:
        finds: a kind of comparison.
        metric: accuracy counts what the labels hide of a true gap; others are as measured.
        alpha: level of the tests.
        assumed: the power wanted.
        share: `label_loss`.
    """
    scale = share if metric == "accuracy" else 1.0
    gaps = finds.gaps(metric, alpha, assumed.power)
    return [gap / scale for gap in gaps] if scale > 0 else []


def power_figures(
    pairs: pd.DataFrame,
    axes: Mapping[str, Sequence[str]],
    settings: ContrastSettings,
    assumed: Assumptions,
) -> dict[str, Any]:
    """The smallest true gap that each kind of comparison finds on a split, for summary.json.

    By metric, the middle one of the compared groups, the least and the largest; None where a metric
    cannot be tested. Accuracy counts what the labels hide of a true gap; others are as measured.
    """
    alpha = 1 - settings.evaluation.confidence_level
    share = label_loss(pairs)
    comparisons = {}
    for each in study_finds(pairs, axes, settings, assumed):
        smallest: dict[str, dict[str, float] | None] = {}
        for metric in each.designs:
            gaps = true_gaps(each, metric, alpha, assumed, share)
            if not gaps:
                smallest[metric] = None
                continue
            middle = statistics.median(gaps)
            smallest[metric] = {"middle": middle, "least": gaps[0], "largest": gaps[-1]}
        comparisons[each.name] = {"tests": each.tests, "smallest_gap": smallest}
    return {"gap_that_labels_show": share, "comparisons": comparisons}


def _of_runs(cells: Mapping[str, Floats], assumed: Assumptions) -> dict[str, tuple[Design, ...]]:
    designs: dict[str, tuple[Design, ...]] = {}
    for metric, sd in assumed.pair_sd().items():
        n = cells[metric].sum(axis=0).astype(np.float64)
        designs[metric] = (matched_design(n, n, sd, assumed.question_sd * sd),)
    return designs


def _of_groups(
    grid: Grid,
    cells: Mapping[str, Floats],
    axes: Mapping[str, Sequence[str]],
    settings: ContrastSettings,
    assumed: Assumptions,
) -> list[Finds]:
    every = sides(grid, axes, settings.ordered_axes, settings.reference_groups)
    n_axes = _n_tests([side for side in every if side.level != SUBGROUPS])
    rows = []
    for level in dict.fromkeys([*(s.level for s in every if s.level != SUBGROUPS), SUBGROUPS]):
        compared = [side for side in every if side.level == level and side.contrast == "rest"]
        designs: dict[str, tuple[Design, ...]] = {}
        for metric, sd in assumed.pair_sd().items():
            n = cells[metric].astype(np.float64)
            designs[metric] = tuple(
                matched_design(side.first @ n, side.second @ n, sd, assumed.group_sd * sd)
                for side in compared
            )
        if not compared:
            continue
        name = f"{level}: a group against the rest"
        if level == SUBGROUPS:
            name = "a subgroup against the rest of its stratum"
        rows.append(Finds(name, _n_tests(compared) if level == SUBGROUPS else n_axes, designs))
    return rows


def _n_tests(compared: Sequence[Side]) -> int:
    """How many tests these are: a comparison and its mirror image are one."""
    return len({frozenset((side.first.tobytes(), side.second.tobytes())) for side in compared})


def win_rate_design(
    pairs: pd.DataFrame, per_subgroup: int | Literal["all"], assumed: Assumptions
) -> Design:
    """Of a win rate against one half: some questions drawn at random for each subgroup."""
    questions = pairs["question"].nunique()
    subgroups = len(pairs[["stratum", "subgroup"]].drop_duplicates())
    n = len(pairs) if per_subgroup == "all" else per_subgroup * subgroups
    between = (assumed.question_sd * assumed.win_sd) ** 2
    within = max(assumed.win_sd**2 - between, 0.0)
    concentration = 1 / questions + 1 / n  # of draws with replacement, as expected
    return Design((within / n + between * concentration) ** 0.5, 1 / concentration)


def label_loss(pairs: pd.DataFrame) -> float:
    """How much of a true gap in accuracy the labels leave, from 0 to 1: they come from samples."""
    distribution, n = _answers(pairs)
    return label_share(distribution, n)


def needs(
    pairs: pd.DataFrame, finds: Finds, gap: float, alpha: float, power: float
) -> tuple[int | None, float | None]:
    """Questions, and times as many respondents, that a true gap in accuracy needs.

    For the middle one of the groups. Questions at today's respondents; respondents at today's
    questions. None where no number is enough.
    """
    distribution, n = _answers(pairs)
    level = alpha / finds.tests
    ranked = sorted(finds.designs["accuracy"], key=lambda design: design.error)
    design = ranked[len(ranked) // 2]
    share = label_share(distribution, n)
    questions = design.questions_for(gap * share, level, power)
    times = respondents_for(gap, design.smallest_gap(level, power), distribution, n)
    return questions, times


def _answers(pairs: pd.DataFrame) -> tuple[Floats, Floats]:
    """[n, C] distributions, padded with 0, and [n] valid answers."""
    width = max(2, int(pairs["distribution"].map(len).max()))
    rows = [np.pad(np.asarray(row), (0, width - len(row))) for row in pairs["distribution"]]
    return np.stack(rows).astype(np.float64), pairs["n"].to_numpy(dtype=np.float64)
