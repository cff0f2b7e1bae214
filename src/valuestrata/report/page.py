"""The report as one self-contained page: no request leaves it, and it prints. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from valuestrata.report import display
from valuestrata.report.captions import FIGURES, alternative
from valuestrata.report.display import Cell, Table
from valuestrata.report.findings import findings
from valuestrata.report.phrases import caveat_sentence, count
from valuestrata.report.prompt_sensitivity import rewording_table
from valuestrata.report.results import (
    SUBGROUPS,
    Results,
    System,
    all_runs,
    label,
    splits,
    tested,
    tuned,
    worded,
)
from valuestrata.specs import Report

DATA_FILES = ["report/page.html.j2"]


@dataclass(frozen=True)
class Figure:
    """A drawing of the page with its title and caption."""

    name: str
    title: str
    caption: str
    svg: Markup


def render_page(
    results: Results,
    summary: Mapping[str, Any],
    drawings: Mapping[str, str],
    samples: Sequence[Table],
    origins: Mapping[System, tuple[str, str]],
    version: str,
) -> str:
    """The page.

    Args:
        results: the study's tables.
        summary: content of survey/summary.json.
        drawings: SVG text by figure name.
        samples: tables of open-ended answers.
        origins: weights and adapter of each system, as its predictions name them.
        version: of this package.
    """
    spec = results.spec
    drawn = {name: _figure(name, svg) for name, svg in drawings.items()}
    text = _template().render(
        spec=spec,
        caveat=caveat_sentence(spec.caveat),
        findings=findings(results),
        about=_about(summary),
        survey=_survey(results, summary),
        agreement=[display.agreement_table(results)],
        mains=[display.main_table(results, split) for split in splits(spec)],
        distributions=[display.distributions_table(results, split) for split in splits(spec)],
        rewordings=[rewording_table(results, split) for split in splits(spec) if worded(spec)],
        ways=[display.way_table(results, split) for split in splits(spec)],
        figures=drawn,
        fairness=_fairness(results),
        groups=_groups(results),
        differences=[display.differences_table(results, split) for split in splits(spec)],
        samples=samples,
        recipes=_recipes(spec),
        runs=_origins(spec, origins),
        tested=tested(spec),
        has_tuned=bool(tuned(spec)),
        e=spec.compare.evaluation,
        version=version,
    )
    return re.sub(r"\n\s*\n+", "\n", text).rstrip() + "\n"


@cache
def _template() -> Template:
    text = files("valuestrata").joinpath(DATA_FILES[0]).read_text(encoding="utf-8")
    rooms = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return rooms.from_string(text)


def _figure(name: str, svg: str) -> Figure:
    title, caption = FIGURES[name]
    return Figure(name, title, caption, inline(svg, name))


def inline(svg: str, name: str) -> Markup:
    """A drawing as part of the page: ids of its own, a label, no namespaces, no metadata.

    The drawing is this package's own, text in it escaped by matplotlib.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", body)
    body = re.sub(r'\b(id)="', rf'\1="{name}-', body)
    body = re.sub(r'(?:xlink:)?href="#', f'href="#{name}-', body)
    body = body.replace("url(#", f"url(#{name}-")
    head, rest = body.split(">", 1)
    view = re.search(r'viewBox="[^"]*"', head)
    said = Markup(' role="img" aria-label="{}"').format(alternative(name))
    return Markup(f"<svg {view[0] if view else ''}{said}>{rest.strip()}")


def _about(summary: Mapping[str, Any]) -> dict[str, str]:
    *others, last = summary["countries"]
    named = f"{', '.join(others)} and {last}" if others else str(last)
    sizes = {k: count(int(summary[k])) for k in ("respondents", "questions")}
    return {**sizes, "countries": named}


def _survey(results: Results, summary: Mapping[str, Any]) -> list[Table]:
    spec = results.spec
    about = dict(summary)
    return [
        display.splits_table(about, results, splits(spec)),
        display.respondents_table(about, spec.axes),
        display.labels_table(about, splits(spec)),
        display.diversity_table(results),
    ]


def _fairness(results: Results) -> list[Table]:
    """Over subgroups of the test splits first, then over each axis' groups, then the rest."""
    spec = results.spec
    order = [(s, SUBGROUPS) for s in tested(spec)]
    order += [(s, axis) for s in tested(spec) for axis in results.levels(s)]
    order += [(s, SUBGROUPS) for s in splits(spec) if s not in tested(spec)]
    return [display.fairness_table(results, split, level) for split, level in order]


def _groups(results: Results) -> list[Table]:
    return [
        display.groups_table(results, split, metric)
        for split in tested(results.spec)
        for metric in ("accuracy", "nmae")
    ]


def _recipes(spec: Report) -> Table:
    rows = [
        (
            Cell(name),
            Cell(r.method),
            Cell(r.split),
            *(Cell(f"{v:g}") for v in (r.learning_rate, r.epochs, r.batch, r.rank, r.alpha)),
        )
        for name, r in spec.recipes.items()
    ]
    columns = ("Recipe", "Method", "Tuned on", "Learning rate", "Epochs", "Batch", "Rank", "Alpha")
    return Table("Recipes of fine-tuning (LoRA)", columns, tuple(rows))


def _origins(spec: Report, origins: Mapping[System, tuple[str, str]]) -> Table:
    rows = []
    for system in all_runs(spec):
        weights, adapter = origins.get(system, ("", ""))
        made = "toy, trained by this study" if system[0] in spec.toys else ""
        shown = weights.rsplit("/", 1)[-1] if weights.startswith(("/", ".", "~")) else weights
        rows.append((Cell(label(system, spec), small=made), Cell(shown), Cell(adapter or "none")))
    columns = ("Run", "Weights: revision or hash", "Adapter: hash")
    return Table("What answered", columns, tuple(rows))
