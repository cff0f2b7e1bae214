"""The tables of the page: cells of formatted numbers with n and missing beneath. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from valuestrata.io import records
from valuestrata.report.comparison import CEILED, Metric
from valuestrata.report.phrases import (
    CEILINGS,
    METRICS,
    NONE,
    RANKS,
    count,
    decimal,
    is_rate,
    metric_name,
    percent,
    tested,
)
from valuestrata.report.results import (
    Estimate,
    Results,
    stratum_label,
    to_estimate,
)
from valuestrata.report.runs import (
    BASE,
    ModelVariant,
    all_runs,
    baseline_runs,
    label,
    llm_runs,
    tuned_runs,
)

NO_BREAK = "\N{NO-BREAK SPACE}"
HIDDEN = f":{NO_BREAK}hidden"
MAIN = ("accuracy", "nmae", "wasserstein", "refusal", "invalid", "truncated", "failed")
OF_DISTRIBUTIONS = (
    "wasserstein",
    "total_variation",
    "jensen_shannon",
    "argmax_accuracy",
    "confidence",
    "calibration_error",
    "non_option_mass",
)
OF_TEXTS = (
    "answered",
    "accuracy_all_pairs",
    "accuracy_upper_bound",
    "refusal",
    "invalid",
    "truncated",
    "failed",
    "non_option_mass",
)
"""What only a language model can have: a rule always answers with an option."""
NOT_IN_DIFFERENCES = (
    "jensen_shannon",
    "total_variation",
    "disagreement_rate",
    "accuracy_gap_lower",
    "accuracy_gap_upper",
)


@dataclass(frozen=True)
class Cell:
    """A cell: its text, its interval, and small print beneath; grey where it is doubtful.

    `key` is what rows are sorted by where the text does not begin with it; `people`, of a
    row's first cell, the people that the row is about: an export drops rows of few.
    """

    text: str
    interval: str = ""
    small: str = ""
    is_doubtful: bool = False
    key: float | None = None
    people: int | None = None


@dataclass(frozen=True)
class Table:
    """A table of the page; the first `heads` cells of a row are its headers."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    heads: int = 1
    note: str = ""


def cell(
    estimate: Estimate | None, rate: bool = False, signed: bool = False, extra: str = ""
) -> Cell:
    """Value, interval, then n, missing and an extra remark."""
    if estimate is None:
        return Cell(NONE)
    write = percent if rate else decimal
    ends = [write(end, signed) for end in (estimate.ci_low, estimate.ci_high)]
    interval = f"[{', '.join(ends)}]" if estimate.has_interval else ""
    parts = [f"n {count(estimate.n)}", f"missing {count(estimate.missing)}", extra]
    small = ", ".join(part.replace(" ", NO_BREAK) for part in parts if part)
    return Cell(write(estimate.value, signed), interval, small)


def main_table(results: Results, split: str, doubtful: Collection[tuple[str, str]] = ()) -> Table:
    """The main results of one split, one row a run.

    Win rates are grey where judge and dimension are in `doubtful`.
    """
    settings = results.settings
    wins = [
        Metric("win_rate", judge, dimension)
        for judge in settings.judges
        for dimension in results.dimensions(judge, split)
    ]
    metrics = [m for m in MAIN if llm_runs(settings) or m not in OF_TEXTS]
    rows = []
    for run in all_runs(settings):
        cells = [cell(results.metric(run, split, m), is_rate(m)) for m in metrics]
        cells += [greyed(_win(results, run, split, win), win, doubtful) for win in wins]
        rows.append((run_cell(results, run), *cells))
    for name, shown in CEILINGS.items():
        cells = [cell(results.ceiling(name, split, m)) for m in metrics]
        rows.append((Cell(shown, small="ceiling"), *cells, *(Cell(NONE) for _ in wins)))
    return Table(
        caption=f"Main results, {split} ({settings.roles.get(split, '')} split)",
        columns=("Run", *(METRICS[m] for m in metrics), *map(metric_name, wins)),
        rows=tuple(rows),
        note=_note_on_grey(results, wins, doubtful),
    )


def greyed(shown: Cell, metric: Metric, doubtful: Collection[tuple[str, str]]) -> Cell:
    """A cell, grey where its metric's judge and dimension are in `doubtful`."""
    return replace(shown, is_doubtful=(metric.judge, metric.dimension) in doubtful)


def _note_on_grey(
    results: Results, metrics: Sequence[Metric], doubtful: Collection[tuple[str, str]]
) -> str:
    if any((metric.judge, metric.dimension) in doubtful for metric in metrics):
        return f"Grey: the judge is less reliable than {results.annotators} on this dimension."
    return ""


def distributions_table(results: Results, split: str) -> Table:
    """The probabilities of the options against the subgroups' distributions, one row a run."""
    settings = results.settings
    metrics = [m for m in OF_DISTRIBUTIONS if llm_runs(settings) or m not in OF_TEXTS]
    rows = [
        (run_cell(results, run), *(cell(results.metric(run, split, m)) for m in metrics))
        for run in all_runs(settings)
    ]
    columns = ("Run", *(METRICS[m] for m in metrics))
    return Table(f"Distributions, {split}", columns, tuple(rows))


def gains_table(results: Results, split: str) -> Table:
    """The normalized gain of each run from the best persona-agnostic baseline."""
    rows, baselines = [], dict[str, str]()
    for run in all_runs(results.settings):
        gains = {metric: results.normalized_gain(run, split, metric) for metric in CEILED}
        baselines |= {metric: gain[0] for metric, gain in gains.items() if gain is not None}
        cells = (cell(gain[1], rate=True) if gain else Cell(NONE) for gain in gains.values())
        rows.append((run_cell(results, run), *cells))
    starts = [f"{METRICS[metric]}: from {name}" for metric, name in baselines.items()]
    undefined = f"{NONE}: no value, or baseline and noise ceiling are not clearly apart"
    columns = ("Run", *(METRICS[metric] for metric in CEILED))
    note = f"{'; '.join([*starts, undefined])}."
    return Table(f"Normalized gain, {split}", columns, tuple(rows), note=note)


def run_cell(results: Results, run: ModelVariant) -> Cell:
    """The name of a run, and what it is beneath."""
    settings = results.settings
    is_other = run in baseline_runs(settings) and llm_runs(settings)
    small = "baseline, no language model" if is_other else ""
    judges = [judge for judge, reference in settings.references.items() if reference == run]
    if judges:
        small = f"reference of {', '.join(judges)}"
    return Cell(label(run, settings), small=small)


def _win(results: Results, run: ModelVariant, split: str, win: Metric) -> Cell:
    flip = results.metric(run, split, win._replace(metric="flip_rate"))
    extra = f"flips {percent(flip.value)}" if flip is not None and flip.exists else ""
    return cell(results.metric(run, split, win), extra=extra)


def groups_table(results: Results, split: str, metric: str) -> Table:
    """A metric by group of each axis, a column a run."""
    settings = results.settings
    runs = all_runs(settings)
    rows = []
    for level in results.levels(split):
        for group in results.group_names(split, level):
            estimates = [results.group(run, split, level, group, metric) for run in runs]
            estimates.append(results.ceiling("noise_ceiling", split, metric, level, group))
            rows.append((Cell(settings.axes[level]), Cell(group), *map(cell, estimates)))
    names = (*(label(run, settings) for run in runs), CEILINGS["noise_ceiling"])
    caption = f"{METRICS[metric]} by group, {split}"
    return Table(caption, ("Axis", "Group", *names), tuple(rows), heads=2)


def differences_table(
    results: Results, split: str, doubtful: Collection[tuple[str, str]] = ()
) -> Table:
    """Paired differences of a split: tuned minus base, then each run minus each baseline.

    Without a language model each baseline minus those before it. Those of win rates are grey where
    judge and dimension are in `doubtful`.
    """
    settings = results.settings
    baselines = baseline_runs(settings)
    pairs = [(run, (run[0], BASE)) for run in tuned_runs(settings)]
    pairs += [(run, b) for b in baselines for run in llm_runs(settings)]
    hidden: tuple[str, ...] = NOT_IN_DIFFERENCES
    if not llm_runs(settings):
        pairs = [(run, b) for i, b in enumerate(baselines) for run in baselines[i + 1 :]]
        hidden = (*hidden, *OF_TEXTS)
    metrics = [m for m in results.difference_metrics(split) if m.metric not in hidden]
    rows = [
        (
            Cell(label(first, settings), small=f"minus {label(second, settings)}"),
            *(
                greyed(difference_cell(results.difference(first, second, split, m), m), m, doubtful)
                for m in metrics
            ),
        )
        for first, second in pairs
    ]
    columns = ("Difference", *map(metric_name, metrics))
    note = _note_on_grey(results, metrics, doubtful)
    return Table(f"Paired differences, {split}", columns, tuple(rows), note=note)


def difference_cell(difference: Estimate | None, metric: Metric) -> Cell:
    """A signed difference with its p-value."""
    p = "" if difference is None else tested(difference)
    return cell(difference, is_rate(metric.metric), signed=True, extra=p)


def agreement_table(results: Results) -> Table:
    """Rank agreement of Modal Diversity Score and Wasserstein distance by stratum."""
    scores = {(str(r["stratum"]), str(r["coefficient"])): r for r in records(results.agreement)}
    strata = dict.fromkeys(stratum for stratum, _ in scores)
    rows = [
        (
            Cell("mean over the strata" if name == "mean" else stratum_label(name)),
            *(cell(to_estimate(scores[name, coefficient])) for coefficient in RANKS),
        )
        for name in strata
    ]
    note = "n and missing count questions; nominal questions have no distance."
    caption = "Rank agreement of both conflict scores"
    return Table(caption, ("Stratum", *RANKS.values()), tuple(rows), note=note)


def labels_table(summary: dict[str, Any], names: Sequence[str]) -> Table:
    """Ties among the labels of each split, and what survey weights change."""
    rows = []
    note = ""
    for name in names:
        if name not in summary["splits"]:
            continue
        split = summary["splits"][name]
        labels = split["labels"]
        ties = (
            Cell(count(labels[f"tied_{how}"]), small=f"of {count(split['pairs'])} pairs")
            for how in ("unweighted", "weighted")
        )
        changed, moved = to_estimate(labels["changed"]), to_estimate(labels["moved"])
        rows.append((Cell(name), *ties, cell(changed, rate=True), cell(moved)))
        note = (
            f"This study's modal answers are {labels['mode']}, its distributions "
            f"{labels['distribution']}. Every tied pair is listed in tables/ties.csv."
        )
    columns = (
        "Split",
        "Ties, unweighted",
        "Ties, weighted",
        "Modal answers that weights change",
        "Total variation distance, weighted to unweighted",
    )
    return Table("Ties and weights", columns, tuple(rows), note=note)


def splits_table(summary: dict[str, Any], results: Results, names: Sequence[str]) -> Table:
    """Sizes of the splits, and the scores of simple baselines and of the noise ceiling on them."""
    rows = []
    scorers: list[str] = []
    for name in names:
        if name not in summary["splits"]:
            continue
        split = summary["splits"][name]
        ceiling = {CEILINGS["noise_ceiling"]: split["ceilings"]["noise_ceiling"]}
        scores = {**split["baselines"], **ceiling}
        scorers = list(scores)
        strata = ", ".join(f"{stratum_label(s)} ({n})" for s, n in split["strata"].items())
        cells = [
            cell(to_estimate(scores[scorer][metric]))
            for scorer in scorers
            for metric in ("accuracy", "nmae")
        ]
        sizes = (Cell(count(split[k])) for k in ("subgroups", "pairs", "tied_modes"))
        role = results.settings.roles.get(name, "")
        rows.append((Cell(name, small=role), Cell(strata), *sizes, *cells))
    heads = [f"{METRICS[m]} of {s}" for s in scorers for m in ("accuracy", "nmae")]
    columns = ("Split", "Strata (subgroups)", "Subgroups", "Pairs", "Tied modes", *heads)
    return Table("Splits", columns, tuple(rows))


def respondents_table(summary: dict[str, Any], axes: dict[str, str], min_n: int) -> Table:
    """Respondents by group, an axis a row; those of small groups are hidden.

    Where one group alone is small the next larger is hidden, too: the sum of an axis would give it.
    """
    rows = []
    n_hidden = 0
    for axis, groups in summary["groups"].items():
        shown = sizes_line(groups, min_n)
        n_hidden += HIDDEN in shown
        rows.append((Cell(axes.get(axis, axis)), Cell(shown)))
    columns = ("Axis", "Respondents")
    note = hidden_groups(min_n) if n_hidden else ""
    return Table("Respondents by group", columns, tuple(rows), note=note)


def hidden_groups(min_n: int) -> str:
    """What is said of groups whose sizes are hidden."""
    return f"Hidden: groups of fewer than {min_n}, and one that would give such a group away."


def sizes_line(groups: Mapping[str, int], min_n: int) -> str:
    """The groups of an axis with their respondents."""
    hidden = {group for group, n in groups.items() if n < min_n}
    if len(hidden) == 1 and len(groups) > 1:
        hidden.add(min(groups.keys() - hidden, key=lambda group: (groups[group], group)))
    sizes = (f"{g}{HIDDEN}" if g in hidden else f"{g}: {count(n)}" for g, n in groups.items())
    return "; ".join(size.replace(" ", NO_BREAK) for size in sizes)
