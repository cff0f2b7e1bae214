"""Write the report's tables: every number with its interval, n and missing count, as csv."""

from pathlib import Path

from valuestrata import io, paths
from valuestrata.report.settings import DisplaySettings, display_settings
from valuestrata.report.tables import NAMES, USAGE, report_tables
from valuestrata.stages.job import Files, Job, at
from valuestrata.stages.result_files import load_results, result_inputs, usage_input
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
    return {**result_inputs(study), **usage_input(study)}


def outputs(study: Study) -> Files:
    """A csv file a table, and their record."""
    names = (*NAMES, USAGE) if study.service_models() else NAMES
    return {
        "tables": tuple(at(study, paths.TABLE, name=name) for name in names),
        "record": str(Path(at(study, paths.TABLE, name="")).parent / paths.MADE_OF),
    }


def run(job: Job[Settings]) -> None:
    """Write report/tables/*.csv."""
    frames = report_tables(load_results(job))
    for path in map(Path, job.paths("tables")):
        io.write_text(frames[path.stem].to_csv(index=False, lineterminator="\n"), path)
    io.write_record(job.record, Path(job.path("record")).parent)
