"""Write the report: one self-contained page, and the lines that close a run."""

import argparse
import importlib.metadata
from pathlib import Path

from valuestrata import io, paths
from valuestrata.report import page
from valuestrata.report.captions import FIGURES
from valuestrata.report.display import Table
from valuestrata.report.headline import headline
from valuestrata.report.results import System, all_runs, llm_runs, splits
from valuestrata.report.samples import samples_table
from valuestrata.specs import Report, from_json
from valuestrata.stages.tables import load_results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage; outputs have fixed names under the study's folder."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--results", required=True, type=Path, help="the study's folder")


def run(arguments: argparse.Namespace) -> None:
    """Write report/index.html and report/headline.txt."""
    spec = from_json(Report, arguments.spec)
    folder: Path = arguments.results
    results = load_results(folder, spec)
    html = page.render_page(
        results=results,
        summary=io.read_json(folder / "survey/summary.json"),
        drawings={
            name: (folder / f"report/figures/{name}.svg").read_text(encoding="utf-8")
            for name in FIGURES
        },
        samples=_samples(folder, spec),
        origins=_origins(folder, spec),
        version=_version(),
    )
    io.write_text(html, folder / "report/index.html")
    io.write_text(headline(results), folder / "report/headline.txt")


def _samples(folder: Path, spec: Report) -> list[Table]:
    """Sample answers of the splits that were judged; none without a judge."""
    judged = splits(spec) if spec.compare.judges else []
    tables = []
    for split in [s for s in judged if s in spec.compare.judged_splits]:
        texts, verdicts = {}, {}
        for model, variant in (s for s in llm_runs(spec) if spec.compare.speaks(s[1], split)):
            parts = {"model": model, "variant": variant, "split": split}
            texts[model, variant] = io.read_table(folder / paths.TEXTS.format(**parts), "texts")
            for judge in spec.compare.judges:
                file = folder / paths.VERDICTS.format(**parts, judge=judge)
                verdicts[(model, variant), judge] = io.read_table(file, "verdicts")
        tables.append(samples_table(spec, split, texts, verdicts))
    return tables


def _origins(folder: Path, spec: Report) -> dict[System, tuple[str, str]]:
    """Weights and adapter of each system, as its predictions on its first split name them."""
    found = {}
    for model, variant in all_runs(spec):
        split = next(s for s in splits(spec) if spec.compare.speaks(variant, s))
        file = folder / paths.PREDICTIONS.format(model=model, variant=variant, split=split)
        named = io.read_table(file, "predictions", ["weights", "adapter"])
        adapters = ", ".join(dict.fromkeys(map(str, named["adapter"])))
        found[model, variant] = (str(named["weights"].iloc[0]), adapters)
    return found


def _version() -> str:
    try:
        return importlib.metadata.version("valuestrata")
    except importlib.metadata.PackageNotFoundError:
        return "(version unknown: run from source)"
