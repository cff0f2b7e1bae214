"""The paper's two tables in LaTeX, with booktabs: structured results, and fairness. Pure."""

from collections.abc import Iterable, Sequence

from valuestrata.report.comparison import Metric
from valuestrata.report.phrases import METRICS, STATISTICS
from valuestrata.report.results import Estimate, Results, to_estimate
from valuestrata.report.runs import BASE, ModelVariant, all_runs, tested_splits, variant_names

LATEX_NAMES = ("main", "fairness")
ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip
NONE = "--"


def latex_tables(results: Results) -> dict[str, str]:
    """Each table of LATEX_NAMES as a table environment, of the first test split."""
    return {"main": main_latex(results), "fairness": fairness_latex(results)}


def main_latex(results: Results) -> str:
    """A row a model: accuracy, NMAE and each judge's first win rate, base and tuned."""
    settings = results.settings
    split = tested_splits(settings)[0]
    wins = [
        Metric("win_rate", judge, dimensions[0])
        for judge in settings.judges
        if (dimensions := results.dimensions(judge, split))
    ]
    metrics = {Metric("accuracy"): "Acc", Metric("nmae"): METRICS["nmae"]}
    metrics |= {win: f"WR ({win.judge})" if len(wins) > 1 else "WR" for win in wins}
    variants = _variants(results)
    rows = [
        [model, *(_number(results.metric((model, v), split, m)) for m in metrics for v in variants)]
        for model in _models(results)
    ]
    heads = [f"{name} {variant}" for name in metrics.values() for variant in variants]
    caption = f"Structured results on {split}; intervals at {_level(results)} in brackets."
    return _table(results, caption, "main", ["Model", *heads], rows)


def fairness_latex(results: Results) -> str:
    """A row a model: Norm.Range and CV of accuracy and NMAE over subgroups, base to tuned."""
    split = tested_splits(results.settings)[0]
    columns = [(m, s) for m in ("accuracy", "nmae") for s in STATISTICS]
    rows = [
        [model, *(_change(results, model, split, metric, s) for metric, s in columns)]
        for model in _models(results)
    ]
    heads = [f"{name} {s}" for name in ("Acc", METRICS["nmae"]) for s in ("NR", "CV")]
    arrow = r" $\rightarrow$ ".join(map(_escaped, _variants(results)))
    caption = f"Inequality over the subgroups of {split}: Norm.Range (NR) and CV"
    return _table(results, caption, "fairness", ["Model", *heads], rows, f", {arrow}.")


def _change(results: Results, model: str, split: str, metric: str, statistic: str) -> str:
    values = [
        _short(float(row["value"])) if row and to_estimate(row).exists else NONE
        for variant in results.settings.variants[model]
        for row in [results.inequality((model, variant), split, metric, statistic)]
    ]
    return r" $\rightarrow$ ".join(values)


def _models(results: Results) -> list[str]:
    return list(dict.fromkeys(model for model, _ in all_runs(results.settings)))


def _variants(results: Results) -> list[str]:
    """Variants in the study's own prompt, base first."""
    runs: Iterable[ModelVariant] = all_runs(results.settings)
    shown = {variant for _, variant in runs}
    return [name for name in variant_names(results.settings) if name in shown] or [BASE]


def _number(estimate: Estimate | None) -> str:
    if estimate is None or not estimate.exists:
        return NONE
    if not estimate.has_interval:
        return _short(estimate.value)
    ends = f"[{_short(estimate.ci_low)}, {_short(estimate.ci_high)}]"
    return rf"{_short(estimate.value)} {{\scriptsize {ends}}}"


def _short(value: float) -> str:
    """0.514 as .514, as the paper prints it."""
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"


def _level(results: Results) -> str:
    return rf"{results.settings.evaluation.confidence_level:.0%}"


def _escaped(text: str) -> str:
    return "".join(ESCAPES.get(letter, letter) for letter in text)


def _table(
    results: Results,
    caption: str,
    name: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    after: str = "",
) -> str:
    """The first cell of each row is text; the others are LaTeX already."""
    caveat = results.settings.caveat
    doubt = f" {_escaped(caveat[0].upper() + caveat[1:])}." if caveat else ""
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escaped(caption)}{after}{doubt}}}",
        rf"\label{{tab:{name}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        r"\toprule",
        " & ".join(map(_escaped, heads)) + r" \\",
        r"\midrule",
        *(" & ".join([_escaped(row[0]), *row[1:]]) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"
