"""How near a GPU's limit training and scoring run: tokens/s and model FLOP utilisation.

`make bench-gpu` makes random weights in the shape of Llama-3.1-8B on the device, measures the
device's own bf16 matrix peak first, prints a table and writes results/bench/gpu.json. Without a GPU
it says so and ends. docs/performance.md says how to read it.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from bench import data, questionnaire
from valuestrata.inference import runtime
from valuestrata.inference.chat import Chat
from valuestrata.inference.transformers import TransformersBackend
from valuestrata.prefix import forests
from valuestrata.training import completion, loop, shared_prefix
from valuestrata.training.objective import Objective
from valuestrata.training.schedules import OptimizerSettings

OUTPUT = data.ROOT / "results/bench/gpu.json"
WARM = 3
"""Steps before the clock starts."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """A network's sizes, and how much is asked of it."""

    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    personas: int
    questions: int
    batch: int
    max_batch_tokens: int
    matrix: int


SHAPES = {
    "llama-8b": Shape(4096, 14336, 32, 32, 8, 128256, 48, 107, 32, 16384, 8192),
    "tiny": Shape(64, 128, 2, 2, 1, questionnaire.VOCABULARY, 8, 8, 8, 1024, 256),
}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="llama-8b")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.stdout.write("bench-gpu: no GPU here, nothing measured\n")
        return
    runtime.prepare(torch.get_num_threads())
    where, shape = torch.device(arguments.device), SHAPES[arguments.shape]
    peak = matrix_peak(where, shape.matrix)
    chat = questionnaire.make_chat()
    network = make_network(shape, where)
    rows = [row for order in questionnaire.ORDERS for row in scoring(network, chat, shape, order)]
    tuned = adapted(network)
    for order in questionnaire.ORDERS:
        rows += training(tuned, chat, shape, order)
    rows = [
        {**row, "utilisation": row["flop"] / row["seconds"] / peak, "at_least": least}
        for row in rows
        for least in [0.55 if row["work"] == "scoring" else 0.45]
    ]
    about = {
        "device": torch.cuda.get_device_name() if where.type == "cuda" else "CPU",
        "shape": arguments.shape,
        "peak_tflops": peak / 1e12,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    say(about, rows)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n", "utf-8")


def finished(where: torch.device) -> float:
    """The clock, once the device has done all that was asked of it."""
    if where.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def matrix_peak(where: torch.device, size: int, repeats: int = 20) -> float:
    """FLOP/s of large bf16 matrix products, the best of five runs."""
    one = torch.randn(size, size, device=where, dtype=torch.bfloat16)
    other = torch.randn(size, size, device=where, dtype=torch.bfloat16)
    best = float("inf")
    for _ in range(5):
        start = finished(where)
        for _ in range(repeats):
            torch.mm(one, other)
        best = min(best, finished(where) - start)
    return 2 * size**3 * repeats / best


def make_network(shape: Shape, where: torch.device) -> Any:
    """Random bf16 weights, made on the device."""
    settings = transformers.LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=8192,
        tie_word_embeddings=False,
        dtype="bfloat16",
    )
    torch.manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with where:
            network = transformers.LlamaForCausalLM(settings)
    finally:
        torch.set_default_dtype(torch.float32)
    return network.eval()


def linear_parameters(network: Any) -> int:
    """Weights that every token meets: all linear layers but the output layer, adapters left out."""
    output = network.get_output_embeddings()
    return sum(
        module.weight.numel()
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not output and "lora_" not in name
    )


def flop(network: Any, tokens: int, logits: int, passes: int) -> float:
    """Model FLOP: two a weight, token and pass; the output layer's where logits are wanted.

    passes: 1 of scoring; 2 of training, whose frozen weights pass a gradient on and get none.
    Attention and adapters are left out, so utilisation is told too low rather than too high.
    """
    head = network.get_output_embeddings().weight.numel()
    return 2.0 * passes * (linear_parameters(network) * tokens + head * logits)


def scoring(network: Any, chat: Chat, shape: Shape, order: str) -> list[Row]:
    """Every option of every prompt in trees of shared prefixes."""
    asked = questionnaire.ask(order, shape.personas, shape.questions)
    items = [
        forests.PrefixItem(
            chat.prompt(a.first, a.second).ids, tuple(map(chat.encode_reply, a.replies))
        )
        for a in asked
    ]
    config = questionnaire.config(data.ROOT).replace(max_batch_tokens=shape.max_batch_tokens)
    model = TransformersBackend(config, chat)
    model._network = network
    model.score_items(items[: len(items) // 8], 1)
    parts = forests.pack(items, config.max_batch_tokens)
    grown = [forests.build_forest([items[i] for i in part]) for part in parts]
    start = finished(network.device)
    model.score_items(items, 1)
    seconds = finished(network.device) - start
    nodes = sum(map(len, grown))
    return [
        {
            "work": "scoring",
            "order": order,
            "layout": "tree",
            "prompts": len(items),
            "plain_tokens": sum(len(item.prompt) for item in items),
            "tokens": nodes,
            "seconds": seconds,
            "flop": flop(network, nodes, sum(len(set(f.before)) for f in grown), 1),
        }
    ]


def adapted(network: Any) -> Any:
    """A fresh LoRA of the paper's likely size on every linear layer."""
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(network, settings)


def training(tuned: Any, chat: Chat, shape: Shape, order: str) -> list[Row]:
    """Steps of the loop that fine-tunes, on plain batches and on batches of shared prefixes."""
    data_ = questionnaire.examples(questionnaire.ask(order, shape.personas, shape.questions), chat)
    rows = []
    layouts: Iterable[tuple[str, Any, Objective]] = (
        ("plain", completion.make_batches, completion.CompletionObjective(chat.pad)),
        (
            "shared_prefix",
            shared_prefix.make_batches,
            shared_prefix.SharedPrefixObjective(chat.pad),
        ),
    )
    for layout, deal, objective in layouts:
        parts = list(deal(data_, shape.batch, 1, 1))[: WARM + 20]
        settings = OptimizerSettings(1e-5, len(parts), 0.1, 0.0, 1.0)
        history = loop.train(tuned, iter(parts), settings, objective)[WARM:]
        counted = parts[WARM:]
        tokens = sum(record["tokens"] for record in history)
        replies = sum(len(e.reply) for part in counted for e in part)
        rows.append(
            {
                "work": "training",
                "order": order,
                "layout": layout,
                "prompts": sum(map(len, counted)),
                "plain_tokens": sum(len(e.prompt) + len(e.reply) for p in counted for e in p),
                "tokens": tokens,
                "seconds": sum(record["seconds"] for record in history),
                "flop": flop(tuned, tokens, replies, 2),
            }
        )
    return rows


def say(about: Row, rows: Sequence[Row]) -> None:
    """Print the table."""
    lines = [
        f"{about['device']}, {about['shape']}, random weights, bf16, torch {about['torch']}; "
        f"matrix peak {about['peak_tflops']:.1f} TFLOP/s",
        f"{'work':9} {'order':9} {'layout':13} {'prompts/s':>9} {'tokens/s':>9} {'used':>6}  aim",
    ]
    for row in rows:
        lines.append(
            f"{row['work']:9} {row['order']:9} {row['layout']:13} "
            f"{row['prompts'] / row['seconds']:9.1f} {row['tokens'] / row['seconds']:9.0f} "
            f"{row['utilisation']:6.1%} {row['at_least']:4.0%}"
        )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
