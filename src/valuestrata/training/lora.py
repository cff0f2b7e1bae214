"""LoRA fine-tuning on the pairs of a train split, by the recipes that share our loop.

sft: cross-entropy on the modal answer (paper.md, Training). soft: cross-entropy to the subgroup's
distribution over the answers. ordinal: Wasserstein distance to it. dro: sft, worst subgroup first.
"""

import importlib.util
import json
import logging
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from valuestrata.errors import InputError
from valuestrata.inference import local
from valuestrata.inference.chat import Chat
from valuestrata.io import records
from valuestrata.prompting import prompts
from valuestrata.specs import Finetune, HeldBack, Model, Recipe
from valuestrata.training import distributed, group_weighting, loop, objectives, shared_prefix
from valuestrata.training.checkpoint import Checkpoint

log = logging.getLogger(__name__)

PROBE = 8
"""Examples on which the change of the logits is measured."""


def examples(pairs: pd.DataFrame, chat: Chat, template: str) -> list[objectives.Pair]:
    """One example a pair: persona and question in, modal answer out, beside all other answers."""
    return [
        objectives.Pair(
            chat.prompt(row["persona"], row["closed_prompt"]).ids,
            chat.encode_reply(prompts.answer(template, int(row["mode"]))),
            options=tuple(
                chat.encode_reply(prompts.answer(template, int(c))) for c in row["codes"]
            ),
            shares=tuple(map(float, row["distribution"])),
            place=_place(row) if row["measurement_level"] == "ordinal" else (),
            question=str(row["question"]),
            group=str(row["subgroup"]),
        )
        for row in records(pairs)
    ]


def _place(row: dict[str, Any]) -> tuple[float, ...]:
    """Where each code lies between the ends of the scale."""
    lowest, highest = int(row["lowest"]), int(row["highest"])
    return tuple((int(code) - lowest) / (highest - lowest) for code in row["codes"])


def split(data: Sequence[Any], held_back: HeldBack, seed: int) -> tuple[list[Any], list[Any]]:
    """Pairs to train on, and pairs held back.

    Raises:
        InputError: nothing would be left to train on, or nothing held back though a share is asked.
    """
    if not held_back.share:
        return list(data), []
    units = [p.question if held_back.by == "question" else str(i) for i, p in enumerate(data)]
    names = list(dict.fromkeys(units))
    n = round(held_back.share * len(names))
    if not 0 < n < len(names):
        raise InputError(
            f"recipe: held_back: a share of {held_back.share} of {len(names)} "
            f"{held_back.by}s is {n}; name another share"
        )
    chosen = np.random.default_rng([seed, 1]).choice(len(names), size=n, replace=False)
    out = {names[i] for i in chosen}
    return (
        [pair for pair, unit in zip(data, units, strict=True) if unit not in out],
        [pair for pair, unit in zip(data, units, strict=True) if unit in out],
    )


def check(recipe: Recipe, data: Sequence[objectives.Pair], longest: int | None) -> None:
    """Raise InputError where a recipe cannot learn from its pairs; it needs no weights.

    Args:
        recipe: what is to be done.
        data: all pairs of its split.
        longest: tokens that the network was made for, None for any number.
    """
    split(data, recipe.held_back, recipe.seed)
    written = recipe.max_new_tokens if recipe.method == "grpo" else 0
    for pair in data:
        reply = max(map(len, pair.options))
        if 0 < written < reply:
            raise InputError(
                f"recipe: max_new_tokens: {written} cut off an answer of {reply} tokens; raise it"
            )
        tokens = len(pair.prompt) + max(reply, written)
        if longest is not None and tokens > longest:
            raise InputError(
                f"recipe: split: {recipe.split}: question {pair.question} put to {pair.group!r} is "
                f"{tokens} tokens with its reply, and the network was made for {longest}; leave "
                "the question out, or tune another model"
            )


def ready(recipe: Recipe) -> None:
    """Raise InputError where this machine cannot do what the recipe asks for."""
    if recipe.quantize == "none":
        return
    lacks = "a GPU" if not torch.cuda.is_available() else ""
    lacks = lacks or (
        "" if importlib.util.find_spec("bitsandbytes") else "the package bitsandbytes"
    )
    if lacks:
        raise InputError(
            f"recipe: quantize: {recipe.quantize} needs {lacks}, which this machine has not; "
            "use quantize: none, or run where it has (pip install 'valuestrata[quantize]')"
        )


def objective(recipe: Recipe, pad: int) -> loop.Objective:
    """What a recipe learns from a batch."""
    match recipe.method:
        case "soft":
            return objectives.Soft(pad)
        case "ordinal":
            return objectives.Ordinal(pad)
        case _:
            return (
                shared_prefix.SharedPrefixObjective(pad)
                if recipe.grid
                else loop.CompletionObjective(pad)
            )


def add_lora(network: Any, recipe: Recipe) -> Any:
    """The network with a fresh LoRA on the layers that the recipe names.

    Raises:
        InputError: the network has no layer of a name, or all were asked for and some is left out.
    """
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    if recipe.quantize != "none":
        network = prepare_model_for_kbit_training(network, use_gradient_checkpointing=False)
    if recipe.checkpointing:
        network.gradient_checkpointing_enable(
            gradient_checkpointing_kwargs={"use_reentrant": False}
        )
    output = network.get_output_embeddings()
    linear = [
        name
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not output
    ]
    if recipe.targets is not None:
        linear = _named(linear, recipe.targets)
    torch.manual_seed(recipe.seed)
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules="all-linear" if recipe.targets is None else list(recipe.targets),
        task_type="CAUSAL_LM",
    )
    tuned = get_peft_model(network, config)
    layers = sum(hasattr(m, "lora_A") for m in tuned.modules())
    fused = [name for name, p in network.named_parameters() if p.dim() > 2]
    if recipe.targets is None and fused:
        raise InputError(
            f"recipe: targets: LoRA adapts no fused experts, such as {fused[0]}; name the layers "
            "to tune, or tune another model"
        )
    if layers != len(linear):
        raise InputError(
            f"recipe: targets: LoRA adapts {layers} of {len(linear)} linear layers; name those to "
            "tune, or tune another model"
        )
    log.info("LoRA of rank %d on %d linear layers", recipe.rank, layers)
    return tuned


def _named(linear: Sequence[str], targets: Sequence[str]) -> list[str]:
    """The linear layers whose last names are among the targets."""
    known = {name.rpartition(".")[2] for name in linear}
    for target in targets:
        if target not in known:
            raise InputError(
                f"recipe: targets: the model has no linear layer {target!r}; "
                f"it has {', '.join(sorted(known))}"
            )
    return [name for name in linear if name.rpartition(".")[2] in targets]


def finetune(
    spec: Finetune,
    network: Any,
    data: Sequence[loop.Example],
    pad: int,
    checkpoint: Checkpoint | None = None,
) -> tuple[Any, dict[str, Any]]:
    """Tune; returns the network with its adapter, and the log.

    The log holds `examples` (trained on), `held_back` (pairs that were not), the steps' records
    (loop.train's; at some steps held_accuracy and held_wasserstein, of dro also `groups`),
    tokens_per_second and `logit_shift`, the mean |change| of the logits at the replies of the first
    examples: 0 would mean an adapter that does nothing.

    Raises:
        InputError: the network cannot be adapted so, or its adapter does nothing or is broken.
        FloatingPointError: a loss is no finite number.
    """
    recipe = spec.recipe
    kept, held = split(data, recipe.held_back, recipe.seed)
    train = group_weighting.balanced(kept, recipe.balance, recipe.favour, recipe.seed)
    tuned = add_lora(network, recipe)
    probe = loop.collate(train[:PROBE], pad)
    before = logits(tuned, probe)
    plan = objective(recipe, pad)
    deal = shared_prefix.make_batches if recipe.grid else loop.make_batches
    parts = partial(deal, train, recipe.batch, recipe.epochs, recipe.seed)
    settings = loop.Settings(
        learning_rate=recipe.learning_rate,
        steps=sum(1 for _ in parts()),
        warmup=recipe.warmup,
        weight_decay=recipe.weight_decay,
        gradient_norm=recipe.gradient_norm,
        schedule=recipe.schedule,
        accumulate=recipe.accumulate,
        seed=recipe.seed,
    )
    robust = group_weighting.GroupDRO(train, recipe.step_size) if recipe.method == "dro" else None

    def measure() -> loop.Record:
        size = max(1, recipe.batch // recipe.accumulate)
        found = held_scores(tuned, held, size, pad) if held else {}
        return found | ({"groups": robust.by_group()} if robust else {})

    log.info("%s: %d examples, %d held back", recipe.method, len(train), len(held))
    history = loop.train(
        tuned,
        parts(),
        settings,
        plan,
        weighting=robust,
        measure=measure,
        checkpoint=checkpoint,
    )
    moved = mean_logit_change(before, logits(tuned, probe))
    return tuned, training_log(len(train), len(held), moved, history)


def training_log(
    examples: int, held_back: int, logit_shift: float, steps: list[loop.Record]
) -> dict[str, Any]:
    """What is kept of a training, see `finetune`."""
    seconds = sum(record["seconds"] for record in steps)
    return {
        "examples": examples,
        "held_back": held_back,
        "processes": distributed.world_size(),
        "tokens_per_second": sum(record["tokens"] for record in steps) / seconds,
        "logit_shift": logit_shift,
        "steps": steps,
    }


@torch.no_grad()
def held_scores(
    network: Any, held: Sequence[objectives.Pair], size: int, pad: int
) -> dict[str, Any]:
    """held_accuracy, held_wasserstein and held_n: of the likeliest options, mean W1, and pairs.

    Each process reads its part of the pairs.
    """
    reader = objectives.Options(pad)
    order = sorted(held, key=lambda pair: pair.prompt)[
        distributed.rank() :: distributed.world_size()
    ]
    found = torch.zeros(3, dtype=torch.float64)
    for start in range(0, len(order), size):
        part = order[start : start + size]
        batch = {k: v.to(network.device) for k, v in reader.collate(part).items()}
        logprobs = reader.logprobs(network, batch)
        token_accuracy = objectives.token_accuracy(logprobs, batch).sum()
        far = objectives.wasserstein(logprobs, batch).sum()
        found += torch.stack([token_accuracy, far, torch.ones_like(far) * len(part)]).double().cpu()
    hits_, far_, n = distributed.all_reduce_sum(found).tolist()
    return {"held_accuracy": hits_ / n, "held_wasserstein": far_ / n, "held_n": int(n)}


def mean_logit_change(before: torch.Tensor, after: torch.Tensor) -> float:
    """Mean |change| of logits.

    Raises:
        InputError: it is 0 or no finite number, so the adapter does nothing or is broken.
    """
    found = float((after - before).abs().mean())
    if not 0 < found < math.inf:
        raise InputError(
            f"recipe: learning_rate: the tuned adapter changes logits by {found}; "
            f"{'lower' if found else 'raise'} it"
        )
    log.info("mean change of the logits: %.2g", found)
    return found


def save(tuned: Any, folder: Path, base: Model | None = None) -> None:
    """Write the adapter; the same adapter makes the same bytes.

    peft keeps the names of the tuned layers in a set and writes them in another order each time. It
    also writes the path that the base was read from; `base` says what is named instead.
    """
    named = _identity(base) if base else {}
    if named:  # peft's model card has the path from the network
        network = tuned.get_base_model()
        network.name_or_path = network.config.name_or_path = named["base_model_name_or_path"]
    tuned.save_pretrained(folder, safe_serialization=True)
    path = folder / "adapter_config.json"
    said = json.loads(path.read_text(encoding="utf-8")) | named
    lists = {
        k: sorted(v) for k, v in said.items() if k.endswith("_modules") and isinstance(v, list)
    }
    path.write_text(json.dumps({**said, **lists}, indent=2, sort_keys=True), encoding="utf-8")


def _identity(base: Model) -> dict[str, str | None]:
    """Name and commit of a hub model, or a folder's name, under peft's keys."""
    if Path(str(base.weights)).is_dir():
        return {"base_model_name_or_path": Path(str(base.weights)).name, "revision": None}
    commit = local.folder_of(base, weights=False).name
    return {"base_model_name_or_path": base.weights, "revision": commit}


@torch.inference_mode()
def logits(network: Any, batch: loop.Batch) -> torch.Tensor:
    """Logits at the columns of a batch's labels, on the CPU, the network in evaluation mode."""
    network.eval()
    where = next(network.parameters()).device
    inputs = {k: v.to(where) for k, v in batch.items() if k != "labels"}
    keep = batch["labels"].shape[1]
    return network(**inputs, logits_to_keep=keep, use_cache=False).logits.float().cpu()
