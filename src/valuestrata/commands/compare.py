"""Compare two runs of a study, or two folders of results, on the pairs that both answered."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.columns import METRIC
from valuestrata.errors import InputError
from valuestrata.report.comparison import Metric, Row, RunValues, paired_differences, run_values
from valuestrata.report.phrases import (
    METRICS,
    caveat_sentence,
    count,
    decimal,
    is_rate,
    metric_name,
    p_value,
    percent,
    plural,
    with_interval,
)
from valuestrata.report.results import to_estimate
from valuestrata.report.runs import RunKey, judgements, label, run_keys
from valuestrata.report.settings import ComparisonSettings, comparison_settings
from valuestrata.study.load import load_files
from valuestrata.study.study import BASE, Study

CONFIG = ["config.yaml"]
SHOWN = ("accuracy", "nmae", "wasserstein", "refusal", "win_rate")


@dataclass(frozen=True)
class ComparedRun:
    """One of the two: a run of a study on a split, with the folder of the study's results."""

    folder: Path
    study: Study
    run: RunKey

    @property
    def settings(self) -> ComparisonSettings:
        """What the study compares."""
        return comparison_settings(self.study)

    @property
    def name(self) -> str:
        """How the run is called, with its folder of results."""
        return f"{label(self.run[:2], self.settings)} of {self.folder}"

    @property
    def scores(self) -> list[Path]:
        """Its tables of scores, one a stratum."""
        strata = self.settings.strata[self.run[2]]
        return [self.path(paths.SCORES, stratum=stratum) for stratum in strata]

    @property
    def has_scores(self) -> bool:
        """Whether all of them are there."""
        return all(path.exists() for path in self.scores)

    def path(self, pattern: str, **parts: str) -> Path:
        """Where an artefact of the run lies."""
        model, variant, split = self.run
        return self.folder / pattern.format(model=model, variant=variant, split=split, **parts)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is compared."""
    what = "a run of the study (toy-llama/sft, or toy-llama for its base) or a folder of results"
    parser.add_argument("first", metavar="A", help=what)
    parser.add_argument("second", metavar="B", help="another; differences are A minus B")
    parser.add_argument(
        "--config",
        nargs="+",
        default=CONFIG,
        metavar="FILE",
        help="study file and overlays that runs are of (config.yaml)",
    )
    parser.add_argument("--split", help="only this split")


def run(arguments: argparse.Namespace) -> None:
    """Print a table of paired differences for each split, or for each run and split."""
    names = (arguments.first, arguments.second)
    folders = [Path(name, paths.STUDY).is_file() for name in names]
    if any(folders) and not all(folders):
        other = names[folders.index(False)]
        raise InputError(f"{other}: no folder with {paths.STUDY}; give two folders or two runs")
    elsewhere = [name for name in names if Path(name).is_dir()]
    if elsewhere and not any(folders):
        raise InputError(f"{elsewhere[0]}: a folder without {paths.STUDY}; run snakemake first")
    if all(folders):
        pairs = _of_folders(Path(names[0]), Path(names[1]))
    else:
        pairs = _of_runs(_study_of_runs(arguments.config, names), *names)
    asked = [pair for pair in pairs if arguments.split in (None, pair[0].run[2])]
    if not asked:
        on = f" {arguments.split!r}" if arguments.split else ""
        raise InputError(f"{' and '.join(names)} share no run on a split{on}")
    made = [pair for pair in asked if all(side.has_scores for side in pair)]
    if not made:
        missing = next(side for side in asked[0] if not side.has_scores)
        raise InputError(f"{missing.name}: no scores on {missing.run[2]}; run snakemake first")
    caveats = dict.fromkeys(caveat_sentence(side.study.caveat) for pair in made for side in pair)
    blocks = [*filter(None, caveats), *(text(*pair) for pair in made)]
    n_left_out = len(asked) - len(made)
    if n_left_out:
        blocks.append(f"Note: {plural(n_left_out, 'run')} without scores in both left out.")
    print("\n\n".join(blocks))


def _read_study(folder: Path) -> Study:
    try:
        return Study.from_json((folder / paths.STUDY).read_text(encoding="utf-8"))
    except ValueError:
        raise InputError(f"{folder / paths.STUDY}: not a study that snakemake wrote") from None


def _study_of_runs(config: Sequence[str], names: tuple[str, str]) -> Study:
    """The study that runs are of; without its default file, the names are what is wrong."""
    if config == CONFIG and not Path(*CONFIG).exists():
        raise InputError(
            f"{' and '.join(dict.fromkeys(names))}: no folder of results here; if these are runs, "
            f"name their study with --config, as there is no {CONFIG[0]} in this folder"
        )
    return load_files(config, Path(), files=False)


def _of_folders(first: Path, second: Path) -> Iterator[tuple[ComparedRun, ComparedRun]]:
    studies = (_read_study(first), _read_study(second))
    shared = set(run_keys(comparison_settings(studies[1])))
    for key in run_keys(comparison_settings(studies[0])):
        if key in shared:
            yield ComparedRun(first, studies[0], key), ComparedRun(second, studies[1], key)


def _of_runs(study: Study, first: str, second: str) -> Iterator[tuple[ComparedRun, ComparedRun]]:
    keys = run_keys(comparison_settings(study))
    chosen = []
    for name in (first, second):
        model, _, variant = name.partition("/")
        run = (model, variant or BASE)
        if run not in {key[:2] for key in keys}:
            runs = ", ".join(dict.fromkeys("/".join(key[:2]) for key in keys))
            raise InputError(f"{name}: neither a folder of results nor one of the runs {runs}")
        chosen.append(run)
    for split in study.splits:
        sides = [(*run, split) for run in chosen]
        if all(side in keys for side in sides):
            folder = Path(study.results)
            yield ComparedRun(folder, study, sides[0]), ComparedRun(folder, study, sides[1])


def text(first: ComparedRun, second: ComparedRun) -> str:
    """The table of one comparison: both values on shared pairs, the difference and its test."""
    values = (_values(first), _values(second))
    rows = [
        row for row in paired_differences(*values, first.study.evaluation) if row["metric"] in SHOWN
    ]
    heading = f"{first.run[2]}: {first.name} minus {second.name}"
    if not rows:
        raise InputError(f"{heading}: no pair has a value in both")
    level = f"difference [{first.study.evaluation.confidence_level:.0%}]"
    lines = [("", "A", "B", level, "p", "n", "missing"), *(_line(row, *values) for row in rows)]
    notes = _other_labels(first, second)
    return "\n".join([heading, *_aligned(lines), *notes])


def _values(side: ComparedRun) -> RunValues:
    """A run's values, from its scores and its judges' verdicts."""
    verdicts = {
        judge: io.read_table(path, tables.VERDICTS)
        for *key, judge in judgements(side.settings)
        if tuple(key) == side.run and (path := side.path(paths.VERDICTS, judge=judge)).exists()
    }
    return run_values(io.read_table(side.scores, tables.SCORES), verdicts)


def _line(row: Row, first: RunValues, second: RunValues) -> tuple[str, ...]:
    """A metric's row: means over the pairs that both have, so that they differ as is said."""
    metric = Metric(*(str(row[key]) for key in METRIC))
    gap = to_estimate(row)
    write = percent if is_rate(metric.metric) else decimal
    arrays = [run.array(metric, first.pairs) for run in (first, second)]
    is_shared = pd.notna(arrays[0]) & pd.notna(arrays[1])
    means = (write(float(array[is_shared].mean())) for array in arrays)
    difference = with_interval(gap, is_rate(metric.metric), signed=True)
    name = METRICS.get(metric.metric) or metric_name(metric)
    p = p_value(gap.p_value).removeprefix("p ").removeprefix("= ")
    return (name, *means, difference, p, count(gap.n), count(gap.missing))


def _other_labels(first: ComparedRun, second: ComparedRun) -> list[str]:
    """A note where the two results score the same pair against different labels."""
    if first.folder == second.folder:
        return []
    modes = []
    for side in (first, second):
        path = side.path(paths.PAIRS)
        if not path.exists():
            return [f"Note: {path} is not there, so labels are not compared."]
        frame = io.read_table(path, tables.PAIRS, [*tables.PAIR, "mode"])
        modes.append(frame.set_index(tables.PAIR)["mode"])
    shared = modes[0].index.intersection(modes[1].index)
    n = int((modes[0].loc[shared] != modes[1].loc[shared]).sum())
    if not n:
        return []
    return [f"Note: {count(n)} of {count(len(shared))} shared pairs have another label in B."]


def _aligned(lines: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
