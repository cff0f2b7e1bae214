"""Copy what may be published: report, tables, predictions, scores, verdicts and adapters."""

import argparse
import logging
import shutil
from pathlib import Path

import pandas as pd

from valuestrata import io, paths
from valuestrata.errors import InputError
from valuestrata.tables import PAIR

log = logging.getLogger(__name__)

BY_PAIR = {
    "predictions.parquet": "predictions",
    "texts.parquet": "texts",
    "scores": "scores",
    "verdicts": "verdicts",
}
LABELS = [
    *PAIR,
    "block",
    "measurement_level",
    "scale_min",
    "scale_max",
    "mode",
    "tied",
    "n",
    "respondents",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to copy, and where to."""
    parser.add_argument("results", type=Path, help="the study's folder, results/STUDY")
    parser.add_argument("output", type=Path, help="folder to make; it must not exist yet")
    parser.add_argument(
        "--minimum",
        type=int,
        default=30,
        help="leave out pairs with fewer valid answers or respondents (default 30)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Copy everything above the minimum; respondents' rows, tallies and replies stay behind."""
    if arguments.output.exists():
        raise InputError(f"{arguments.output}: exists already; name a folder to make")
    if not (arguments.results / "report" / "index.html").is_file():
        raise InputError(f"{arguments.results}: holds no report; run snakemake first")
    with io.replacing_folder(arguments.output) as folder:
        shutil.copytree(arguments.results / "report", folder / "report")
        _ties(folder / "report/tables/ties.csv", arguments.minimum)
        kept = _labels(arguments.results, folder, arguments.minimum)
        for run_folder in sorted((arguments.results / "runs").glob("*/*/*")):
            _run(run_folder, folder / run_folder.relative_to(arguments.results), kept)
        for adapter in sorted((arguments.results / "models").glob("*/*/adapter")):
            target = folder / adapter.relative_to(arguments.results)
            shutil.copytree(adapter, target, ignore=shutil.ignore_patterns(".snakemake*"))
    log.info("wrote %s", arguments.output)


def _ties(path: Path, minimum: int) -> None:
    """Take small pairs out of the report's list of ties: it holds counts of answers."""
    ties = pd.read_csv(path)
    large = ties[(ties["n"] >= minimum) & (ties["respondents"] >= minimum)]
    io.write_text(large.to_csv(index=False, lineterminator="\n"), path)


def _labels(results: Path, folder: Path, minimum: int) -> dict[str, pd.MultiIndex]:
    """Write each split's modal answers as csv; return the pairs kept, by split."""
    kept = {}
    for path in sorted((results / paths.PAIRS.format(split="*")).parent.glob("*.parquet")):
        if "+" in path.stem:  # the same pairs, prompts in another wording
            continue
        pairs = io.read_table(path, "pairs")
        large = pairs[(pairs["n"] >= minimum) & (pairs["respondents"] >= minimum)]
        log.info("%s: %d of %d pairs are large enough", path.stem, len(large), len(pairs))
        caveat = io.caveat_of(path)
        labels = large[LABELS].assign(caveat=caveat) if caveat else large[LABELS]
        target = folder / paths.PAIRS.format(split=path.stem)
        io.write_text(labels.to_csv(index=False), target.with_suffix(".csv"))
        kept[path.stem] = pd.MultiIndex.from_frame(large[PAIR])
    return kept


def _run(source: Path, target: Path, kept: dict[str, pd.MultiIndex]) -> None:
    """Copy one run's tables; those by pair lose the pairs that are too small."""
    for path in sorted(source.rglob("*.parquet")):
        relative = path.relative_to(source)
        table = BY_PAIR.get(relative.parts[0])
        copy = target / relative
        copy.parent.mkdir(parents=True, exist_ok=True)
        if table is None:
            shutil.copy2(path, copy)
            continue
        frame = io.read_table(path, table)
        large = pd.MultiIndex.from_frame(frame[PAIR]).isin(kept[source.name])
        io.write_table(frame[large], copy, table, io.caveat_of(path))
