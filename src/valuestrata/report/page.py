"""The report as one self-contained page: no request leaves it, and it prints. Pure."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import vl_convert
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from valuestrata.paths import resource
from valuestrata.report import display, null_tables
from valuestrata.report.captions import FIGURES, alternative, caption_of
from valuestrata.report.charts import GRID, INK, PAPER, QUIET, config
from valuestrata.report.cost import cost_sentence, cost_table
from valuestrata.report.display import Table
from valuestrata.report.explorer import Explorer
from valuestrata.report.findings import findings
from valuestrata.report.human_agreement import (
    human_table,
    reliabilities,
    reliability_sentence,
    unreliable,
)
from valuestrata.report.methods import methods
from valuestrata.report.model_provenance import (
    Adapters,
    Origin,
    accepted_table,
    provenance_table,
    recipes_table,
)
from valuestrata.report.opening import opening_sentences, opening_table
from valuestrata.report.packed import as_script, pack, pack_text
from valuestrata.report.perturbation_tables import perturbation_tables
from valuestrata.report.phrases import caveat_sentence, count, listed, plural
from valuestrata.report.probes import probes_table, swayed_lines
from valuestrata.report.prompt_sensitivity import sensitivity_table
from valuestrata.report.published import is_papers, published_table
from valuestrata.report.results import SUBGROUPS, Results, stratum_label
from valuestrata.report.runs import (
    ModelVariant,
    llm_runs,
    prompt_variant_runs,
    splits,
    tested_splits,
    tuned_runs,
)
from valuestrata.report.samples import MIN_N
from valuestrata.report.settings import ReportSettings
from valuestrata.report.statistics_tables import readings_table, statistics_tables
from valuestrata.report.times import JobTime, times_table
from valuestrata.report.win_rate_tables import all_verdict_warnings, win_rates_table
from valuestrata.tables import OUTCOMES

COLOURS = {INK: "ink", QUIET: "quiet", GRID: "line", PAPER: "paper"}
"""Colours of a drawing, and the page's variables that they become."""


LIBRARY = 'window.vegaEmbed = vegaEmbed; dispatchEvent(new Event("vega"));'
"""What the page calls of Vega, Vega-Lite and vega-embed, and how it hears that they are there."""


@dataclass(frozen=True)
class Figure:
    """A figure of the page: its own drawing, or panels that the page draws."""

    title: str
    caption: str
    alternative: str
    notes: tuple[str, ...] = ()
    svg: str = ""


@dataclass(frozen=True)
class Provenance:
    """What the results are made of.

    Attributes:
        origins: the model, version and adapters of each run.
        adapters: the recipe that each adapter was trained with.
        accepted: results accepted although they were made otherwise, by path.
        notes: what was doubtful when models and judges were loaded.
        version: of this package.
    """

    origins: Mapping[ModelVariant, Origin]
    adapters: Adapters
    accepted: Mapping[str, Mapping[str, Any]]
    version: str
    notes: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    study: str = ""


def render_page(
    settings: ReportSettings,
    results: Results,
    summary: Mapping[str, Any],
    panels: Mapping[str, Mapping[str, Any]],
    training: str,
    samples: Sequence[Table],
    provenance: Provenance,
    pairs: Explorer,
    jobs: Sequence[JobTime] = (),
    texts: Sequence[Table] = (),
) -> str:
    """The page.

    Args:
        settings: what the page says beside the results.
        results: the study's tables.
        summary: content of survey/summary.json.
        panels: what each figure is drawn from, by its name.
        training: the figure of training as SVG text.
        samples: tables of open-ended answers.
        provenance: what the results are made of.
        pairs: what the explorer shows.
        jobs: what the workflow's jobs took.
        texts: tables of what the open-ended answers are.
    """
    tested = tested_splits(settings)
    has_llms = bool(llm_runs(settings))
    text = _template().render(
        settings=settings,
        caveat=caveat_sentence(settings.caveat),
        about=_about(summary),
        strata={s: ", ".join(map(stratum_label, settings.strata[s])) for s in tested},
        survey=_survey(results, summary),
        notices=summary["notices"],
        sensitivity_notices=summary["sensitivity_notices"],
        agreement=[display.agreement_table(results)],
        **_files_within(panels, pairs),
        **_answers(results, summary, provenance),
        **_tables_by_split(settings, results),
        **_origins(settings, provenance),
        figures=_figures(panels, training, has_llms),
        has_llms=has_llms,
        has_texts=bool(has_llms and (settings.judges or settings.generation)),
        fairness=_fairness(results),
        groups=_groups(results),
        texts=texts,
        samples=samples,
        probes=probes_table(results.probes, settings.judges),
        swayed=swayed_lines(results.probes),
        **_people(results),
        verdict_warnings=all_verdict_warnings(results),
        n_tested=len(tested),
        has_tuned=bool(tuned_runs(settings)),
        times=times_table(jobs),
        methods=methods(settings),
        cost=None if results.usage is None else cost_table(results.usage),
        cost_sentence="" if results.usage is None else cost_sentence(results.usage),
    )
    return re.sub(r"\n\s*\n+", "\n", text).rstrip() + "\n"


def _answers(
    results: Results, summary: Mapping[str, Any], provenance: Provenance
) -> dict[str, Any]:
    """The first screen, and all findings."""
    made = findings(results)
    settings = results.settings
    assert isinstance(settings, ReportSettings)
    is_papers_study = is_papers(settings.is_papers_survey, summary)
    return {
        "opening": opening_sentences(results, made),
        "runs_table": opening_table(results),
        "papers": published_table(results, provenance.origins, is_papers_study),
        "findings": made,
    }


def _origins(settings: ReportSettings, provenance: Provenance) -> dict[str, Any]:
    """What the section on provenance says."""
    accepted = provenance.accepted
    return {
        "recipes": recipes_table(provenance.adapters, settings.fold_recipes),
        "models": provenance_table(settings, provenance.origins, settings.toys),
        "accepted": accepted_table(accepted) if accepted else None,
        "facts": [("Study", settings.study), ("Code", provenance.version), *provenance.facts],
        "notes": provenance.notes,
        "study": provenance.study,
    }


def _files_within(panels: Mapping[str, Any], pairs: Explorer) -> dict[str, Any]:
    """Style, code and data that the page carries, and what the explorer says of its data."""
    return {
        "style": Markup(_asset("page.css")),
        "code": Markup(_asset("page.js") + _asset("explorer.js")),
        "look": Markup(_json(config())),
        "parts": _parts(panels, pairs),
        "explorer": Markup(_json({"runs": pairs.runs, "outcomes": OUTCOMES})),
        "min_n": count(pairs.min_n),
        "n_hidden": plural(pairs.n_hidden, "pair") if pairs.n_hidden else "",
        "n_left_out": count(pairs.n_left_out) if pairs.n_left_out else "",
    }


def _asset(name: str) -> str:
    """A file of the package that becomes part of the page."""
    return resource(f"report/{name}").read_text(encoding="utf-8")


def _json(content: Any) -> str:
    """JSON that can stand in a script element: no tag can end it."""
    return json.dumps(content, ensure_ascii=False).replace("<", "\\u003c")


def _parts(panels: Mapping[str, Any], pairs: Explorer) -> list[Markup]:
    """The library that draws, the panels, and what the explorer shows, all compressed."""
    parts = {"vega": _library(), "figures": pack(panels)}
    parts |= {name: pack(content) for name, content in pairs.parts.items()}
    return [as_script(name, content) for name, content in parts.items()]


@cache
def _library() -> str:
    """The library that draws, packed; to bundle it takes seconds."""
    return pack_text(vl_convert.javascript_bundle(LIBRARY))


def _figures(
    panels: Mapping[str, Mapping[str, Any]], training: str, has_llms: bool
) -> dict[str, Figure]:
    figures = {
        name: Figure(
            FIGURES[name][0],
            caption_of(name, has_llms),
            alternative(name, has_llms),
            tuple(drawn["notes"]),
        )
        for name, drawn in panels.items()
    }
    if training:
        svg = inline(training, "training", alternative("training", has_llms))
        figures["training"] = Figure(*FIGURES["training"], "", (), svg)
    return figures


def _tables_by_split(settings: ReportSettings, results: Results) -> dict[str, list[Table]]:
    """The tables that the page has for each split."""
    all_splits, doubtful = splits(settings), unreliable(results)
    has_prompt_variants = bool(prompt_variant_runs(settings))
    differences = [display.differences_table(results, split, doubtful) for split in all_splits]
    return {
        "mains": [display.main_table(results, split, doubtful) for split in all_splits],
        "readings": [readings_table(results, split) for split in all_splits if llm_runs(settings)],
        "statistics": [t for split in all_splits for t in statistics_tables(results, split)],
        "distributions": [display.distributions_table(results, split) for split in all_splits],
        "sensitivity": [
            sensitivity_table(results, split, settings.prompt_rules)
            for split in all_splits
            if has_prompt_variants
        ],
        "perturbations": [t for split in all_splits for t in perturbation_tables(results, split)],
        "gains": [
            display.gains_table(results, split) for split in all_splits if settings.persona_agnostic
        ],
        "differences": [table for table in differences if table.rows],
        "verdicts": [
            table
            for split in all_splits
            for judge in settings.judges
            if (table := win_rates_table(results, split, judge, doubtful)).rows
        ],
    }


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(resource("report/page.html.j2").read_text(encoding="utf-8"))


def inline(svg: str, name: str, label: str) -> Markup:
    """A drawing as part of the page: ids of its own, a label, the page's colours, no metadata.

    The drawing is this package's own, text in it escaped by matplotlib.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", body)
    body = re.sub(r'\b(id)="', rf'\1="{name}-', body)
    body = re.sub(r'(?:xlink:)?href="#', f'href="#{name}-', body)
    body = body.replace("url(#", f"url(#{name}-")
    for colour, variable in COLOURS.items():
        body = body.replace(colour, f"var(--{variable})")
    head, content = body.split(">", 1)
    view = re.search(r'viewBox="[^"]*"', head)
    attributes = Markup(' role="img" aria-label="{}"').format(label)
    return Markup(f"<svg {view[0] if view else ''}{attributes}>{content.strip()}")


def _people(results: Results) -> dict[str, Any]:
    """What annotators say of judges."""
    level = results.settings.evaluation.confidence_level
    agreed = reliabilities(results.human_agreement)
    return {
        "human": human_table(results),
        "human_sentences": [reliability_sentence(each, level) for each in agreed],
        "human_note": results.human_note,
        "annotators": results.annotators,
    }


def _about(summary: Mapping[str, Any]) -> dict[str, str]:
    sizes = {key: count(int(summary[key])) for key in ("respondents", "questions")}
    return {**sizes, "countries": listed([str(name) for name in summary["countries"]])}


def _survey(results: Results, summary: Mapping[str, Any]) -> list[Table]:
    settings = results.settings
    content = dict(summary)
    return [
        display.splits_table(content, results, splits(settings)),
        display.respondents_table(content, settings.axes, MIN_N),
        display.labels_table(content, splits(settings)),
        null_tables.diversity_table(results),
    ]


def _fairness(results: Results) -> list[Table]:
    """Over subgroups of the test splits first, then over each axis' groups, then the rest."""
    tested = tested_splits(results.settings)
    train = [split for split in splits(results.settings) if split not in tested]
    order = [(split, SUBGROUPS) for split in tested]
    order += [(split, axis) for split in tested for axis in results.levels(split)]
    order += [(split, SUBGROUPS) for split in train]
    return [null_tables.fairness_table(results, split, level) for split, level in order]


def _groups(results: Results) -> list[Table]:
    return [
        display.groups_table(results, split, metric)
        for split in tested_splits(results.settings)
        for metric in ("accuracy", "nmae")
    ]
