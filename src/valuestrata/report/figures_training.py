"""Training curves as a figure: a row a model, a column a quantity, a colour a recipe. Pure."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from valuestrata.report.captions import FIGURES
from valuestrata.report.panels import finish, grid, look_of, words
from valuestrata.report.phrases import plural
from valuestrata.report.results import System
from valuestrata.specs import Report

Logs = dict[System, dict[str, Any]]
"""Training log of each fine-tune: `steps`, of which every one holds step and loss and some hold
more, and `logit_shift`, how far its logits moved."""

COLUMNS = {
    "loss": "loss (nats)",
    "reward": "mean reward of its replies",
    "held_accuracy": "accuracy held back",
    "gradient_norm": "norm of the gradient",
    "speed": "tokens a second",
}


def training_figure(spec: Report, logs: Logs) -> Figure:
    """Loss, accuracy on what was held back, gradient norm and speed by step, as far as logged."""
    title = FIGURES["training"][0]
    frames = {system: _frame(log["steps"]) for system, log in logs.items() if log["steps"]}
    if not frames:
        return words(title, "No model was fine-tuned in this study.", spec.caveat)
    shown = [c for c in COLUMNS if any(c in frame for frame in frames.values())]
    models = list(dict.fromkeys(model for model, _ in frames))
    figure, panels = grid(len(models) * len(shown), len(shown), 0, share=False, height=1.9)
    for i, axes in enumerate(panels):
        model, column = models[i // len(shown)], shown[i % len(shown)]
        own = {system: frame for system, frame in frames.items() if system[0] == model}
        for system, frame in own.items():
            if column in frame:
                _curve(axes, frame, column, look_of(system, spec).colour, system[1])
        axes.set_title(COLUMNS[column])
        if column == shown[0]:
            axes.set_ylabel(model)
        axes.set_ylim(bottom=0, top=1 if column in ("held_accuracy", "reward") else None)
        if axes.get_lines():
            axes.legend(fontsize=7.5, frameon=False)
        axes.tick_params(left=True)
        axes.grid(axis="y")
        if i // len(shown) == len(models) - 1:
            axes.set_xlabel("optimiser step")
    return finish(figure, title, [*_notes(frames), _shifts(logs)], spec.caveat)


def _frame(steps: list[dict[str, Any]]) -> pd.DataFrame:
    """A log as a table, without the loss of a method that learns from rewards: it says nothing."""
    frame = pd.DataFrame(steps)
    if "seconds" in frame:
        frame["speed"] = frame["tokens"] / frame["seconds"]
    return frame.drop(columns="loss") if "reward" in frame else frame


def _curve(axes: Axes, frame: pd.DataFrame, column: str, colour: str, name: str) -> None:
    """One fine-tune's quantity by step; its name and last value go to the legend."""
    known = frame[["step", column]].dropna()
    smooth = known[column]
    if column == "held_accuracy":
        (line,) = axes.plot(known["step"], smooth, color=colour, lw=1.3, marker="o", ms=3)
    else:
        window = max(5, len(known) // 20)
        smooth = known[column].rolling(window, center=True, min_periods=1).mean()
        axes.plot(known["step"], known[column], color=colour, lw=0.6, alpha=0.3)
        (line,) = axes.plot(known["step"], smooth, color=colour, lw=1.6)
    if column == "loss" and "worst_group_loss" in frame:
        axes.plot(frame["step"], frame["worst_group_loss"], color=colour, lw=1, ls=(0, (4, 2)))
    last = float(smooth.iloc[-1])
    line.set_label(
        f"{name}, at last {last:,.0f}" if last >= 1000 else f"{name}, at last {last:.2f}"
    )


def _notes(frames: dict[System, pd.DataFrame]) -> list[str]:
    """What the lines are, and how many pairs were held back."""
    said = (
        f"{plural(len(frames), 'fine-tune')}. Faint: each step; bold: rolling mean over a "
        "twentieth of the steps; dashed: the subgroup with the highest running loss."
    )
    held = {int(f["held_n"].dropna().iloc[-1]) for f in frames.values() if "held_n" in f}
    if not held:
        return [f"{said} No pairs were held back."]
    some = " or ".join(map(str, sorted(held)))
    return [f"{said} Held back: {some} pairs, each with an answer; one run each, so no interval."]


def _shifts(logs: Logs) -> str:
    """How far each adapter moved its model's logits."""
    moved = (f"{' / '.join(system)} {log['logit_shift']:.2g}" for system, log in logs.items())
    return f"Mean change of the logits at the replies: {', '.join(moved)}."
