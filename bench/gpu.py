"""How near a GPU's limit scoring, training and the stages run, beside other people's tools.

`make bench-gpu` makes random weights in the shape of Llama-3.1-8B on the device, measures the
device's own bf16 matrix peak first, prints a table and writes results/bench/gpu.json, row by row:
what is measured is kept whatever comes after. Without a GPU it says so and ends.
docs/performance.md says how to read it.
"""

import argparse
import importlib.metadata
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from bench import data, gpu_stages, gpu_work, questionnaire
from bench.gpu_work import SHAPES, Row, Shape, Unit
from valuestrata.inference import runtime
from valuestrata.inference.chat import Chat

OUTPUT = data.ROOT / "results/bench/gpu.json"
PACKAGES = ("torch", "transformers", "peft", "trl", "vllm")
PARTS = ("work", "stages")
AIMS = {"scoring": 0.55, "training": 0.45}
"""Work -> the utilisation aimed at on an H100 or H200, 8B, batches of 32."""
SMALL_BATCH = 8
SMALL_AIM = 0.20
"""The same in training at the paper's batch size."""


def main() -> None:
    """Measure, and print and write each row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="llama-8b")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=PARTS,
        help="steps and prompts within this process; whole processes",
    )  # fmt: skip
    parser.add_argument(
        "--minutes", type=float, default=float("inf"),
        help="begin nothing more after so long; what matters most comes first",
    )  # fmt: skip
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.stdout.write("bench-gpu: no GPU here, nothing measured\n")
        return
    deadline = time.monotonic() + 60 * arguments.minutes
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    runtime.prepare(torch.get_num_threads())
    where, shape = torch.device(arguments.device), SHAPES[arguments.shape]
    peak = gpu_work.matrix_peak(where, shape.matrix)
    about = {
        "device": torch.cuda.get_device_name() if where.type == "cuda" else "CPU",
        "shape": arguments.shape,
        "peak_tflops": peak / 1e12,
        "versions": {name: installed(name) for name in PACKAGES},
    }
    chat = questionnaire.make_chat()
    gates = gpu_work.gates(chat, shape, where)
    say(head(about, gates))
    rows: list[Row] = []
    for row in measure(arguments.parts, chat, shape, where, deadline):
        rows.append(measured(row, peak))
        say([line(rows[-1])])
        write(arguments.output, {**about, "gates": gates, "rows": rows})
    if not all(gate.get("equal", True) for gate in gates):
        sys.exit("the answers are not equal where it says NOT EQUAL")


def measure(
    parts: Sequence[str], chat: Chat, shape: Shape, where: torch.device, deadline: float
) -> Iterator[Row]:
    """The rows of each part, what matters most first; those after the deadline are left out."""
    network = gpu_work.make_network(shape, where)
    with tempfile.TemporaryDirectory() as folder:
        if "work" in parts:
            yield from until(deadline, gpu_work.units(network, chat, shape, Path(folder)))
        if "stages" in parts:
            weights = Path(folder) / "weights"

            def save() -> Row:
                questionnaire.save(network, chat, weights)
                return {}

            unsaved = gpu_work.attempt(save)
            del network  # the stages and vLLM have the device to themselves
            unsaved |= gpu_work.attempt(lambda: gpu_work.free(where) or {})
            units = gpu_stages.units(shape, Path(folder), weights, where)
            if unsaved:
                units = [replace(unit, measure=lambda: unsaved) for unit in units]
            yield from until(deadline, units)


def until(deadline: float, units: Sequence[Unit]) -> Iterator[Row]:
    """A row for each unit."""
    for unit in units:
        is_late = time.monotonic() > deadline
        more = {"skipped": "the minutes were over"} if is_late else gpu_work.attempt(unit.measure)
        yield {**unit.about, **more}


def write(path: Path, content: Row) -> None:
    """Whole, or as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def installed(name: str) -> str | None:
    """A package's version, None where it is not there."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def measured(row: Row, peak: float) -> Row:
    """A row with its utilisation of the device's peak, on unique tokens and on plain ones."""
    used = {
        f"utilisation_{kind}": row[f"flop_{kind}"] / peak
        for kind in ("unique", "plain")
        if row.get(f"flop_{kind}") is not None
    }
    aim = SMALL_AIM if row.get("batch") == SMALL_BATCH else AIMS.get(row["work"])
    return {**row, **used, "at_least": aim if row["tool"] == gpu_work.OURS else None}


def say(lines: Sequence[str]) -> None:
    """Print lines, and let them be seen at once."""
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def head(about: Row, gates: Sequence[Row]) -> list[str]:
    """What stands above the rows: where they were measured, and how right ours is there."""
    packages = ", ".join(f"{k} {v}" for k, v in about["versions"].items() if v)
    return [
        f"{about['device']}, {about['shape']}, random weights, bf16; matrix peak "
        f"{about['peak_tflops']:.1f} TFLOP/s; {packages}",
        *map(gate_line, gates),
        "unique, plain: share of the peak by the tokens read where each shared beginning counts "
        "once, and by all tokens of the prompts; GiB: peak memory; kernels, waits: of one step",
        f"{'work':9} {'tool':40} {'order':9} {'batch':>5} {'samples/s':>9} {'unique':>7} "
        f"{'plain':>7} {'aim':>4} {'GiB':>6} {'kernels':>7} {'waits':>5}",
    ]


def gate_line(gate: Row) -> str:
    """A gate."""
    if "skipped" in gate:
        return f"gate: {gate['work']}, left out: {gate['skipped']}"
    return (
        f"gate: {gate['work']}, {'equal' if gate['equal'] else 'NOT EQUAL'}: error against fp64 "
        f"{gate['ours']:.1e}, {gate['unit']}; a plain pass' own {gate['plain']:.1e}"
    )


def line(row: Row) -> str:
    """A row."""
    tool = ", ".join(filter(None, (row["tool"], row.get("layout"))))
    begin = f"{row['work']:9} {tool:40} {row['order'] or '':9} {row['batch'] or '':>5}"
    if row.get("skipped"):
        return f"{begin} left out: {row['skipped']}"

    def share(name: str, width: int) -> str:
        return f"{row[name]:{width}.1%}" if row.get(name) is not None else " " * width

    rate = f"{row['samples_per_s']:9.1f}"
    gib = f"{row['peak_gib']:6.1f}" if row.get("peak_gib") is not None else " " * 6
    counts = f"{row.get('kernels', ''):>7} {row.get('waits', ''):>5}"
    aim = f"{row['at_least']:4.0%}" if row["at_least"] else " " * 4
    more = f"  {row['seconds']:.0f} s in all" if row["work"] in gpu_stages.STAGES else ""
    more += f", {row['first_s']:.0f} s to the first replies" if row.get("first_s") else ""
    more += "" if row.get("settled", True) else "  (step times never settled)"
    return (
        f"{begin} {rate} {share('utilisation_unique', 7)} {share('utilisation_plain', 7)} {aim} "
        f"{gib} {counts}{more}"
    ).rstrip()


if __name__ == "__main__":
    main()
