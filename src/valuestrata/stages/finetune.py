"""Fine-tune a model with LoRA on the modal answers of a train split."""

import argparse

from valuestrata import io
from valuestrata.specs import Finetune, from_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Inputs and outputs of the stage."""
    parser.add_argument("--spec", required=True)
    parser.add_argument("--pairs", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--output", required=True, help="folder of the adapter")


def run(arguments: argparse.Namespace) -> None:
    """Train, then write the adapter and its log."""
    from valuestrata.models import lora, runtime, transformers

    spec = from_json(Finetune, arguments.spec)
    runtime.prepare(arguments.threads)
    chat = transformers.load_chat(spec.model)
    data = lora.examples(io.read_table(arguments.pairs, "pairs"), chat, spec.template)
    network = transformers.load_network(spec.model)
    with io.replacing_folder(arguments.output) as folder:
        record = lora.finetune(spec, network, data, chat.pad, folder)
        io.write_json({"caveat": spec.caveat, **record}, folder / "training_log.json")
