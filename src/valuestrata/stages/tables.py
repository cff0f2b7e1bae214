"""Write the report's tables: every number with its interval, n and missing count."""

from pathlib import Path

from valuestrata import io, paths
from valuestrata.report.latex import LATEX_NAMES, latex_tables
from valuestrata.report.settings import DisplaySettings, display_settings
from valuestrata.report.tables import NAMES, SENSITIVITY, USAGE, report_tables
from valuestrata.stages.job import Files, Job, at
from valuestrata.stages.result_files import (
    load_results,
    result_inputs,
    sensitivity_input,
    usage_input,
)
from valuestrata.study.study import Study

Settings = DisplaySettings


def runs(study: Study) -> list[dict[str, str]]:
    """One set of tables a study."""
    return [{}]


def settings(study: Study) -> Settings:
    """The runs and their order."""
    return display_settings(study)


def inputs(study: Study) -> Files:
    """All tables of the study."""
    return {**result_inputs(study), **usage_input(study), **sensitivity_input(study)}


def outputs(study: Study) -> Files:
    """A csv file a table, the paper's tables as LaTeX, and their record."""
    names = [*NAMES, *[USAGE] * bool(study.service_models())]
    names += [SENSITIVITY] * bool(study.sensitivity)
    files = {
        "tables": tuple(at(study, paths.TABLE, name=name, format="csv") for name in names),
        "latex": tuple(at(study, paths.TABLE, name=name, format="tex") for name in LATEX_NAMES),
    }
    return {**files, "record": str(Path(files["tables"][0]).parent / paths.MADE_OF)}


def run(job: Job[Settings]) -> None:
    """Write report/tables/."""
    results = load_results(job)
    frames, latex = report_tables(results), latex_tables(results)
    for path in map(Path, job.paths("tables")):
        io.write_text(frames[path.stem].to_csv(index=False, lineterminator="\n"), path)
    for path in map(Path, job.paths("latex")):
        io.write_text(latex[path.stem], path)
    io.write_record(job.record, Path(job.path("record")).parent)
