"""Fine-tune a model with LoRA on a train split, by one recipe.

Started by torchrun or accelerate it runs on several GPUs; the first process writes.
"""

import argparse
from typing import Any

import pandas as pd

from valuestrata import io, paths
from valuestrata.errors import InputError
from valuestrata.provenance import code_digest, file_digest, text_digest
from valuestrata.specs import Finetune, from_json

PREFERRING = ("dpo", "grpo")
"""Methods that train through trl (models/preference.py)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--pairs", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--checkpoints", required=True, help="folder to go on from after a kill")
    parser.add_argument(
        "--every", type=float, required=True, help="least seconds between two checkpoints"
    )
    parser.add_argument("--output", required=True, help="folder of the adapter")
    parser.add_argument(
        "--check",
        dest="run",
        action="store_const",
        const=check,
        help="refuse bad input, and end before weights are loaded",
    )


def check(arguments: argparse.Namespace) -> None:
    """Refuse what can be refused without weights; each of several processes would say it again."""
    _read(arguments)


def run(arguments: argparse.Namespace) -> None:
    """Train, then write the adapter and its log."""
    from valuestrata.inference import local
    from valuestrata.training import distributed, lora
    from valuestrata.training.checkpoint import Checkpoint

    spec, chat, pairs, data = _read(arguments)
    made_of = [
        arguments.spec,
        file_digest(arguments.pairs),
        local.weights_digest(spec.model),
        code_digest(__name__),
    ]
    checkpoint = Checkpoint(arguments.checkpoints, text_digest(made_of)[:16], arguments.every)
    with distributed.distributed_context() as first:
        network = local.load_network(spec.model, spec.recipe.quantize)
        try:
            if spec.recipe.method in PREFERRING:
                from valuestrata.training import preference

                tuned, record = preference.finetune(spec, network, chat, pairs, checkpoint)
            else:
                tuned, record = lora.finetune(spec, network, data, chat.pad, checkpoint)
        except FloatingPointError as error:
            raise InputError(f"recipe: {error}") from None
        if first:
            with io.replacing_folder(arguments.output) as folder:
                lora.save(tuned, folder, spec.model)
                io.write_json({"caveat": spec.caveat, **record}, folder / paths.TRAINING_LOG)
            checkpoint.remove()


def _read(arguments: argparse.Namespace) -> tuple[Finetune, Any, pd.DataFrame, list[Any]]:
    """The spec, the model's renderer, the pairs, and the pairs as token ids.

    Raises:
        InputError: the recipe cannot be followed here, or not with this model and these pairs.
    """
    from valuestrata.inference import local, runtime
    from valuestrata.training import lora

    spec = from_json(Finetune, arguments.spec)
    lora.ready(spec.recipe)
    runtime.prepare(arguments.threads)
    chat = local.load_chat(spec.model)
    pairs = io.read_table(arguments.pairs, "pairs")
    data = lora.examples(pairs, chat, spec.template)
    lora.check(spec.recipe, data, local.LocalModel(spec.model, chat).longest)
    if spec.recipe.method in PREFERRING:
        from valuestrata.training import preference

        preference.parts(pairs, spec.recipe)
    return spec, chat, pairs, data
