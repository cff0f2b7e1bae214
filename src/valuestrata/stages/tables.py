"""Write the report's tables: every number with its interval, n and missing count, as csv."""

import argparse
from pathlib import Path

import pandas as pd

from valuestrata import io, paths
from valuestrata.report.results import Results, all_runs, worded
from valuestrata.report.tables import tables
from valuestrata.specs import Report, from_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage; outputs have fixed names under the study's folder."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--results", required=True, type=Path, help="the study's folder")


def run(arguments: argparse.Namespace) -> None:
    """Write report/tables/*.csv."""
    results = load_results(arguments.results, from_json(Report, arguments.spec))
    for name, frame in tables(results).items():
        text = frame.to_csv(index=False, lineterminator="\n")
        io.write_text(text, arguments.results / f"report/tables/{name}.csv")


def load_results(folder: Path, spec: Report) -> Results:
    """The study's tables, fairness and groups of all runs stacked."""
    runs = [
        {"model": model, "variant": variant, "split": split}
        for split in spec.compare.splits
        for model, variant in [*all_runs(spec), *worded(spec)]
        if spec.compare.speaks(variant, split)
    ]
    return Results(
        spec=spec,
        runs=io.read_table(folder / "report/runs.parquet", "runs"),
        differences=io.read_table(folder / "report/differences.parquet", "differences"),
        fairness=io.read_table([folder / paths.FAIRNESS.format(**r) for r in runs], "fairness"),
        groups=io.read_table([folder / paths.GROUPS.format(**r) for r in runs], "groups"),
        diversity=io.read_table(folder / "survey/diversity.parquet", "diversity"),
        agreement=io.read_table(folder / "survey/agreement.parquet", "agreement"),
        ceilings=io.read_table(folder / "survey/ceilings.parquet", "ceilings"),
        ties=pd.concat(
            [
                io.read_table(folder / paths.TIES.format(split=split), "ties").assign(split=split)
                for split in spec.compare.splits
            ],
            ignore_index=True,
        ),
    )
