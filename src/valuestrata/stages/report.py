"""Write the report: one self-contained page, and the lines that close a run."""

import importlib.metadata
from pathlib import Path

import pandas as pd

from valuestrata import io, paths, tables
from valuestrata.records import Record, read_record
from valuestrata.report.captions import FIGURES
from valuestrata.report.display import Table
from valuestrata.report.headline import headline
from valuestrata.report.model_provenance import Adapters, Origin, notes_lines
from valuestrata.report.page import Provenance, render_page
from valuestrata.report.runs import (
    ModelVariant,
    RunKey,
    judgements,
    run_keys,
    splits,
    text_runs,
)
from valuestrata.report.samples import samples_table
from valuestrata.report.settings import ReportSettings, report_settings
from valuestrata.report.win_rate_tables import all_verdict_warnings
from valuestrata.stages.job import Files, Job, at
from valuestrata.stages.result_files import adapter_keys, load_results, result_inputs
from valuestrata.study.study import Study, variant_parts

Settings = ReportSettings


def runs(study: Study) -> list[dict[str, str]]:
    """One report a study."""
    return [{}]


def settings(study: Study) -> Settings:
    """What the page says beside the results."""
    return report_settings(study)


def inputs(study: Study) -> Files:
    """Tables, summary and figures; texts and verdicts for samples; what carries provenance."""
    page = report_settings(study)
    files: dict[str, str | tuple[str, ...]] = {
        **result_inputs(study),
        "summary": at(study, paths.SUMMARY),
        "figures": tuple(at(study, paths.FIGURE, name=name) for name in FIGURES),
        "texts": tuple(_of_run(study, paths.TEXTS, run) for run in text_runs(page)),
        "verdicts": tuple(
            _of_run(study, paths.VERDICTS, run, judge=judge) for *run, judge in judgements(page)
        ),
        "predictions": tuple(_of_run(study, paths.PREDICTIONS, run) for run in run_keys(page)),
        "adapters": tuple(
            at(study, paths.ADAPTER, model=model, recipe=recipe)
            for model, recipe in adapter_keys(page)
        ),
    }
    accepted = at(study, paths.ACCEPTED)
    return {**files, "accepted": accepted} if Path(accepted).exists() else files


def outputs(study: Study) -> Files:
    """The page, the closing lines, and their record."""
    page = at(study, paths.PAGE)
    return {
        "page": page,
        "headline": at(study, paths.HEADLINE),
        "record": str(Path(page).parent / paths.MADE_OF),
    }


def run(job: Job[Settings]) -> None:
    """Write report/index.html and report/headline.txt."""
    results = load_results(job)
    figures = {Path(path).stem: path for path in job.paths("figures")}
    summary, provenance = io.read_json(job.path("summary")), _provenance(job)
    page = render_page(
        settings=job.settings,
        results=results,
        summary=summary,
        drawings={name: Path(figures[name]).read_text(encoding="utf-8") for name in FIGURES},
        samples=_samples(job),
        provenance=provenance,
    )
    io.write_text(page, job.path("page"))
    doubts = all_verdict_warnings(results)
    notices = [*provenance.notes, *summary["notices"], *doubts]
    io.write_text(headline(results, notices), job.path("headline"))
    io.write_record(job.record, Path(job.path("record")).parent)


def _of_run(study: Study, pattern: str, run: RunKey | list[str], **parts: str) -> str:
    model, variant, split = run
    return at(study, pattern, model=model, variant=variant, split=split, **parts)


def _samples(job: Job[Settings]) -> list[Table]:
    """Sample answers of the splits on which they were written."""
    texts = dict(zip(text_runs(job.settings), job.paths("texts"), strict=True))
    verdicts = dict(zip(judgements(job.settings), job.paths("verdicts"), strict=True))
    samples = []
    for split in dict.fromkeys(s for s in splits(job.settings) if s in job.settings.text_splits):
        samples.append(
            samples_table(
                job.settings,
                split,
                {
                    (model, variant): io.read_table(path, tables.TEXTS)
                    for (model, variant, s), path in texts.items()
                    if s == split
                },
                {
                    ((model, variant), judge): io.read_table(path, tables.VERDICTS)
                    for (model, variant, s, judge), path in verdicts.items()
                    if s == split
                },
            )
        )
    return samples


def _provenance(job: Job[Settings]) -> Provenance:
    predictions: dict[ModelVariant, list[str]] = {}
    for (model, variant, _), path in zip(
        run_keys(job.settings), job.paths("predictions"), strict=True
    ):
        predictions.setdefault((model, variant_parts(variant)[0]), []).append(path)
    origins = {run: _origin(files) for run, files in predictions.items()}
    return Provenance(
        origins=origins,
        adapters=_adapters(job),
        accepted=_accepted(job),
        version=_version(),
        notes=notes_lines(job.settings, origins, _judge_notes(job)),
    )


def _origin(files: list[str]) -> Origin:
    """What predictions of all splits and prompts, and their record, say of what made them."""
    names = ["model_version", "adapter", "adapter_shift", "notes", "passes"]
    columns = io.read_table(files, tables.PREDICTIONS, names)
    recorded = (read_record(files[0]) or Record("", {}, {})).settings
    return Origin(
        model=recorded.get("model", {}),
        rule=str(recorded.get("rule", "")),
        versions=tuple(dict.fromkeys(map(str, columns["model_version"]))),
        adapters=tuple(dict.fromkeys(map(str, columns["adapter"]))),
        shifts=tuple(columns["adapter_shift"].dropna().unique()),
        notes=_lines(columns["notes"]),
        passes=tuple(columns["passes"].dropna().unique()),
    )


def _judge_notes(job: Job[Settings]) -> dict[str, tuple[str, ...]]:
    """What was doubtful when each judge was loaded."""
    notes: dict[str, tuple[str, ...]] = {}
    for (*_, judge), path in zip(judgements(job.settings), job.paths("verdicts"), strict=True):
        column = io.read_table(path, tables.VERDICTS, ["judge_notes"])["judge_notes"]
        notes[judge] = (*notes.get(judge, ()), *_lines(column))
    return notes


def _lines(notes: pd.Series) -> tuple[str, ...]:
    """The distinct lines of a column of notes."""
    return tuple(dict.fromkeys(line for text in notes.unique() for line in str(text).splitlines()))


def _adapters(job: Job[Settings]) -> Adapters:
    """The recipe in each adapter's record, and `passes` where its network read plain ones."""
    adapters: dict[ModelVariant, dict[str, object]] = {}
    for key, folder in zip(adapter_keys(job.settings), job.paths("adapters"), strict=True):
        record = read_record(folder)
        adapters[key] = dict(record.settings["recipe"]) if record else {}
        if io.read_json(Path(folder) / paths.TRAINING_LOG).get("passes") == "plain":
            adapters[key]["passes"] = "plain"
    return adapters


def _accepted(job: Job[Settings]) -> dict[str, dict[str, object]]:
    """Accepted results that have not been made anew since."""
    entries = io.read_json(job.path("accepted")) if "accepted" in job.files else {}
    records = {path: read_record(path) for path in entries}
    return {
        path: entry
        for path, entry in entries.items()
        if (record := records[path]) and record.digest == entry["made"]
    }


def _version() -> str:
    try:
        return importlib.metadata.version("valuestrata")
    except importlib.metadata.PackageNotFoundError:
        return "(version unknown: run from source)"
