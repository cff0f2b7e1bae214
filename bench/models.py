"""Measure scoring and training against other people's tools, on one model and in one run.

`make bench-models` prints the table and writes results/bench/models.json. docs/performance.md says
how to read it.
"""

import argparse
import copy
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import data, model_peers, questionnaire
from bench.model_peers import timed
from bench.questionnaire import Asked
from valuestrata.inference import runtime
from valuestrata.inference.chat import Chat
from valuestrata.inference.protocol import Sampling
from valuestrata.inference.transformers import TransformersBackend
from valuestrata.prefix import forests
from valuestrata.training import loop, shared_prefix
from valuestrata.training.schedules import OptimizerSettings

OUTPUT = data.ROOT / "results/bench/models.json"
CLOSE = 1e-5
"""How far ours may be from the fp64 reference: in nats, or of a gradient's norm."""
SAME_WORK = 1e-3
"""How far a peer may be from it, that it does the same work; its rounding is its own affair."""
RATE = 1e-4
LEAVING, OPEN = 16, 48
"""New tokens of a text that leaves the options, and of one that is written for itself."""
SCORED_TEXTS = "texts behind scores: a padded forward, then generate"
OPEN_TEXTS = "open texts: generate, sorted by length"
PACKAGES = ("torch", "transformers", "peft", "trl")
Row = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """How much of the work is done."""

    shared: int = 4  # personas, or questions if they come first: what prompts begin with
    each: int = (
        96  # prompts that begin with each; in the study 214, or all 98 if questions come first
    )
    part: int = 4  # a forward pass an option is timed on one prompt in so many
    grid: int = 8  # personas and questions of a training batch; two batches
    rounds: int = 2
    layers: int = questionnaire.LAYERS
    hidden: int = questionnaire.HIDDEN
    lessons: int = 28


QUICK = Size(shared=2, each=4, part=2, grid=2, rounds=1, layers=1, hidden=128, lessons=12)

FLOORS = {
    "transformers, one padded forward, full logits": (3.0, 1.35),
    "a forward pass an option, full logits": (12.0, 6.0),
    "lm-evaluation-harness, HF backend, loglikelihood": (3.0, 1.35),
    "generate + regex": (2.5, 1.35),
    "inspect_ai multiple_choice, hf": (3.0, 1.5),
    SCORED_TEXTS: (1.5, 1.2),
    OPEN_TEXTS: (1.1, 1.1),
    "training: TRL SFTTrainer as it comes": (4.0, 1.6),
    "training: TRL, checkpointing off": (2.8, 1.2),
    "training: HF Trainer, grouped by length": (2.8, 1.2),
}
"""Against -> the least ratio asked for, question first and persona first.

With room below what is measured: on a busy machine ratios move by a fifth.
"""


def main() -> None:
    """Run everything; with --quick a small part, to see that it runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes; the ratios mean nothing")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    for tool in ("lm-eval", "inspect"):
        parser.add_argument(
            f"--{tool}-python", default=sys.executable, help=f"interpreter that has {tool}"
        )
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    runtime.prepare(1)
    size = QUICK if arguments.quick else Size()
    pythons = {"lm_eval": arguments.lm_eval_python, "inspect_ai": arguments.inspect_python}
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench.make(size, Path(scratch), pythons)
        rows = [row for order in questionnaire.ORDERS for row in bench.scoring(order)]
        rows += [row for order in questionnaire.ORDERS for row in bench.texts(order)]
        rows += [row for order in questionnaire.ORDERS for row in bench.training(order)]
    versions = {name: importlib.metadata.version(name) for name in PACKAGES if installed(name)}
    say(rows)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    rows = [{**row, "threads": 1, "versions": versions} for row in rows]
    arguments.output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if not all(row["equal"] for row in rows):
        sys.exit("the answers are not equal where it says NO")


def installed(name: str) -> bool:
    """Whether a package is there."""
    return importlib.util.find_spec(name) is not None


@dataclass
class Run:
    """One tool's work: what it is called, how it is done, what it reads.

    check: whether what came out is `equal`, and what else is known of it.
    share: the part of the work that is done; the time is scaled up by it.
    """

    against: str
    work: Callable[[int], tuple[float, Any]]
    check: Callable[[Any], Row]
    tokens: int
    share: float = 1.0


@dataclass
class Bench:
    """A model that answers in the form asked for, and what is measured with it."""

    size: Size
    chat: Chat
    network: Any
    folder: Path
    pythons: dict[str, str]

    @classmethod
    def make(cls, size: Size, scratch: Path, pythons: dict[str, str]) -> "Bench":
        """Make the model, teach it and save it."""
        chat = questionnaire.make_chat()
        network = questionnaire.make_network(chat, size.layers, size.hidden)
        questionnaire.teach(network, chat, size.lessons)
        folder = questionnaire.save(network, chat, scratch / "model")
        return cls(size, chat, network, folder, pythons)

    # Scoring

    def scoring(self, order: str) -> list[Row]:
        """Text and log p of every option, of the same prompts."""
        first, second = self.size.shared, self.size.each
        counts = (first, second) if order == "persona" else (second, first)
        asked = questionnaire.ask(order, *counts)
        some = asked[:: self.size.part]
        model = self.model()
        requests = [one.request for one in asked]
        replies = model.score(requests, model_peers.MOST)
        texts = [model_peers.answer_in(str(reply.text)) for reply in replies]
        whole = [reply.logprobs for reply in replies]
        upto = self.without_terminators(asked)
        part = slice(None, None, 3 * self.size.part)
        exactly = exact(self.network)
        exact_upto = model_peers.one_forward(exactly, self.chat, asked[part], 16)
        exact_whole = model_peers.forward_an_option(exactly, self.chat, asked[part], 16)
        prompts = [len(self.chat.prompt(a.first, a.second).ids) for a in asked]
        our_tokens = len(forests.build_forest(self.items(asked)))

        def ours(_: int) -> tuple[float, Any]:
            return timed(lambda: model.score(requests, model_peers.MOST))

        def local(work: Callable[..., Any], asked: Sequence[Asked]) -> Callable[[int], Any]:
            return lambda turn: timed(
                lambda: work(self.network, self.chat, asked, (16, 64)[turn % 2])
            )

        runs = [
            Run(
                "transformers, one padded forward, full logits",
                local(model_peers.one_forward, asked),
                lambda results: judged(upto[part], results[part], exact_upto),
                sum(prompts) + 2 * len(asked),
            ),
            Run(
                "a forward pass an option, full logits",
                local(model_peers.forward_an_option, some),
                lambda results: judged(whole[part], results[::3], exact_whole),
                sum((n + 4) * len(a.codes) for n, a in zip(prompts, asked, strict=True)),
                len(some) / len(asked),
            ),
            Run(
                "generate + regex",
                local(model_peers.write, asked),
                lambda results: {"equal": results == texts},
                sum(prompts) + 3 * len(asked),
            ),
        ]
        runs += self.children(
            asked, lambda theirs: judged(upto[part], theirs[part], exact_upto), prompts
        )
        return self.compared(order, ours, our_tokens, runs)

    def model(self, network: Any = None) -> TransformersBackend:
        """Our backend, on the network at hand or another."""
        model = TransformersBackend(questionnaire.config(self.folder), self.chat)
        model._network = network or self.network
        return model

    def items(self, asked: Sequence[Asked]) -> list[forests.PrefixItem]:
        """Prompts with their whole replies."""
        return [
            forests.PrefixItem(
                self.chat.prompt(a.first, a.second).ids,
                tuple(map(self.chat.encode_reply, a.replies)),
            )
            for a in asked
        ]

    def without_terminators(self, asked: Sequence[Asked]) -> list[Any]:
        """[C] our log p of each code's token after "Answer:", which is what some peers give."""
        items = self.items(asked)
        begun = [
            forests.PrefixItem(
                (*item.prompt, *item.options[0][:-2]), tuple(o[-2:-1] for o in item.options)
            )
            for item in items
        ]
        return [one.logprobs for one in self.model().score_items(begun, 1)]

    def children(
        self,
        asked: Sequence[Asked],
        judge: Callable[[Sequence[Any]], Row],
        prompts: Sequence[int],
    ) -> list[Run]:
        """lm-evaluation-harness and inspect, where they are installed; `judge` of log p."""
        decode = self.chat.tokenizer.decode
        jobs: dict[str, list[Any]] = {
            "lm_eval": [
                (
                    decode([*item.prompt, *item.options[0][:-2]]),
                    [decode(o[-2:-1]) for o in item.options],
                )
                for item in self.items(asked)
            ],
            "inspect_ai": [
                (a.first, a.second, [f"option {code}" for code in a.codes]) for a in asked
            ],
        }

        def child(tool: str) -> Callable[[int], tuple[float, Any]]:
            def work(turn: int) -> tuple[float, Any]:
                job = {
                    "model": str(self.folder),
                    "asked": jobs[tool],
                    "size": (32, 64)[turn % 2],
                    "logs": str(self.folder / "logs"),
                }
                results = in_child(self.pythons[tool], tool, job, self.folder)
                return results.pop("seconds"), results

            return work

        runs = [
            Run(
                "lm-evaluation-harness, HF backend, loglikelihood",
                child("lm_eval"),
                lambda results: judge(results["logprobs"]),
                sum(prompts) + 2 * len(asked),
            ),
            Run(
                "inspect_ai multiple_choice, hf",
                child("inspect_ai"),
                lambda results: {"equal": self.same_texts(results["texts"])},
                0,
            ),
        ]
        kept = []
        for run, tool in zip(runs, jobs, strict=True):
            if has(self.pythons[tool], tool):
                kept.append(run)
            else:
                sys.stdout.write(f"{tool} is not installed: left out\n")
        return kept

    def same_texts(self, texts: Sequence[Sequence[str]]) -> bool:
        """Whether we write what inspect's model wrote, from the messages it showed."""
        model = self.model()
        ours = model.generate([(a, b) for a, b, _ in texts], Sampling(model_peers.MOST))
        return [c.text for c in ours] == [text.strip() for _, _, text in texts]

    # Texts

    def texts(self, order: str) -> list[Row]:
        """Texts of a network that was taught nothing, so that it leaves the options and goes on.

        Once behind scores, of 16 tokens, and once for themselves, of 48.
        """
        first, second = self.size.shared, self.size.each // 2
        counts = (first, second) if order == "persona" else (second, first)
        asked = questionnaire.ask(order, *counts)
        network = questionnaire.make_network(self.chat, self.size.layers, self.size.hidden)
        model = self.model(network)
        requests = [one.request for one in asked]
        messages = [request.messages for request in requests]
        model.score(requests[:2], LEAVING)  # each looks at the network first
        model.generate(messages[:2], Sampling(OPEN))

        def score(_: int) -> tuple[float, Any]:
            return timed(lambda: model.score(requests, LEAVING))

        def generate(_: int) -> tuple[float, Any]:
            return timed(lambda: model.generate(messages, Sampling(OPEN)))

        def forward_and_generate(turn: int) -> tuple[float, Any]:
            size = (16, 64)[turn % 2]

            def work() -> list[str]:
                model_peers.one_forward(network, self.chat, asked, size)
                return model_peers.generate(network, self.chat, asked, LEAVING, size)

            return timed(work)

        def generate_alone(turn: int) -> tuple[float, Any]:
            size = (16, 64)[turn % 2]
            return timed(lambda: model_peers.generate(network, self.chat, asked, OPEN, size))

        def same(ours: list[Any]) -> Callable[[Any], Row]:
            texts = [reply.text for reply in ours]
            return lambda theirs: {"equal": theirs == texts}

        scored, written = score(0)[1], generate(0)[1]
        rows = self.compared(
            order, score, 0, [Run(SCORED_TEXTS, forward_and_generate, same(scored), 0)]
        )
        alone = Run(OPEN_TEXTS, generate_alone, same(written), 0)
        return rows + self.compared(order, generate, 0, [alone])

    # Training

    def training(self, order: str) -> list[Row]:
        """One epoch of LoRA over the same examples, in steps of the same size."""
        side = self.size.grid
        asked = questionnaire.ask(order, side, 2 * side)
        examples = questionnaire.examples(asked, self.chat)
        batch = side * side
        objective = shared_prefix.SharedPrefixObjective(self.chat.pad)

        def ours(_: int) -> tuple[float, Any]:
            tuned = self.adapted()
            parts = shared_prefix.make_batches(examples, batch, 1, 1)
            settings = OptimizerSettings(RATE, 2, 0.0, 0.0, 1.0)
            return timed(lambda: loop.train(tuned, parts, settings, objective))

        first = next(shared_prefix.make_batches(examples, batch, 1, 1))
        tuned = self.adapted(moved=True)
        losses, _ = objective.losses(tuned, objective.collate(first))
        gradient = gradients(tuned, losses.mean())

        def trainer(make: Callable[..., Any], **more: Any) -> Run:
            def built(network: Any, examples: Sequence[Any], passes: int) -> Any:
                arguments = model_peers.settings(self.folder / "trained", RATE, batch, passes)
                return make(network, self.chat, examples, arguments, **more)

            def work(turn: int) -> tuple[float, Any]:
                # one pass a step pads to the longest of all, four less; the better one counts
                peer = built(self.adapted(), examples, (1, 4)[turn % 2])
                return timed(peer.train)

            def check(_: Any) -> Row:
                peer = built(self.adapted(moved=True), first, 1)
                inputs = peer.data_collator([peer.train_dataset[i] for i in range(len(first))])
                exactly = exact(self.adapted(moved=True))
                truth = model_peers.mean_loss(exactly, inputs)
                expected = gradients(exactly, truth)
                with torch.enable_grad():
                    loss = peer.compute_loss(peer.model, dict(inputs))
                theirs = gradients(peer.model, loss)
                errors = relative(gradient, expected), relative(theirs, expected)
                same = abs(float(loss.detach() / truth.detach()) - 1) <= SAME_WORK
                return {"equal": same and errors[0] <= CLOSE, "errors": errors}

            return Run("", work, check, sum(len(e.prompt) + len(e.reply) for e in examples))

        runs = {"training: HF Trainer, grouped by length": trainer(model_peers.hf_trainer)}
        if installed("trl"):
            runs["training: TRL SFTTrainer as it comes"] = trainer(model_peers.trl_trainer)
            runs["training: TRL, checkpointing off"] = trainer(
                model_peers.trl_trainer, gradient_checkpointing=False
            )
        else:
            sys.stdout.write("trl is not installed: left out\n")
        for against, run in runs.items():
            run.against = against
        our_tokens = questionnaire.shared_prefix_tokens(
            list(shared_prefix.make_batches(examples, batch, 1, 1)), self.chat.pad
        )
        return self.compared(order, ours, our_tokens, list(runs.values()))

    def adapted(self, moved: bool = False) -> Any:
        """The network with a fresh adapter, or one that has moved so that no gradient is 0."""
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        torch.manual_seed(1)
        network = AutoModelForCausalLM.from_pretrained(self.folder, dtype=torch.float32)
        settings = LoraConfig(
            r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        tuned = get_peft_model(network, settings)
        if moved:
            with torch.no_grad():
                for parameter in tuned.parameters():
                    if parameter.requires_grad:
                        parameter += 0.01 * torch.randn_like(parameter)
        return tuned

    # Both

    def compared(
        self, order: str, ours: Callable[[int], tuple[float, Any]], our_tokens: int, runs: list[Run]
    ) -> list[Row]:
        """Take turns, so that a busy machine slows all; the least CPU seconds of each count.

        Each has as many tries as there are rounds; a peer has another batch size in each.
        """
        best = [float("inf")] * (len(runs) + 1)
        results: list[Any] = [None] * len(runs)
        for turn in range(self.size.rounds):
            best[0] = min(best[0], ours(turn)[0])
            for i, run in enumerate(runs):
                seconds, results[i] = run.work(turn)
                best[1 + i] = min(best[1 + i], seconds / run.share)
                tell(f"{order} first, turn {turn + 1}: {seconds:.1f}s, {run.against}")
        return [
            {
                "against": run.against,
                "order": order,
                "ours_cpu_s": best[0],
                "theirs_cpu_s": seconds,
                "ratio": seconds / best[0],
                "at_least": FLOORS[run.against][questionnaire.ORDERS.index(order)],
                **run.check(answer),
                "our_tokens": our_tokens,
                "their_tokens": run.tokens or None,
                "scaled_from": None if run.share == 1 else f"{run.share:.0%} of the prompts",
            }
            for run, seconds, answer in zip(runs, best[1:], results, strict=True)
        ]


def exact(network: Any) -> Any:
    """A copy of a network that computes in fp64, its norms too, which transformers has in fp32."""
    network = copy.deepcopy(network).double()
    for name, module in list(network.named_modules()):
        if type(module).__name__.endswith("RMSNorm"):
            norm = torch.nn.RMSNorm(len(module.weight), module.variance_epsilon)
            norm.weight = module.weight
            network.set_submodule(name, norm)
    return network


def judged(ours: Sequence[Any], theirs: Sequence[Any], expected: Sequence[Any]) -> Row:
    """Whether our log-probabilities [C] of some prompts are the exact ones, and both errors.

    The likeliest option must be the exact one, too, where the second is not as near as an error.
    """
    errors = tuple(
        max(float(np.abs(a - b).max()) for a, b in zip(side, expected, strict=True))
        for side in (ours, theirs)
    )
    modes = all(b.max() - b[np.argmax(a)] <= 2 * CLOSE for a, b in zip(ours, expected, strict=True))
    return {"equal": errors[0] <= CLOSE and errors[1] <= SAME_WORK and modes, "errors": errors}


def gradients(tuned: Any, loss: torch.Tensor) -> torch.Tensor:
    """All of an adapter's gradients in one row."""
    named = sorted((n, p) for n, p in tuned.named_parameters() if p.requires_grad)
    results = torch.autograd.grad(loss, [p for _, p in named])
    return torch.cat([g.flatten() for g in results]).double()


def relative(theirs: torch.Tensor, ours: torch.Tensor) -> float:
    """|theirs - ours| / |ours|."""
    return float((theirs - ours).norm() / ours.norm())


def has(python: str, package: str) -> bool:
    """Whether an interpreter has a package."""
    asks = f"import importlib.util as u, sys; sys.exit(u.find_spec({package!r}) is None)"
    return subprocess.run([python, "-c", asks], check=False).returncode == 0


def in_child(python: str, tool: str, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What a tool answers in a process of its peer."""
    given, result = folder / "job.json", folder / "result.json"
    given.write_text(json.dumps(job), encoding="utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(data.ROOT), str(data.ROOT / "src")]),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    command = [python, "-W", "ignore", "-m", "bench.model_peers", tool, str(given), str(result)]
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{tool} failed: {done.stderr[-2000:]}")
    return json.loads(result.read_text(encoding="utf-8"))


def tell(text: str) -> None:
    """One line of progress; the whole run takes half an hour."""
    sys.stderr.write(f"{text}\n")


def say(rows: Sequence[Row]) -> None:
    """Print the table."""
    lines = [
        f"{'against':50} {'order':8} {'ours':>7} {'theirs':>8} {'ratio':>6} {'asked':>6} equal"
    ]
    for row in rows:
        more = f"{row['our_tokens']:,} / {row['their_tokens']:,}" if row["their_tokens"] else ""
        if "errors" in row:
            more += "; " + " / ".join(f"{error:.1e}" for error in row["errors"])
        lines.append(
            f"{row['against']:50} {row['order']:8} {row['ours_cpu_s']:6.1f}s "
            f"{row['theirs_cpu_s']:7.1f}s {row['ratio']:6.2f} {row['at_least']:6.2f} "
            f"{'yes' if row['equal'] else 'NO ':5} {more}".rstrip()
        )
    lines.append(
        "CPU seconds on one thread; ours / theirs: tokens, then errors against fp64, of log p in "
        "nats or of the gradient as a share of its norm"
    )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
