"""Draw the report's figures as SVG."""

import argparse
from pathlib import Path

from valuestrata import io, paths
from valuestrata.report.results import tuned
from valuestrata.specs import Report, from_json
from valuestrata.stages.tables import load_results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage; outputs have fixed names under the study's folder."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--results", required=True, type=Path, help="the study's folder")


def run(arguments: argparse.Namespace) -> None:
    """Write report/figures/*.svg."""
    from valuestrata.report.figures import figures

    spec = from_json(Report, arguments.spec)
    logs = {}
    for model, variant in tuned(spec):
        for recipe in spec.folds.get(variant, (variant,)):
            folder = arguments.results / paths.ADAPTER.format(model=model, recipe=recipe)
            logs[(model, recipe)] = io.read_json(folder / paths.TRAINING_LOG)
    for name, svg in figures(load_results(arguments.results, spec), logs).items():
        io.write_text(svg, arguments.results / f"report/figures/{name}.svg")
