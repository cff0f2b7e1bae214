"""Copy what may be published: report, tables, predictions, scores, verdicts and adapters."""

import argparse
import logging
import shutil
from pathlib import Path

import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.errors import InputError
from valuestrata.records import Record, read_record
from valuestrata.tables import PAIR

log = logging.getLogger(__name__)

BY_PAIR = {
    "predictions.parquet": tables.PREDICTIONS,
    "texts.parquet": tables.TEXTS,
    "scores": tables.SCORES,
    "verdicts": tables.VERDICTS,
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
        "--min-n",
        type=int,
        default=30,
        help="leave out pairs with fewer valid answers or respondents (default 30)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Copy pairs with at least min_n; respondents' rows, tallies and replies stay behind."""
    if arguments.output.exists():
        raise InputError(f"{arguments.output}: exists already; name a folder to make")
    if not (arguments.results / "report" / "index.html").is_file():
        raise InputError(f"{arguments.results}: holds no report; run snakemake first")
    record = read_record(arguments.results / paths.PAGE)
    caveat = record.caveat if record else ""
    about = Record("export", {}, {"min_n": arguments.min_n, "caveat": caveat})
    with io.replacing_folder(arguments.output, about) as folder:
        shutil.copytree(arguments.results / "report", folder / "report")
        _drop_small_ties(folder / "report/tables/ties.csv", arguments.min_n)
        kept = _write_labels(arguments.results, folder, arguments.min_n)
        for run_folder in sorted((arguments.results / "runs").glob("*/*/*")):
            _copy_run(run_folder, folder / run_folder.relative_to(arguments.results), kept)
        for adapter in sorted((arguments.results / "models").glob("*/*/adapter")):
            target = folder / adapter.relative_to(arguments.results)
            shutil.copytree(adapter, target, ignore=shutil.ignore_patterns(".snakemake*"))
    log.info("wrote %s", arguments.output)


def _drop_small_ties(path: Path, min_n: int) -> None:
    """Take small pairs out of the report's list of ties: it holds counts of answers."""
    ties = pd.read_csv(path)
    large = ties[(ties["n"] >= min_n) & (ties["respondents"] >= min_n)]
    io.write_text(large.to_csv(index=False, lineterminator="\n"), path)


def _write_labels(results: Path, folder: Path, min_n: int) -> dict[str, pd.MultiIndex]:
    """Write each split's modal answers as csv; return the pairs kept, by split."""
    kept = {}
    for path in sorted((results / paths.PAIRS.format(split="*")).parent.glob("*.parquet")):
        if "+" in path.stem:  # the same pairs in a prompt variant
            continue
        pairs = io.read_table(path, tables.PAIRS)
        large = pairs[(pairs["n"] >= min_n) & (pairs["respondents"] >= min_n)]
        log.info("%s: %d of %d pairs are large enough", path.stem, len(large), len(pairs))
        caveat = io.caveat_of(path)
        labels = large[LABELS].assign(caveat=caveat) if caveat else large[LABELS]
        target = folder / paths.PAIRS.format(split=path.stem)
        io.write_text(labels.to_csv(index=False), target.with_suffix(".csv"))
        kept[path.stem] = pd.MultiIndex.from_frame(large[PAIR])
    return kept


def _copy_run(source: Path, target: Path, kept: dict[str, pd.MultiIndex]) -> None:
    """Copy one run's tables; those by pair lose the pairs that are too small."""
    for path in sorted(source.rglob("*.parquet")):
        relative = path.relative_to(source)
        contract = BY_PAIR.get(relative.parts[0])
        copy = target / relative
        copy.parent.mkdir(parents=True, exist_ok=True)
        if contract is None:
            shutil.copy2(path, copy)
            continue
        record = read_record(path)
        if record is None:
            raise InputError(f"{path}: says nothing of what it is made of; run snakemake again")
        frame = io.read_table(path, contract)
        large = pd.MultiIndex.from_frame(frame[PAIR]).isin(kept[source.name])
        io.write_table(frame[large], copy, contract, record)
