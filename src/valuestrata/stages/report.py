"""Write the report: one self-contained page, and the lines that close a run."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from valuestrata import io, judge_tables, paths, tables
from valuestrata.records import Record, read_record
from valuestrata.report.display import Table
from valuestrata.report.explorer import Explorer, PromptKey, explorer
from valuestrata.report.headline import headline
from valuestrata.report.model_provenance import Adapters, Origin, notes_lines
from valuestrata.report.page import Provenance, render_page
from valuestrata.report.probes import swayed_lines
from valuestrata.report.runs import (
    ModelVariant,
    RunKey,
    judgements,
    run_keys,
    splits,
    text_runs,
)
from valuestrata.report.samples import large_pairs, samples_table, text_notes, texts_table
from valuestrata.report.settings import ReportSettings, report_settings
from valuestrata.report.win_rate_tables import all_verdict_warnings
from valuestrata.stages import surroundings
from valuestrata.stages.job import Files, Job, at
from valuestrata.stages.result_files import (
    adapter_keys,
    load_results,
    result_inputs,
    sensitivity_input,
    usage_input,
)
from valuestrata.study.study import Study, variant_name, variant_parts
from valuestrata.tables import PAIR

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
        **usage_input(study),
        **sensitivity_input(study),
        "summary": at(study, paths.SUMMARY),
        "panels": at(study, paths.PANELS),
        "training": at(study, paths.FIGURE, name="training", format="svg"),
        "questions": at(study, paths.QUESTIONS),
        "pairs": tuple(
            at(study, paths.PAIRS, split=variant_name(*key)) for key in prompt_keys(page)
        ),
        "texts": tuple(_of_run(study, paths.TEXTS, run) for run in text_runs(page)),
        "open_pairs": tuple(at(study, paths.PAIRS, split=split) for split in _text_splits(page)),
        "verdicts": tuple(
            _of_run(study, paths.VERDICTS, run, judge=judge) for *run, judge in judgements(page)
        ),
        "predictions": tuple(_of_run(study, paths.PREDICTIONS, run) for run in run_keys(page)),
        "adapters": tuple(
            at(study, paths.ADAPTER, model=model, recipe=recipe)
            for model, recipe in adapter_keys(page)
        ),
        "probes": probe_paths(study),
    }
    accepted = at(study, paths.ACCEPTED)
    return {**files, "accepted": accepted} if Path(accepted).exists() else files


def probe_paths(study: Study) -> tuple[str, ...]:
    """Trials of judges: those that the study wants, and those that `probe-judge` wrote."""
    by_judge = {judge: at(study, paths.PROBES, judge=judge) for judge in study.judge_models}
    probed = study.probed_judges()
    return tuple(p for judge, p in by_judge.items() if judge in probed or Path(p).exists())


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
    results_folder = Path(job.path("page")).parents[1]
    results = replace(load_results(job), probes=_probes(job))
    texts = _texts(job)
    summary, provenance = io.read_json(job.path("summary")), _provenance(job)
    page = render_page(
        settings=job.settings,
        results=results,
        summary=summary,
        panels=io.read_json(job.path("panels")),
        training=Path(job.path("training")).read_text(encoding="utf-8"),
        texts=[texts_table(job.settings, *of_split) for of_split in texts.items()],
        samples=_samples(job, texts),
        provenance=provenance,
        pairs=_explorer(job),
        jobs=surroundings.job_times(results_folder),
    )
    io.write_text(page, job.path("page"))
    notes = [note for of_split in texts.items() for note in text_notes(*of_split)]
    swayed = swayed_lines(results.probes)
    doubts = [*swayed, *all_verdict_warnings(results)]
    doubts += summary["sensitivity_notices"]
    notices = [*provenance.notes, *notes, *doubts, *summary["notices"]]
    io.write_text(headline(results, notices), job.path("headline"))
    io.write_record(job.record, Path(job.path("record")).parent)


def prompt_keys(settings: ReportSettings) -> list[PromptKey]:
    """Each split in the study's own prompt, then in each prompt variant that a run answers in."""
    variants = {
        (split, variant_parts(variant)[1]): None for _, variant, split in run_keys(settings)
    }
    return list({**{(split, ""): None for split in settings.strata}, **variants})


def _explorer(job: Job[Settings]) -> Explorer:
    """What the page's explorer shows, from pairs and predictions."""
    pairs = zip(prompt_keys(job.settings), job.paths("pairs"), strict=True)
    names = [*tables.PAIR, "text", "outcome", "answer", "codes", "distribution"]
    predictions = zip(run_keys(job.settings), job.paths("predictions"), strict=True)
    return explorer(
        job.settings,
        io.read_table(job.path("questions"), tables.QUESTIONS),
        {key: io.read_table(path, tables.PAIRS) for key, path in pairs},
        {run: io.read_table(path, tables.PREDICTIONS, names) for run, path in predictions},
    )


def _of_run(study: Study, pattern: str, run: RunKey | list[str], **parts: str) -> str:
    model, variant, split = run
    return at(study, pattern, model=model, variant=variant, split=split, **parts)


def _probes(job: Job[Settings]) -> dict[str, pd.DataFrame]:
    """The trial of each judge that has one."""
    return {
        Path(path).stem: io.read_table(path, judge_tables.PROBES) for path in job.paths("probes")
    }


def _texts(job: Job[Settings]) -> dict[str, dict[ModelVariant, pd.DataFrame]]:
    """What each run wrote, by the splits on which open-ended answers were written."""
    paths_of_runs = dict(zip(text_runs(job.settings), job.paths("texts"), strict=True))
    return {
        split: {
            (model, variant): io.read_table(path, tables.TEXTS)
            for (model, variant, s), path in paths_of_runs.items()
            if s == split
        }
        for split in _text_splits(job.settings)
    }


def _samples(
    job: Job[Settings], texts: Mapping[str, Mapping[ModelVariant, pd.DataFrame]]
) -> list[Table]:
    """Sample answers of each split, without small cells."""
    verdicts = dict(zip(judgements(job.settings), job.paths("verdicts"), strict=True))
    samples = []
    for (split, of_runs), path in zip(texts.items(), job.paths("open_pairs"), strict=True):
        large = io.read_table(path, tables.PAIRS, [*PAIR, "n", "respondents"])
        samples.append(
            samples_table(
                job.settings,
                split,
                {run: frame.merge(large_pairs(large)) for run, frame in of_runs.items()},
                {
                    ((model, variant), judge): io.read_table(path, tables.VERDICTS)
                    for (model, variant, s, judge), path in verdicts.items()
                    if s == split
                },
            )
        )
    return samples


def _text_splits(settings: Settings) -> list[str]:
    """Splits on which open-ended answers are written, in the report's order."""
    written = {split for _, _, split in text_runs(settings)}
    return [split for split in splits(settings) if split in written]


def _provenance(job: Job[Settings]) -> Provenance:
    folder = Path(job.path("page")).parents[1]
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
        version=surroundings.version(),
        facts=surroundings.facts(job.path("questions"), folder, job.settings.evaluation),
        study=surroundings.study_text(folder),
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
