"""The paper's figures beside ours, in a study of the paper's own survey and pairs. Pure but for
one data file of the package."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from valuestrata.paths import resource
from valuestrata.report.display import Cell, Table, cell
from valuestrata.report.model_provenance import Origin
from valuestrata.report.phrases import METRICS, NONE, STATISTICS, decimal
from valuestrata.report.results import Estimate, Results, to_estimate
from valuestrata.report.runs import BASE, ModelVariant, label, llm_runs
from valuestrata.survey.reference import WVS7_SINGAPORE


@cache
def published() -> dict[str, Any]:
    """What the paper publishes."""
    return dict(yaml.safe_load(resource("report/published.yaml").read_text(encoding="utf-8")))


def is_papers(is_papers_survey: bool, summary: Mapping[str, Any]) -> bool:
    """Whether a study has the paper's pairs: its survey, and as many subgroups and pairs."""
    sizes = {
        split: (summary["splits"][split]["subgroups"], summary["splits"][split]["pairs"])
        for split in WVS7_SINGAPORE.splits
        if split in summary["splits"]
    }
    return is_papers_survey and sizes.get(str(published()["split"])) == WVS7_SINGAPORE.splits["ood"]


def published_table(
    results: Results, origins: Mapping[ModelVariant, Origin], is_papers_study: bool
) -> Table | None:
    """Ours, the paper's and the difference, a row a run; None where nothing can be compared."""
    if not is_papers_study:
        return None
    paper = published()
    split = str(paper["split"])
    rows = []
    for run in llm_runs(results.settings):
        place, name = _place(run), _hub_name(run, origins)
        if place is None or name not in paper["models"]:
            continue
        cells: list[Cell] = []
        for metric in ("accuracy", "nmae"):
            theirs = _entry(paper["models"][name].get(metric), place)
            cells += _beside(results.metric(run, split, metric), theirs)
        for metric in ("accuracy", "nmae"):
            shares = paper["inequality"].get(name, {}).get(metric, {})
            for statistic in STATISTICS:
                row = results.inequality(run, split, metric, statistic)
                ours = None if row is None else to_estimate(row)
                cells += _beside(ours, _entry(shares.get(statistic), place))
        rows.append((Cell(label(run, results.settings), small=name), *cells))
    measures = [METRICS[m] for m in ("accuracy", "nmae")]
    measures += [f"{s} of {METRICS[m]}" for m in ("accuracy", "nmae") for s in STATISTICS.values()]
    heads = [head for m in measures for head in (m, f"{m}, paper", f"{m}, difference")]
    caption = f"Beside the paper, {split}"
    note = f"Paper: {paper['title']}, as printed, without intervals. Difference: ours minus theirs."
    return Table(caption, ("Run", *heads), tuple(rows), note=note) if rows else None


def _place(run: ModelVariant) -> int | None:
    """Where a run's figure stands in the paper's pairs; None for other fine-tunes."""
    return {BASE: 0, str(published()["tuned"]): 1}.get(run[1])


def _hub_name(run: ModelVariant, origins: Mapping[ModelVariant, Origin]) -> str:
    """The name of a run's model without its owner, '' where it is not recorded."""
    origin = origins.get(run)
    base = origins.get((run[0], BASE))
    model = (origin.model if origin else None) or (base.model if base else {})
    return str(model.get("model") or "").rsplit("/", 1)[-1]


def _entry(values: list[float] | None, place: int) -> float | None:
    return values[place] if values is not None and len(values) > place else None


def _beside(ours: Estimate | None, theirs: float | None) -> tuple[Cell, Cell, Cell]:
    if theirs is None:
        return cell(ours), Cell(NONE), Cell(NONE)
    gap = NONE if ours is None else decimal(ours.value - theirs, signed=True)
    return cell(ours), Cell(decimal(theirs)), Cell(gap)
