"""Fine-tunes of tiny networks: recipes, pairs, and the stage on a folder of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file

from tests import toys
from tests.graph import ROOT
from tests.toys import RECIPE, chat
from valuestrata import io, tables
from valuestrata.__main__ import main
from valuestrata.inference.chat import Chat
from valuestrata.records import Record
from valuestrata.study import recipes
from valuestrata.study.recipes import Recipe
from valuestrata.study.study import Study
from valuestrata.training.checkpoint import Checkpoint
from valuestrata.training.examples import Pair, encode_pairs, tuning_data
from valuestrata.training.methods import code_of, load

CLASSES: dict[str, type[Recipe]] = {
    "sft": recipes.SFT,
    "soft": recipes.Soft,
    "ordinal": recipes.Ordinal,
    "dro": recipes.GroupDRO,
    "dpo": recipes.DPO,
    "grpo": recipes.GRPO,
}
SUPERVISED = ["sft", "soft", "ordinal", "dro"]
MADE_BY = Record("pairs", {"split": "train"}, {"caveat": ""}, "", {})


def recipe(method: str = "sft", **changes: Any) -> Any:
    """toys.RECIPE by another method, with changes."""
    kind = CLASSES[method]
    shared = {name: getattr(RECIPE, name) for name in kind.model_fields if hasattr(RECIPE, name)}
    return kind(**{**shared, "method": method, **changes})


def uneven_pairs() -> pd.DataFrame:
    """The toys' pairs with uneven distributions, one of them with a code off the scale."""
    rng = np.random.default_rng(3)
    rows = io.records(toys.pairs())
    for i, row in enumerate(rows):
        if i == 1:
            row["codes"] = [*row["codes"], row["codes"][-1] + 7]
            row["labels"] = [*row["labels"], ""]
        row["distribution"] = rng.dirichlet(np.ones(len(row["codes"]))).tolist()
        row["measurement_level"] = "nominal" if row["question"] == "Q0" else "ordinal"
    return pd.DataFrame(rows)


def examples(talk: Chat, pairs: pd.DataFrame | None = None) -> list[Pair]:
    """Pairs as token ids."""
    return encode_pairs(uneven_pairs() if pairs is None else pairs, talk, "english")


def tune(
    config: Any,
    pairs: pd.DataFrame | None = None,
    network: Any = None,
    checkpoint: Checkpoint | None = None,
    talk: Chat | None = None,
) -> tuple[Any, dict[str, Any]]:
    """The network with its adapter, and the log of a fine-tune."""
    talk = talk or chat("llama")
    torch.seed()  # whatever was drawn before is not what the adapter's weights come from
    network = network or toys.network("Llama", talk.tokenizer)
    data = tuning_data(uneven_pairs() if pairs is None else pairs, talk, "english")
    code = code_of(config)
    return load(code["finetune"])(network, config, code, data, checkpoint)  # type: ignore[no-any-return]


def weights(tuned: Any) -> dict[str, torch.Tensor]:
    """The adapter's weights."""
    return {k: v.detach().clone() for k, v in tuned.named_parameters() if "lora_" in k}


def timeless(log: dict[str, Any]) -> dict[str, Any]:
    """A log without what the clock says."""
    steps = [{k: v for k, v in step.items() if k != "seconds"} for step in log["steps"]]
    return {**log, "steps": steps, "tokens_per_second": None}


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Largest difference between two adapters' weights."""
    assert one.keys() == other.keys()
    return max(float((one[k] - other[k]).abs().max()) for k in one)


class Stage:
    """The stage finetune on a folder with a toy's weights, its pairs and a study of one recipe."""

    def __init__(
        self, folder: Path, config: Any, network: Any = None, pairs: pd.DataFrame | None = None
    ) -> None:
        """Write what the stage reads."""
        self.folder = folder
        self.weights = folder / "weights"
        tokenizer = chat("llama").tokenizer
        toys.save(network or toys.network("Llama", tokenizer), tokenizer, self.weights)
        table = uneven_pairs() if pairs is None else pairs
        io.write_table(table, folder / "pairs.parquet", tables.PAIRS, MADE_BY)
        self.set_recipe(config)

    def set_recipe(self, config: Any) -> None:
        """Write a study with another recipe."""
        study = Study.model_validate(
            {
                "study": "tiny",
                "survey": {
                    "name": "A survey",
                    "country": "Utopia",
                    "file": "none.csv",
                    "respondent": "id",
                    "codebook": "none.yaml",
                    "axes": {"sex": {"column": "sex", "groups": {"1": "male", "2": "female"}}},
                },
                "splits": {"train": {"role": "train", "strata": ["sex"]}},
                "models": {
                    "toy": {
                        "backend": "transformers",
                        "model": str(self.weights),
                        "dtype": "float32",
                        "gpus": 0,
                    }
                },
                "recipes": {"tuned": json.loads(config.model_dump_json())},
            }
        )
        (self.folder / "study.json").write_text(study.to_json(), encoding="utf-8")

    def arguments(self, out: Path, *more: str) -> list[str]:
        """Arguments of the stage; it writes to `out`."""
        return [
            *("finetune", "--study", str(self.folder / "study.json")),
            *("--model", "toy", "--recipe", "tuned", "--threads", "1", "--every", "0"),
            *("--file", f"pairs={self.folder / 'pairs.parquet'}"),
            *("--file", f"adapter={out / 'adapter'}", "--checkpoints", str(out / "checkpoints")),
            *more,
        ]

    def start(self, out: Path, *more: str) -> "subprocess.Popen[str]":
        """Run it in a process of its own."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        command = [sys.executable, "-m", "valuestrata", *self.arguments(out, *more)]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)

    def run(self, out: Path, *more: str) -> int:
        """Run it in this process."""
        return main(self.arguments(out, *more))


def adapter(out: Path) -> dict[str, torch.Tensor]:
    """The weights that the stage wrote."""
    return load_file(out / "adapter" / "adapter_model.safetensors")


def training_log(out: Path) -> dict[str, Any]:
    """The log that the stage wrote."""
    log: dict[str, Any] = io.read_json(out / "adapter" / "training_log.json")
    return log
