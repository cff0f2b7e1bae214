"""Fine-tune a model with LoRA on a train split, by one recipe.

Started by torchrun or accelerate it runs on several GPUs; the first process writes.
"""

import argparse
import logging

from valuestrata import io, paths
from valuestrata.provenance import code_digest, file_digest, text_digest
from valuestrata.specs import Finetune, from_json

log = logging.getLogger(__name__)


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


def run(arguments: argparse.Namespace) -> None:
    """Train, then write the adapter and its log."""
    from valuestrata.models import local, lora, processes, runtime
    from valuestrata.models.checkpoint import Checkpoint

    spec = from_json(Finetune, arguments.spec)
    lora.ready(spec.recipe)
    runtime.prepare(arguments.threads)
    chat = local.load_chat(spec.model)
    pairs = io.read_table(arguments.pairs, "pairs")
    preferring = spec.recipe.method in ("dpo", "grpo")
    if preferring:
        from valuestrata.models import preference  # trl takes ten seconds to import
    else:
        data = lora.examples(pairs, chat, spec.template)
    made_of = [
        arguments.spec,
        file_digest(arguments.pairs),
        local.weights_digest(spec.model),
        code_digest(__name__),
    ]
    checkpoint = Checkpoint(arguments.checkpoints, text_digest(made_of)[:16], arguments.every)
    with processes.together() as first:
        network = local.load_network(spec.model, spec.recipe.quantize)
        if preferring:
            tuned, record = preference.finetune(spec, network, chat, pairs, checkpoint)
        else:
            tuned, record = lora.finetune(spec, network, data, chat.pad, checkpoint)
        if first:
            with io.replacing_folder(arguments.output) as folder:
                lora.save(tuned, folder)
                io.write_json({"caveat": spec.caveat, **record}, folder / paths.TRAINING_LOG)
            checkpoint.remove()
