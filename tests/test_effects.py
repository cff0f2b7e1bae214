"""What recipes are for, in a study of the demo's size: its survey, strata and toy, by the graph."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests import toys
from tests.graph import ROOT, Graph, Server
from valuestrata import io, tables
from valuestrata.inference.local import load_chat
from valuestrata.inference.protocol import ScoringRequest
from valuestrata.inference.transformers import TransformersBackend
from valuestrata.prompting import prompts
from valuestrata.study.yaml import read_yaml

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("effects")]
QUESTIONS = ["Q1", "Q33", "Q58", "Q106", "Q164", "Q171", "Q182", "Q240"]
MODEL = "toy-llama"
RECIPES: dict[str, dict[str, Any]] = {
    "sft": {},
    "soft": {"method": "soft"},
    "dro": {"method": "dro", "group_dro_step_size": 0.02},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, snakemake: Server) -> Path:
    """Of the embedded study with eight questions, one toy and three recipes."""
    study = read_yaml(ROOT / "config.yaml")
    study["survey"]["questions"] = QUESTIONS
    study["models"] = {MODEL: study["models"][MODEL]}
    sft = study["recipes"]["sft"] | {"epochs": 10, "validation": {"share": 0.0}}
    study["recipes"] = {name: sft | more for name, more in RECIPES.items()}
    del study["judges"], study["generation"]
    graph = Graph(tmp_path_factory.mktemp("effects"), snakemake, study)
    done = graph.run(
        "--", *(f"results/demo/runs/{MODEL}/{v}/ood/fairness.parquet" for v in RECIPES)
    )
    assert done.returncode == 0, done.stderr
    return graph.results


def wasserstein(results: Path, variant: str) -> "pd.Series[float]":
    """[S] mean distance to each unseen intersection's distribution."""
    files = sorted((results / f"runs/{MODEL}/{variant}/ood/scores").glob("*.parquet"))
    scores = io.read_table(files, tables.SCORES)
    return scores.groupby("subgroup")["wasserstein"].mean()


def worst(results: Path, variant: str, split: str) -> tuple[float, float]:
    """Accuracy and mean log p of the modal answers, each of its five worst subgroups.

    One subgroup's accuracy on eight questions moves in steps of an eighth.
    """
    model = toys.model(results / f"models/{MODEL}/base")
    adapter = results / f"models/{MODEL}/{variant}/adapter"
    pairs = io.read_table(results / f"pairs/{split}.parquet", tables.PAIRS)
    requests = [
        ScoringRequest(
            (row["persona"], row["closed_prompt"]),
            tuple(prompts.answer("english", int(code)) for code in row["codes"]),
        )
        for row in io.records(pairs)
    ]
    replies = TransformersBackend(model, load_chat(model), adapter).score(requests, 8)
    modes = [list(codes).index(m) for codes, m in zip(pairs["codes"], pairs["mode"], strict=True)]
    rows = [
        (float(np.argmax(reply.logprobs) == m), float(reply.logprobs[m]))
        for reply, m in zip(replies, modes, strict=True)
        if reply.logprobs is not None
    ]
    assert len(rows) == len(pairs)
    means = pd.DataFrame(rows).groupby(pairs["subgroup"]).mean()
    accuracy, logprob = (means[column].nsmallest(5).mean() for column in means)
    return float(accuracy), float(logprob)


def test_soft_is_nearer_to_the_distributions_of_unseen_intersections_than_sft(
    results: Path,
) -> None:
    sft, soft = wasserstein(results, "sft"), wasserstein(results, "soft")
    assert len(sft) == 48
    assert soft.mean() < 0.85 * sft.mean()
    assert (soft < sft).mean() > 0.75


def test_dro_raises_the_worst_subgroups_over_sft(results: Path) -> None:
    """In accuracy of those it was tuned on; in log p of the mode of those never seen, too."""
    (sft, sft_logprob), (dro, dro_logprob) = (worst(results, v, "train") for v in ("sft", "dro"))
    assert dro > sft
    assert dro_logprob > sft_logprob
    assert worst(results, "dro", "ood")[1] > worst(results, "sft", "ood")[1] + 0.1
