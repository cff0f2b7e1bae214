"""Text pairs for people to annotate: which are drawn, and which text is shown as A. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from valuestrata.io import records
from valuestrata.provenance import text_digest
from valuestrata.tables import PAIR

RUN = ["model", "variant", "split"]
ITEM = [*RUN, *PAIR]
"""Columns that name a text pair."""
ALL = "all"
"""Stands for all annotators in tables, so none can have this name."""
SIMULATED = " (simulated)"
"""Ends the name of an annotator that is a script, by which it is called so wherever it is shown."""
CHOICES = ("B", "tie", "A")
"""What an annotator can choose."""


def draw(candidates: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """At most n text pairs in random order, evenly over runs and, in a run, over its strata.

    A pair's place in the draw depends on the seed and on its own name alone. The column `run_is`
    says whether the run's text is A or B: each in half of the sample.

    Args:
        candidates: the columns ITEM, one row a text pair, and others that are kept.
        n: how many are drawn.
        seed: of the draw, the order, and of what is A.
    """
    names = candidates[ITEM].astype(str).to_numpy()
    frame = candidates.assign(_order=[text_digest([str(seed), *name]) for name in names])
    frame = frame.sort_values("_order")
    frame["_in_stratum"] = frame.groupby([*RUN, "stratum"]).cumcount()
    frame = frame.sort_values(["_in_stratum", "_order"])
    frame["_in_run"] = frame.groupby(RUN).cumcount()
    chosen = frame.sort_values(["_in_run", "_order"]).head(n).sort_values("_order")
    is_a = np.random.default_rng(seed).permutation(len(chosen)) % 2 == 0
    chosen = chosen.assign(run_is=np.where(is_a, "A", "B"))
    return chosen[[*candidates.columns, "run_is"]].reset_index(drop=True)


def pair_digest(row: Mapping[str, Any]) -> str:
    """Sixteen hex digits over what an annotator reads: if it changes, an annotation is void."""
    shown = ("persona", "prompt", "text", "reference")
    return text_digest(str(row[name]) for name in shown)[:16]


def named(sample: pd.DataFrame, study: str) -> tuple[str, pd.DataFrame]:
    """Name of a sample, `study-digest`, and the sample with `sample_id` and `digest` of each pair.

    Ids count the pairs of the sample and say nothing of which text is whose.
    """
    digests = [pair_digest(row) for row in records(sample)]
    name = f"{study}-{text_digest([*digests, *sample['run_is']])[:8]}"
    width = max(3, len(str(len(sample))))
    ids = [f"{name}-{i:0{width}}" for i in range(1, len(sample) + 1)]
    return name, sample.assign(sample_id=ids, digest=digests)


def key(sample: pd.DataFrame) -> list[dict[str, str]]:
    """What un-blinds a sample: of each id the run, the pair, its digest, and which text is A."""
    columns = ["sample_id", *ITEM, "run_is", "digest"]
    return [{name: str(value) for name, value in row.items()} for row in records(sample[columns])]


def shown_items(sample: pd.DataFrame) -> list[dict[str, str]]:
    """What the page shows of each pair: id, persona, prompt and both texts; no run is named.

    Beside them is how people like the persona answered the survey, where the judge is told it.
    """
    items = []
    for row in records(sample):
        a, b = row["text"], row["reference"]
        if row["run_is"] == "B":
            a, b = b, a
        shown = {"id": row["sample_id"], "persona": row["persona"], "prompt": row["prompt"]}
        told = {"survey": row["distribution"]} if row.get("distribution") else {}
        items.append({**shown, **told, "a": str(a), "b": str(b)})
    return items


def choice_score(choices: Iterable[str], run_is: Iterable[str]) -> list[float]:
    """Score of the run's text, 1, 0.5 or 0, from choices among A, tie and B.

    >>> choice_score(["A", "B", "tie"], ["B", "B", "A"])
    [0.0, 1.0, 0.5]
    """
    return [
        0.5 if choice == "tie" else float(choice == side)
        for choice, side in zip(choices, run_is, strict=True)
    ]
