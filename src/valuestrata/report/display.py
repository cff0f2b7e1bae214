"""The tables of the page: cells of formatted numbers with n and missing beneath. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from valuestrata.report.phrases import (
    CEILINGS,
    MEASURES,
    METRICS,
    NONE,
    RANKS,
    STATISTICS,
    count,
    decimal,
    is_rate,
    metric_name,
    p_value,
    percent,
)
from valuestrata.report.results import (
    BASE,
    SUBGROUPS,
    Estimate,
    Results,
    System,
    all_runs,
    baselines,
    cell_label,
    label,
    llm_runs,
    number,
    records,
    stratum_label,
    tuned,
)

KEPT = "\N{NO-BREAK SPACE}"
SHOWN = ("accuracy", "nmae", "wasserstein", "refusal", "invalid", "failed")
OF_DISTRIBUTIONS = (
    "wasserstein",
    "total_variation",
    "jensen_shannon",
    "argmax_accuracy",
    "confidence",
    "calibration_error",
    "non_option_mass",
)
NOT_IN_DIFFERENCES = ("jensen_shannon", "total_variation", "changed")


@dataclass(frozen=True)
class Cell:
    """A cell: what it says, its interval, and small print beneath."""

    text: str
    interval: str = ""
    small: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the page; the first `heads` cells of a row are its headers."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    heads: int = 1
    note: str = ""


def cell(one: Estimate | None, rate: bool = False, signed: bool = False, more: str = "") -> Cell:
    """Value, interval, then n, missing and what else is to be said."""
    if one is None:
        return Cell(NONE)
    say = percent if rate else decimal
    known = one.known and one.ci_low == one.ci_low
    interval = f"[{say(one.ci_low, signed)}, {say(one.ci_high, signed)}]" if known else ""
    parts = [f"n {count(one.n)}", f"missing {count(one.missing)}", *([more] if more else [])]
    small = ", ".join(part.replace(" ", KEPT) for part in parts)
    return Cell(say(one.value, signed), interval, small)


def main_table(results: Results, split: str) -> Table:
    """The main results of one split, one row a run."""
    spec = results.spec
    wins = [
        (judge, dimension)
        for judge in spec.compare.judges
        for dimension in results.dimensions(judge, split)
    ]
    rows = []
    for system in all_runs(spec):
        cells = [cell(results.of(system, split, m), is_rate(m)) for m in SHOWN]
        cells += [_win(results, system, split, *win) for win in wins]
        rows.append((_name(results, system), *cells))
    names = [metric_name(f"win_rate:{judge}:{dimension}") for judge, dimension in wins]
    for kind, name in CEILINGS.items():
        known = (results.ceiling(kind, split, m) for m in SHOWN)
        rows.append((Cell(name, small="ceiling"), *map(cell, known), *(Cell(NONE) for _ in wins)))
    role = spec.roles.get(split, "")
    return Table(
        caption=f"Main results, {split} ({role} split)",
        columns=("Run", *(METRICS[m] for m in SHOWN), *names),
        rows=tuple(rows),
    )


def distributions_table(results: Results, split: str) -> Table:
    """The probabilities of the options against the subgroups' distributions, one row a run."""
    rows = [
        (_name(results, s), *(cell(results.of(s, split, m)) for m in OF_DISTRIBUTIONS))
        for s in all_runs(results.spec)
    ]
    columns = ("Run", *(METRICS[m] for m in OF_DISTRIBUTIONS))
    return Table(f"Distributions, {split}", columns, tuple(rows))


def way_table(results: Results, split: str) -> Table:
    """How much of the way each run goes from the best persona-persona_agnostic baseline to the ceiling."""
    spec = results.spec
    metrics = ("accuracy", "nmae", "wasserstein")
    rows, starts = [], dict[str, str]()
    for system in all_runs(spec):
        ways = [results.normalized_gain(system, split, metric) for metric in metrics]
        starts |= {m: way[0] for m, way in zip(metrics, ways, strict=True) if way is not None}
        cells = (cell(way[1], rate=True) if way is not None else Cell(NONE) for way in ways)
        rows.append((_name(results, system), *cells))
    said = [f"{METRICS[metric]} starts from {start}" for metric, start in starts.items()]
    note = f"{'; '.join(said)}. {NONE}: no value, or baseline and ceiling are not clearly apart."
    columns = ("Run", *(METRICS[m] for m in metrics))
    title = f"Share of the way from the best persona-persona_agnostic baseline to perfect knowledge, {split}"
    return Table(title, columns, tuple(rows), note=note)


def _name(results: Results, system: System) -> Cell:
    spec = results.spec
    small = "baseline, no language model" if system in baselines(spec) else ""
    references = [judge for judge, own in spec.reference.items() if own == system]
    if references:
        small = f"reference of {', '.join(references)}"
    return Cell(label(system, spec), small=small)


def _win(results: Results, system: System, split: str, judge: str, dimension: str) -> Cell:
    flip = results.of(system, split, f"flip_rate:{judge}:{dimension}")
    said = f"flips {percent(flip.value)}" if flip is not None and flip.known else ""
    return cell(results.of(system, split, f"win_rate:{judge}:{dimension}"), more=said)


def fairness_table(results: Results, split: str, level: str) -> Table:
    """Norm.Range and CV over the groups of a level, each beside its null."""
    spec = results.spec
    rows = []
    for system in all_runs(spec):
        for metric in ("accuracy", "nmae"):
            found = [results.inequality(system, split, metric, s, level) for s in STATISTICS]
            known = next((row for row in found if row is not None), None)
            if known is None:
                continue
            ends = (Cell(cell_label(str(known[end]))) for end in ("best", "worst"))
            cells = (part for row in found for part in _unequal(row))
            rows.append((_name(results, system), Cell(METRICS[metric]), *cells, *ends))
    over = "subgroups" if level == SUBGROUPS else f"groups of {spec.axes.get(level, level)}"
    parts = [(name, f"{name} by chance", "p") for name in STATISTICS.values()]
    columns = ("Run", "Metric", *parts[0], *parts[1], "Served best", "Served worst")
    return Table(f"Inequality over {over}, {split}", columns, tuple(rows), heads=2)


def _unequal(row: dict[str, Any] | None) -> tuple[Cell, Cell, Cell]:
    return _against_chance(row, "" if row is None else f"{int(row['groups'])} groups")


def _against_chance(row: dict[str, Any] | None, more: str = "") -> tuple[Cell, Cell, Cell]:
    """A number, its null, and the p-value."""
    if row is None:
        return Cell(NONE), Cell(NONE), Cell(NONE)
    one, mean, high = number(row), float(row["null_mean"]), float(row["null_p95"])
    chance = Cell(decimal(mean), small=f"95th percentile {decimal(high)}")
    p = p_value(one.p).removeprefix("p ").removeprefix("= ").replace(" ", KEPT)
    return cell(one, more=more), chance, Cell(p)


def groups_table(results: Results, split: str, metric: str) -> Table:
    """A metric by group of each axis, a column a run."""
    spec = results.spec
    rows = []
    for level in results.levels(split):
        for group in results.members(split, level):
            found = [results.group(s, split, level, group, metric) for s in all_runs(spec)]
            found.append(results.ceiling("noise_ceiling", split, metric, level, group))
            rows.append((Cell(spec.axes[level]), Cell(group), *(cell(one) for one in found)))
    columns = (
        "Axis",
        "Group",
        *(label(s, spec) for s in all_runs(spec)),
        CEILINGS["noise_ceiling"],
    )
    return Table(f"{METRICS[metric]} by group, {split}", columns, tuple(rows), heads=2)


def differences_table(results: Results, split: str) -> Table:
    """Paired differences of a split: tuned less base, then each run less each baseline."""
    spec = results.spec
    pairs = [(s, (s[0], BASE)) for s in tuned(spec)]
    pairs += [(s, b) for b in baselines(spec) for s in llm_runs(spec)]
    own = results.differences[results.differences["split"] == split]
    metrics = [m for m in dict.fromkeys(map(str, own["metric"])) if m not in NOT_IN_DIFFERENCES]
    rows = [
        (
            Cell(label(one, spec), small=f"less {label(other, spec)}"),
            *(_gap(results.gap(one, other, split, m), m) for m in metrics),
        )
        for one, other in pairs
    ]
    columns = ("Difference", *(metric_name(m) for m in metrics))
    return Table(f"Paired differences, {split}", columns, tuple(rows))


def _gap(gap: Estimate | None, metric: str) -> Cell:
    said = "" if gap is None else p_value(gap.p)
    return cell(gap, is_rate(metric), signed=True, more=said)


def diversity_table(results: Results) -> Table:
    """Conflict scores by block beside what chance gives, most divided first."""
    frame = results.diversity
    means = frame[(frame["stratum"] == "mean") & (frame["question"] == "mean")]
    found = {(str(r["block"]), str(r["measure"])): r for r in records(means)}
    known = [b for b, m in found if m == "mds" and b != "all"]
    ranked = sorted(known, key=lambda b: -_or_zero(float(found[b, "mds"]["value"])))
    rows = [
        (
            Cell("all blocks" if block == "all" else block),
            *(part for m in MEASURES for part in _against_chance(found.get((block, m)))),
        )
        for block in [*ranked, *(["all"] if ("all", "mds") in found else [])]
    ]
    heads = (head for name in MEASURES.values() for head in (name, "By chance", "p"))
    note = (
        "n and missing count questions. By chance: mean and 95th percentile if respondents' places "
        "in subgroups were dealt out anew, so that membership meant nothing."
    )
    caption = "Conflict between subgroups by block"
    return Table(caption, ("Block", *heads), tuple(rows), note=note)


def agreement_table(results: Results) -> Table:
    """Whether Modal Diversity Score and Wasserstein distance rank questions alike, by stratum."""
    found = {(str(r["stratum"]), str(r["coefficient"])): r for r in records(results.agreement)}
    strata = dict.fromkeys(stratum for stratum, _ in found)
    rows = [
        (
            Cell("mean over the strata" if name == "mean" else stratum_label(name)),
            *(cell(number(found[name, coefficient])) for coefficient in RANKS),
        )
        for name in strata
    ]
    note = "n and missing count questions; those without an order have no distance."
    caption = "Do both conflict scores rank questions alike?"
    return Table(caption, ("Stratum", *RANKS.values()), tuple(rows), note=note)


def labels_table(summary: dict[str, Any], names: Sequence[str]) -> Table:
    """Ties among the labels of each split, and what survey weights would change."""
    rows = []
    said = {}
    for name in names:
        about = summary["splits"].get(name)
        if about is None:
            continue
        said = about["labels"]
        ties = (
            Cell(count(said[f"tied_{how}"]), small=f"of {count(about['pairs'])} pairs")
            for how in ("unweighted", "weighted")
        )
        changed, moved = number(said["changed"]), number(said["moved"])
        rows.append((Cell(name), *ties, cell(changed, rate=True), cell(moved)))
    columns = (
        "Split",
        "Ties, unweighted",
        "Ties, weighted",
        "Modal answers that weights change",
        "How far weights move distributions",
    )
    note = (
        f"This study's modal answers are {said['mode']}, its distributions {said['distribution']}. "
        "The last column is the total variation distance, 0 to 1. Every tied pair with its codes "
        "is listed in tables/ties.csv."
        if said
        else ""
    )
    return Table("Ties and weights", columns, tuple(rows), note=note)


def _or_zero(value: float) -> float:
    return value if value == value else 0.0


def splits_table(summary: dict[str, Any], results: Results, names: Sequence[str]) -> Table:
    """Sizes of the splits, what rules that need no model score on them, and what can be reached."""
    rows = []
    scorers: list[str] = []
    for name in names:
        about = summary["splits"].get(name)
        if about is None:
            continue
        scored = {
            **about["baselines"],
            CEILINGS["noise_ceiling"]: about["ceilings"]["noise_ceiling"],
        }
        scorers = list(scored)
        strata = ", ".join(f"{stratum_label(s)} ({n})" for s, n in about["strata"].items())
        scores = [
            cell(number(scored[scorer][metric]))
            for scorer in scored
            for metric in ("accuracy", "nmae")
        ]
        sizes = (Cell(count(about[k])) for k in ("subgroups", "pairs", "tied_modes"))
        role = results.spec.roles.get(name, "")
        rows.append((Cell(name, small=role), Cell(strata), *sizes, *scores))
    heads = [f"{METRICS[m]} of {s}" for s in scorers for m in ("accuracy", "nmae")]
    columns = ("Split", "Strata (subgroups)", "Subgroups", "Pairs", "Tied modes", *heads)
    return Table("Splits, rules that need no model, and ceilings", columns, tuple(rows))


def respondents_table(summary: dict[str, Any], axes: dict[str, str]) -> Table:
    """Respondents by group, an axis a row."""
    rows = []
    for axis, own in summary["groups"].items():
        sizes = (f"{group}: {count(n)}".replace(" ", KEPT) for group, n in own.items())
        rows.append((Cell(axes.get(axis, axis)), Cell("; ".join(sizes))))
    return Table("Respondents by group", ("Axis", "Respondents"), tuple(rows))
