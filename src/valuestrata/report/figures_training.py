"""Training curves as a figure: a row a model, a column a quantity, a colour a recipe. Pure."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from valuestrata.report.captions import FIGURES
from valuestrata.report.panels import empty_figure, finish, grid, line_of
from valuestrata.report.phrases import plural
from valuestrata.report.runs import ModelVariant
from valuestrata.report.settings import DisplaySettings

Logs = Mapping[ModelVariant, Mapping[str, Any]]
"""Training log of each fine-tune: `steps`, of which every one holds step and loss and some hold
more, and `mean_logit_change` of its logits."""

VALIDATION = "validation_accuracy"
N_VALIDATION = "validation_n"
QUANTITIES = {
    "loss": "loss (nats)",
    "reward": "mean reward of sampled replies",
    VALIDATION: "validation accuracy",
    "gradient_norm": "gradient norm",
    "speed": "tokens per second",
}


def training_figure(settings: DisplaySettings, logs: Logs) -> Figure:
    """Loss, validation accuracy, gradient norm and speed by step, as far as logged."""
    title = FIGURES["training"][0]
    frames = {run: _frame(log["steps"]) for run, log in logs.items() if log["steps"]}
    if not frames:
        return empty_figure(title, "No model was fine-tuned in this study.", settings.caveat)
    columns = [c for c in QUANTITIES if any(c in frame for frame in frames.values())]
    models = list(dict.fromkeys(model for model, _ in frames))
    figure, panels = grid(len(models) * len(columns), len(columns), 1.9)
    for i, axes in enumerate(panels):
        model, column = models[i // len(columns)], columns[i % len(columns)]
        for run, frame in frames.items():
            if run[0] == model and column in frame:
                _curve(axes, frame, column, line_of(run, settings), run[1])
        axes.set_title(QUANTITIES[column])
        if column == columns[0]:
            axes.set_ylabel(model)
        axes.set_ylim(bottom=0, top=1 if column in (VALIDATION, "reward") else None)
        if axes.get_lines():
            axes.legend(fontsize=7.5, frameon=False)
        axes.set_xlabel("optimiser step")
    return finish(figure, title, [*_notes(frames), _logit_changes(logs)], settings.caveat)


def _frame(steps: list[dict[str, Any]]) -> pd.DataFrame:
    """A log as a table; where a method learns from rewards its loss is left out."""
    frame = pd.DataFrame(steps)
    if "seconds" in frame:
        frame["speed"] = frame["tokens"] / frame["seconds"]
    return frame.drop(columns="loss") if "reward" in frame else frame


def _curve(
    axes: Axes, frame: pd.DataFrame, column: str, line_look: tuple[str, Any], name: str
) -> None:
    """One fine-tune's quantity by step; its name and last value go to the legend."""
    colour, dashes = line_look
    style: dict[str, Any] = {"color": colour, "ls": dashes}
    logged = frame[["step", column]].dropna()
    smooth = logged[column]
    if column == VALIDATION:
        (line,) = axes.plot(
            logged["step"], smooth, color=colour, ls=dashes, lw=1.3, marker="o", ms=3
        )
    else:
        window = max(5, len(logged) // 20)
        smooth = logged[column].rolling(window, center=True, min_periods=1).mean()
        axes.plot(logged["step"], logged[column], color=colour, lw=0.6, alpha=0.3)
        (line,) = axes.plot(logged["step"], smooth, lw=1.6, **style)
    if column == "loss" and "worst_group_loss" in frame:
        axes.plot(frame["step"], frame["worst_group_loss"], color=colour, lw=1, ls=(0, (4, 2)))
    last = float(smooth.iloc[-1])
    line.set_label(f"{name}, last {last:,.0f}" if last >= 1000 else f"{name}, last {last:.2f}")


def _notes(frames: Mapping[ModelVariant, pd.DataFrame]) -> list[str]:
    """What the lines are, and how many pairs validate."""
    parts = [
        f"{plural(len(frames), 'fine-tune')}. Faint: each step; bold: rolling mean over a "
        "twentieth of the steps"
    ]
    if any("worst_group_loss" in frame for frame in frames.values()):
        parts.append("dashed: the subgroup with the highest running loss")
    note = f"{'; '.join(parts)}."
    counts = {
        int(frame[N_VALIDATION].dropna().iloc[-1])
        for frame in frames.values()
        if N_VALIDATION in frame
    }
    if not counts:
        return [f"{note} No validation."]
    return [f"{note} Validation: {' or '.join(map(str, sorted(counts)))} pairs, without interval."]


def _logit_changes(logs: Logs) -> str:
    """How far each adapter moved its model's logits."""
    changes = (f"{' / '.join(run)} {log['mean_logit_change']:.2g}" for run, log in logs.items())
    return f"Mean change of the logits at the replies: {', '.join(changes)}."
