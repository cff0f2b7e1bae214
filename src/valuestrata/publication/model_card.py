"""The model card of a fine-tuned adapter: what it is made of, and what it was seen to do."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from huggingface_hub import ModelCardData

from valuestrata.io import records
from valuestrata.records import Record

METRICS = {
    "accuracy": "Accuracy",
    "nmae": "NMAE",
    "wasserstein": "Wasserstein distance",
    "refusal": "Share refused",
    "invalid": "Share invalid",
}
ELSEWHERE = ("seed", "method", "split")
"""Settings that a sentence of the card gives."""


def model_card(study: str, title: str, survey: str, record: Record, runs: pd.DataFrame) -> str:
    """The card as Markdown with the hub's metadata before it.

    Args:
        study: name of the study.
        title: its title.
        survey: name of the survey, as its provider wants it cited.
        record: what the adapter is made of.
        runs: rows of report/runs.parquet, of any runs.
    """
    model, recipe = record.settings["model"], record.settings["recipe"]
    name, variant = record.run["model"], record.run["recipe"]
    revision = model.get("revision")
    is_hub_model = revision is not None
    data = ModelCardData(
        base_model=model["model"] if is_hub_model else None,
        library_name="peft",
        pipeline_tag="text-generation",
        tags=["valuestrata", "survey", "lora", recipe["method"]],
    )
    base = (
        f"`{model['model']}` at revision `{revision}`"
        if is_hub_model
        else f"weights here, `{name}`"
    )
    lines = [
        "---",
        data.to_yaml().strip(),
        "---",
        f"# {name}, tuned by `{variant}` on {title}",
        *([f"**{record.caveat[0].upper()}{record.caveat[1:]}.**"] if record.caveat else []),
        f"A LoRA adapter of {base}. It was tuned to give the modal answers of subgroups of "
        f"{survey}, in the study `{study}` of valuestrata.",
        "## Training",
        f"Method `{recipe['method']}` on the split `{recipe['split']}`, seed {recipe['seed']}.",
        _bullets(recipe),
        "## Evaluation",
        "Against the subgroups' modal answers; brackets hold the study's intervals over questions; "
        "n counts the pairs of subgroup and question in a number, missing those without a value.",
        _scores(runs[(runs["model"] == name) & runs["variant"].isin(["base", variant])]),
        "## Use and limits",
        "For research on how models answer for groups of people. A modal answer is the most "
        "frequent one: most groups disagree within, and no person is described by it. The adapter "
        "is not a substitute for asking people, and was not tested outside the survey's questions.",
        "## Provenance",
        f"Settings digest `{record.digest}`. Inputs: "
        + ", ".join(f"`{path}` {digest}" for path, digest in record.inputs.items())
        + ".",
    ]
    return "\n\n".join(lines).replace("---\n\n", "---\n").replace("\n\n---\n", "\n---\n\n") + "\n"


def _bullets(recipe: dict[str, Any]) -> str:
    shown = {k: v for k, v in recipe.items() if k not in ELSEWHERE and v not in (None, "none", {})}
    return "\n".join(f"- `{name}`: {value}" for name, value in shown.items())


def _scores(runs: pd.DataFrame) -> str:
    """A table of the base model's and the adapter's scores by split and metric."""
    lines = ["| split | metric | variant | value | n | missing |", "|---|---|---|---|---|---|"]
    shown = runs[runs["metric"].isin(METRICS)]
    for row in records(shown.sort_values(["split", "metric", "variant"], kind="stable")):
        interval = (
            f" [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
            if row["ci_low"] == row["ci_low"]
            else ""
        )
        cells: Sequence[object] = (
            row["split"],
            METRICS[row["metric"]],
            row["variant"],
            f"{row['value']:.3f}{interval}" if row["value"] == row["value"] else "no value",
            row["n"],
            row["missing"],
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) if len(lines) > 2 else "Its answers are not part of this export."
