"""Draw the report's figures as SVG."""

from pathlib import Path

from valuestrata import io, paths
from valuestrata.report.captions import FIGURES
from valuestrata.report.settings import DisplaySettings, display_settings
from valuestrata.stages.job import Files, Job, at
from valuestrata.stages.result_files import adapter_keys, load_results, result_inputs
from valuestrata.study.study import Study

Settings = DisplaySettings


def runs(study: Study) -> list[dict[str, str]]:
    """One set of figures a study."""
    return [{}]


def settings(study: Study) -> Settings:
    """The runs and their order."""
    return display_settings(study)


def inputs(study: Study) -> Files:
    """All tables of the study, and the adapters with their training logs."""
    adapters = adapter_keys(display_settings(study))
    return {
        **result_inputs(study),
        "adapters": tuple(at(study, paths.ADAPTER, model=m, recipe=r) for m, r in adapters),
    }


def outputs(study: Study) -> Files:
    """An SVG file a figure, and their record."""
    return {
        "figures": tuple(at(study, paths.FIGURE, name=name) for name in FIGURES),
        "record": str(Path(at(study, paths.FIGURE, name="")).parent / paths.MADE_OF),
    }


def run(job: Job[Settings]) -> None:
    """Write report/figures/*.svg."""
    from valuestrata.report.figures import draw_figures

    adapters = zip(adapter_keys(job.settings), job.paths("adapters"), strict=True)
    logs = {key: io.read_json(Path(folder) / paths.TRAINING_LOG) for key, folder in adapters}
    figures = draw_figures(load_results(job), logs)
    for path in map(Path, job.paths("figures")):
        io.write_text(figures[path.stem], path)
    io.write_record(job.record, Path(job.path("record")).parent)
