"""The report as one self-contained page: no request leaves it, and it prints. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from valuestrata.paths import resource
from valuestrata.report import display
from valuestrata.report.captions import FIGURES, alternative, caption_of
from valuestrata.report.cost import cost_sentence, cost_table
from valuestrata.report.display import Table
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
from valuestrata.report.phrases import caveat_sentence, count, listed
from valuestrata.report.probes import probes_table, swayed_lines
from valuestrata.report.prompt_sensitivity import sensitivity_table
from valuestrata.report.results import SUBGROUPS, Results, stratum_label
from valuestrata.report.runs import (
    ModelVariant,
    llm_runs,
    prompt_variant_runs,
    splits,
    tested_splits,
    tuned_runs,
)
from valuestrata.report.settings import ReportSettings
from valuestrata.report.statistics_tables import readings_table, statistics_tables
from valuestrata.report.win_rate_tables import all_verdict_warnings, win_rates_table


@dataclass(frozen=True)
class Figure:
    """A drawing of the page with its title and caption."""

    name: str
    title: str
    caption: str
    svg: Markup


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


def render_page(
    settings: ReportSettings,
    results: Results,
    summary: Mapping[str, Any],
    drawings: Mapping[str, str],
    samples: Sequence[Table],
    provenance: Provenance,
    texts: Sequence[Table] = (),
) -> str:
    """The page.

    Args:
        settings: what the page says beside the results.
        results: the study's tables.
        summary: content of survey/summary.json.
        drawings: SVG text by figure name.
        samples: tables of open-ended answers.
        provenance: what the results are made of.
        texts: tables of what the open-ended answers are.
    """
    tested = tested_splits(settings)
    has_llms = bool(llm_runs(settings))
    text = _template().render(
        settings=settings,
        caveat=caveat_sentence(settings.caveat),
        findings=findings(results),
        about=_about(summary),
        strata={s: ", ".join(map(stratum_label, settings.strata[s])) for s in tested},
        survey=_survey(results, summary),
        notices=summary["notices"],
        agreement=[display.agreement_table(results)],
        **_tables_by_split(settings, results),
        figures={name: _figure(name, svg, has_llms) for name, svg in drawings.items()},
        has_llms=has_llms,
        has_texts=bool(has_llms and (settings.judges or settings.generation)),
        fairness=_fairness(results),
        groups=_groups(results),
        samples=samples,
        texts=texts,
        human=human_table(results),
        probes=probes_table(results.probes, settings.judges),
        swayed=swayed_lines(results.probes),
        human_sentences=_human_sentences(results),
        human_note=results.human_note,
        annotators=results.annotators,
        verdict_warnings=all_verdict_warnings(results),
        n_tested=len(tested),
        has_tuned=bool(tuned_runs(settings)),
        recipes=recipes_table(provenance.adapters, settings.fold_recipes),
        methods=methods(settings),
        models=provenance_table(settings, provenance.origins, settings.toys),
        accepted=accepted_table(provenance.accepted) if provenance.accepted else None,
        version=provenance.version,
        notes=provenance.notes,
        cost=None if results.usage is None else cost_table(results.usage),
        cost_sentence="" if results.usage is None else cost_sentence(results.usage),
    )
    return re.sub(r"\n\s*\n+", "\n", text).rstrip() + "\n"


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


def _figure(name: str, svg: str, has_llms: bool) -> Figure:
    title, caption = FIGURES[name][0], caption_of(name, has_llms)
    return Figure(name, title, caption, inline(svg, name, alternative(name, has_llms)))


def inline(svg: str, name: str, label: str) -> Markup:
    """A drawing as part of the page: ids of its own, a label, no namespaces, no metadata.

    The drawing is this package's own, text in it escaped by matplotlib.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", body)
    body = re.sub(r'\b(id)="', rf'\1="{name}-', body)
    body = re.sub(r'(?:xlink:)?href="#', f'href="#{name}-', body)
    body = body.replace("url(#", f"url(#{name}-")
    head, content = body.split(">", 1)
    view = re.search(r'viewBox="[^"]*"', head)
    attributes = Markup(' role="img" aria-label="{}"').format(label)
    return Markup(f"<svg {view[0] if view else ''}{attributes}>{content.strip()}")


def _human_sentences(results: Results) -> list[str]:
    level = results.settings.evaluation.confidence_level
    return [reliability_sentence(each, level) for each in reliabilities(results.human_agreement)]


def _about(summary: Mapping[str, Any]) -> dict[str, str]:
    sizes = {key: count(int(summary[key])) for key in ("respondents", "questions")}
    return {**sizes, "countries": listed([str(name) for name in summary["countries"]])}


def _survey(results: Results, summary: Mapping[str, Any]) -> list[Table]:
    settings = results.settings
    content = dict(summary)
    return [
        display.splits_table(content, results, splits(settings)),
        display.respondents_table(content, settings.axes),
        display.labels_table(content, splits(settings)),
        display.diversity_table(results),
    ]


def _fairness(results: Results) -> list[Table]:
    """Over subgroups of the test splits first, then over each axis' groups, then the rest."""
    tested = tested_splits(results.settings)
    train = [split for split in splits(results.settings) if split not in tested]
    order = [(split, SUBGROUPS) for split in tested]
    order += [(split, axis) for split in tested for axis in results.levels(split)]
    order += [(split, SUBGROUPS) for split in train]
    return [display.fairness_table(results, split, level) for split, level in order]


def _groups(results: Results) -> list[Table]:
    return [
        display.groups_table(results, split, metric)
        for split in tested_splits(results.settings)
        for metric in ("accuracy", "nmae")
    ]
