"""Draw the report's figures as SVG, PNG and PDF, and write what the page draws them from."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.report.captions import FIGURES
from valuestrata.report.runs import RunKey, evaluates_on, llm_runs
from valuestrata.report.settings import DisplaySettings, display_settings
from valuestrata.stages.job import Files, Job, at
from valuestrata.stages.result_files import adapter_keys, load_results, result_inputs
from valuestrata.study.study import Study

Settings = DisplaySettings
FORMATS = ("svg", "png", "pdf")


def runs(study: Study) -> list[dict[str, str]]:
    """One set of figures a study."""
    return [{}]


def settings(study: Study) -> Settings:
    """The runs and their order."""
    return display_settings(study)


def inputs(study: Study) -> Files:
    """All tables, language models' scores, and the adapters with their training logs."""
    display = display_settings(study)
    scores = [
        at(study, paths.SCORES, model=model, variant=variant, split=split, stratum=stratum)
        for model, variant, split in _answering(display)
        for stratum in display.strata[split]
    ]
    adapters = (
        at(study, paths.ADAPTER, model=model, recipe=recipe)
        for model, recipe in adapter_keys(display)
    )
    return {**result_inputs(study), "scores": tuple(scores), "adapters": tuple(adapters)}


def outputs(study: Study) -> Files:
    """A file a figure and format, the page's panels, and their record."""
    panels = at(study, paths.PANELS)
    files = {
        name: tuple(at(study, paths.FIGURE, name=figure, format=name) for figure in FIGURES)
        for name in FORMATS
    }
    return {**files, "panels": panels, "record": str(Path(panels).parent / paths.MADE_OF)}


def run(job: Job[Settings]) -> None:
    """Write report/figures/."""
    from valuestrata.report.figures import draw_figures

    adapters = zip(adapter_keys(job.settings), job.paths("adapters"), strict=True)
    logs = {key: io.read_json(Path(folder) / paths.TRAINING_LOG) for key, folder in adapters}
    figures = draw_figures(replace(load_results(job), outcomes=_outcomes(job)), logs)
    for name in FORMATS:
        for path in map(Path, job.paths(name)):
            with io.replacing(path) as part:
                part.write_bytes(figures[path.stem].files[name])
    panels = {
        name: {"columns": figure.columns, "panels": figure.panels, "notes": figure.notes}
        for name, figure in figures.items()
        if figure.panels
    }
    io.write_json(panels, job.path("panels"), job.record)
    io.write_record(job.record, Path(job.path("record")).parent)


def _answering(display: DisplaySettings) -> list[RunKey]:
    """Runs of language models in the study's own prompt."""
    return [
        (*run, split)
        for split in display.strata
        for run in llm_runs(display)
        if evaluates_on(display, run[1], split)
    ]


def _outcomes(job: Job[Settings]) -> pd.DataFrame:
    """How many pairs of each run, split and block had which outcome."""
    scores = iter(job.paths("scores"))
    counts = []
    for model, variant, split in _answering(job.settings):
        files = [next(scores) for _ in job.settings.strata[split]]
        frame = io.read_table(files, tables.SCORES, ["block", "outcome"])
        sizes = frame.groupby(["block", "outcome"], sort=False).size().rename("n").reset_index()
        counts.append(sizes.assign(model=model, variant=variant, split=split))
    columns = ["model", "variant", "split", "block", "outcome", "n"]
    return pd.concat(counts)[columns] if counts else pd.DataFrame(columns=columns)
