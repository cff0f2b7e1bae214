"""What bench/gpu.py measures within its own process: scoring and training, ours and others'.

Rates are medians of blocks of steps or prompts, once these take equally long. FLOP count two a
weight, token and pass, and four in training, whose frozen weights pass a gradient on and get none;
attention and adapters are left out, so utilisation is told too low rather than too high.
"""

import gc
import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers

from bench import data, model_peers, models, questionnaire
from bench.counts import counted
from bench.questionnaire import Asked
from valuestrata.inference.chat import Chat
from valuestrata.inference.protocol import Sampling
from valuestrata.inference.transformers import TransformersBackend
from valuestrata.prefix import attention, flex, forests, forward
from valuestrata.study.recipes import SFT
from valuestrata.training import completion, loop, lora, shared_prefix
from valuestrata.training.compiled import compile_layers
from valuestrata.training.examples import Pair
from valuestrata.training.objective import Objective
from valuestrata.training.schedules import OptimizerSettings

RATE = 1e-5
BLOCKS = 10
"""Blocks that a measured work is timed in; loop.train reads its steps in as many."""
NEAR, FEWEST = 0.1, 3
"""Blocks have settled once so many of them are within this of their median."""
ROOM = 4
"""How many times a plain pass' own error ours may have: both are the dtype's rounding."""
OURS = "valuestrata"
ANSWER_TOKENS, TEXT_TOKENS = 16, 48
"""Of an answer that is none of the options, and of an open-ended text."""
RECIPE = SFT(method="sft", split="train", learning_rate=RATE)
"""LoRA of rank 8 on every linear layer."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Unit:
    """Something to measure: what is told of it, and how it is done.

    `measure` gives what else its row holds, `skipped` in place of that where it cannot be done.
    """

    about: Row
    measure: Callable[[], Row]


@dataclass(frozen=True)
class Shape:
    """A network's sizes, and how much is asked of it.

    personas, questions: of the prompts scored and learned; batches: sizes of a training step;
    steps: of a training; texts: written; pairs: trained on and asked by the stages.
    """

    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    personas: int
    questions: int
    batches: tuple[int, ...]
    steps: int
    max_batch_tokens: int
    matrix: int
    texts: int
    pairs: tuple[int, int]


SHAPES = {
    "llama-8b": Shape(
        4096, 14336, 32, 32, 8, 128256, 48, 107, (32, 8), 40, 16384, 8192, 2000, (10700, 10177)
    ),
    "tiny": Shape(64, 128, 2, 2, 1, questionnaire.VOCABULARY, 4, 4, (8, 4), 4, 1024, 64, 8, (8, 8)),
}


def units(network: Any, chat: Chat, shape: Shape, scratch: Path) -> list[Unit]:
    """All that is measured of a network, what matters most first: time may be short."""
    study, other = reversed(questionnaire.ORDERS)
    large, small = shape.batches
    return [
        *scoring(network, chat, shape, study),
        *training(network, chat, shape, study, large),
        *scoring(network, chat, shape, other),
        *texts(network, chat, shape, study),
        *training(network, chat, shape, study, small),
        *trainers(network, chat, shape, study, large, scratch),
        *training(network, chat, shape, other, large),
        *trainers(network, chat, shape, study, small, scratch),
        *trainers(network, chat, shape, other, large, scratch),
        *training(network, chat, shape, other, small),
        *trainers(network, chat, shape, other, small, scratch),
    ]


def attempt(measure: Callable[[], Row]) -> Row:
    """What is measured, or why it is not: what fails must not end the measuring."""
    try:
        return measure()
    except (Exception, SystemExit) as error:  # other people's engines may want to end the process
        return {"skipped": f"failed: {forward.first_line(error)}"}


# The device ----------------------------------------------------------------------------------


def finished(where: torch.device) -> float:
    """The clock, once the device has done all that was asked of it."""
    if where.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def free(where: torch.device) -> None:
    """Give back what nobody holds, and count the peak of memory anew."""
    gc.collect()
    if where.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gib(where: torch.device) -> float | None:
    """GiB that tensors took at most since `free`; None on a CPU."""
    return torch.cuda.max_memory_allocated() / 2**30 if where.type == "cuda" else None


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


def settled(rates: Sequence[float]) -> tuple[float, bool]:
    """The median rate of the blocks after a warm-up, and whether they settled at all.

    >>> settled([1.0, 5.0, 9.6, 10.0, 10.4])
    (10.0, True)
    >>> settled([1.0, 2.0, 4.0, 8.0])
    (4.0, False)
    """
    for start in range(len(rates) - FEWEST + 1):
        middle = median(rates[start:])
        if all(abs(rate / middle - 1) <= NEAR for rate in rates[start:]):
            return middle, True
    return median(rates[-FEWEST:]), False


def blocks(work: Sequence[Any], do: Callable[[Sequence[Any]], Any], where: torch.device) -> Row:
    """Samples a second of some work done in blocks, and the most memory that it took."""
    free(where)
    rates, size = [], -(-len(work) // BLOCKS)
    for start in range(0, len(work), size):
        part, begun = work[start : start + size], finished(where)
        do(part)
        rates.append(len(part) / (finished(where) - begun))
    rate, is_settled = settled(rates)
    return {"samples_per_s": rate, "settled": is_settled, "peak_gib": peak_gib(where)}


# The network ---------------------------------------------------------------------------------


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


def flop(network: Any, tokens: float, logits: float, passes: int) -> float:
    """Model FLOP of some tokens; `logits`: how many of them meet the output layer; passes: 1 or 2.

    One pass of scoring; two of training.
    """
    head = network.get_output_embeddings().weight.numel()
    return 2.0 * passes * (linear_parameters(network) * tokens + head * logits)


def items_of(chat: Chat, asked: Sequence[Asked]) -> list[forests.PrefixItem]:
    """Prompts with their whole replies."""
    return [
        forests.PrefixItem(
            chat.prompt(a.first, a.second).ids, tuple(map(chat.encode_reply, a.replies))
        )
        for a in asked
    ]


def backend(network: Any, chat: Chat, shape: Shape) -> TransformersBackend:
    """Ours, on a network at hand."""
    config = questionnaire.config(data.ROOT).replace(max_batch_tokens=shape.max_batch_tokens)
    model = TransformersBackend(config, chat)
    model._network = network
    return model


# Scoring -------------------------------------------------------------------------------------


def scoring(network: Any, chat: Chat, shape: Shape, order: str) -> list[Unit]:
    """Every option of every prompt in trees of shared prefixes, and one padded forward."""
    items = items_of(chat, questionnaire.ask(order, shape.personas, shape.questions))
    # each block is a share of every beginning, as large as the whole is
    shared = sorted(items, key=lambda item: item.prompt)
    plain = sum(len(item.prompt) for item in items) / len(items)

    def ours() -> Row:
        model = backend(network, chat, shape)
        parts = forests.pack(shared, shape.max_batch_tokens)
        grown = [forests.build_forest([shared[i] for i in part]) for part in parts]
        nodes = sum(map(len, grown)) / len(items)
        kept = sum(len(set(forest.before.tolist())) for forest in grown) / len(items)
        row = blocks(shared, lambda part: model.score_items(list(part), 1), network.device)
        return row | {
            "flop_unique": flop(network, nodes, kept, 1) * row["samples_per_s"],
            "flop_plain": flop(network, plain, 1, 1) * row["samples_per_s"],
        }

    def theirs() -> Row:
        attention.restore(network)
        batches = model_peers.chunks([len(item.prompt) for item in items], shape.batches[0])
        row = blocks(
            batches,
            lambda part: padded_forward(
                network, [[items[i].prompt for i in batch] for batch in part], chat
            ),
            network.device,
        )
        row["samples_per_s"] *= len(items) / len(batches)
        return row | {"flop_plain": flop(network, plain, 1, 1) * row["samples_per_s"]}

    about: Row = {"work": "scoring", "order": order, "batch": None}
    return [
        Unit({**about, "tool": OURS, "layout": "gathered"}, ours),
        Unit({**about, "tool": OURS, "layout": "flex"}, partial(with_flex, network, ours)),
        Unit({**about, "tool": "transformers, padded, last logits"}, theirs),
    ]


def with_flex(network: Any, measure: Callable[[], Row]) -> Row:
    """What is measured of a network with FlexAttention, or why it is left out."""
    reason = flex.why_not(network)
    if reason:
        return {"skipped": f"forest_attention: flex: {reason}"}
    flex.use(network)
    try:
        return measure()
    finally:
        flex.leave(network)


@torch.inference_mode()
def padded_forward(network: Any, batches: Sequence[Sequence[Any]], chat: Chat) -> None:
    """The last logits of prompts of like length, padded at the left."""
    for prompts in batches:
        batch = model_peers.padded(prompts, chat.pad, left=True)
        batch = {name: tensor.to(network.device) for name, tensor in batch.items()}
        network(**batch, logits_to_keep=1, use_cache=False).logits[:, -1].float().cpu()


# Texts ---------------------------------------------------------------------------------------


def text_prompts(shape: Shape, order: str) -> list[Asked]:
    """What texts are written to, by ours and by vLLM."""
    return questionnaire.ask(order, shape.personas, shape.questions)[: shape.texts]


def texts(network: Any, chat: Chat, shape: Shape, order: str) -> list[Unit]:
    """Texts of a network that writes none of the options: after their scores, and open-ended."""
    asked = text_prompts(shape, order)
    items = items_of(chat, asked)

    def write(how: Callable[[TransformersBackend, Sequence[int]], Any]) -> Row:
        model = backend(network, chat, shape)
        row = blocks(range(len(asked)), lambda part: how(model, part), network.device)
        attention.restore(network)
        return row

    def score(model: TransformersBackend, part: Sequence[int]) -> None:
        model.score_items([items[i] for i in part], ANSWER_TOKENS)

    def generate(model: TransformersBackend, part: Sequence[int]) -> None:
        model.generate([asked[i].request.messages for i in part], Sampling(TEXT_TOKENS))

    about: Row = {"tool": OURS, "order": order, "batch": None}
    return [
        Unit({**about, "work": "answers", "layout": f"{ANSWER_TOKENS} tokens each"},
             partial(write, score)),
        Unit({**about, "work": "texts", "layout": f"{TEXT_TOKENS} tokens each"},
             partial(write, generate)),
    ]  # fmt: skip


# Training ------------------------------------------------------------------------------------


def layouts(pad: int) -> Iterator[tuple[str, Any, Objective, bool]]:
    """Name, how batches are dealt, what is learned, and whether FlexAttention reads it."""
    yield "plain", completion.make_batches, completion.CompletionObjective(pad), False
    shared = shared_prefix.SharedPrefixObjective(pad)
    yield "shared prefixes", shared_prefix.make_batches, shared, False
    yield "shared prefixes, flex", shared_prefix.make_batches, shared, True


def training(network: Any, chat: Chat, shape: Shape, order: str, batch: int) -> list[Unit]:
    """Steps of the loop that fine-tunes, on plain batches and on batches of shared prefixes.

    Shared prefixes by FlexAttention, too, and all once more with compiled layers, on a GPU.
    """
    about: Row = {"work": "training", "tool": OURS, "order": order, "batch": batch}
    return [
        Unit(
            {**about, "layout": layout + ", compiled" * is_compiled},
            partial(
                trained_anew, network, chat, shape, order, batch, deal, objective, is_flex,
                is_compiled,
            ),
        )
        for is_compiled in (False, True)
        for layout, deal, objective, is_flex in layouts(chat.pad)
    ]  # fmt: skip


def trained_anew(
    network: Any,
    chat: Chat,
    shape: Shape,
    order: str,
    batch: int,
    deal: Any,
    objective: Objective,
    is_flex: bool,
    is_compiled: bool,
) -> Row:
    """Steps over a fresh adapter; the network is afterwards as it was."""
    if is_compiled and network.device.type == "cpu":
        return {"skipped": "layers are compiled on a GPU alone"}
    learned = questionnaire.examples(
        questionnaire.ask(order, shape.personas, shape.questions), chat
    )
    dealt = list(deal(learned, batch, 1, 1))[: shape.steps]
    tuned = lora.add_lora(network, RECIPE)
    try:
        if is_compiled:
            compile_layers(tuned, learned, chat.pad, objective)
        measure = partial(trained, tuned, dealt, objective)
        row = with_flex(tuned, measure) if is_flex else measure()
        if not (is_compiled or is_flex):
            row |= step_counts(tuned, dealt, objective)
        return row
    finally:
        attention.restore(tuned.unload())
        for layer in network.model.layers:
            layer._compiled_call_impl = None


def trained(tuned: Any, dealt: Sequence[list[Pair]], objective: Objective) -> Row:
    """Samples a second of some steps, and FLOP a second by the tokens read once and by all."""
    where = tuned.device
    settings = OptimizerSettings(RATE, len(dealt), 0.1, 0.0, 1.0)
    free(where)
    history = loop.train(tuned, iter(dealt), settings, objective)
    memory = peak_gib(where)
    # steps that are read together share one speed, in tokens a second
    interval = max(1, len(dealt) // loop.N_EVALS)
    speed, is_settled = settled([r["tokens"] / r["seconds"] for r in history[::interval]])
    samples = sum(map(len, dealt))
    rate = speed * samples / sum(record["tokens"] for record in history)
    examples = [e for part in dealt for e in part]
    tokens = {
        "unique": sum(map(unique_tokens, dealt)),
        "plain": sum(len(e.prompt) + len(e.reply) for e in examples),
    }
    replies = sum(len(e.reply) for e in examples)
    return {
        "samples_per_s": rate,
        "settled": is_settled,
        "peak_gib": memory,
        **{f"flop_{k}": rate * flop(tuned, n, replies, 2) / samples for k, n in tokens.items()},
    }


def step_counts(tuned: Any, dealt: Sequence[list[Pair]], objective: Objective) -> Row:
    """What a step asks of the device; counting is slow, so that no time is taken of these steps."""
    settings = OptimizerSettings(RATE, 2, 0.1, 0.0, 1.0)
    with counted(tuned) as counts:
        loop.train(tuned, iter(dealt[:2]), settings, objective)
    return {name: getattr(counts, name) // counts.steps for name in ("kernels", "waits", "casts")}


def unique_tokens(batch: Sequence[Pair]) -> int:
    """Tokens of a batch that are read where each shared beginning is read once."""
    return len(forests.build_forest([forests.PrefixItem(e.prompt, (e.reply,)) for e in batch]))


def trainers(
    network: Any, chat: Chat, shape: Shape, order: str, batch: int, scratch: Path
) -> list[Unit]:
    """The same examples by transformers' Trainer and by TRL's."""
    tools: dict[str, tuple[Any, Row]] = {
        "HF Trainer, grouped by length": (model_peers.hf_trainer, {}),
        "HF Trainer, with checkpointing": (
            model_peers.hf_trainer,
            {"gradient_checkpointing": True},
        ),
        "TRL SFTTrainer as it comes": (model_peers.trl_trainer, {}),
    }

    def train(make: Callable[..., Any], more: Row) -> Row:
        package = "trl" if make is model_peers.trl_trainer else "datasets"
        if not importlib.util.find_spec(package):
            return {"skipped": f"{package} is not installed"}
        learned = questionnaire.examples(
            questionnaire.ask(order, shape.personas, shape.questions), chat
        )[: batch * shape.steps]
        plain = sum(len(e.prompt) + len(e.reply) for e in learned) / len(learned)
        replies = sum(len(e.reply) for e in learned) / len(learned)
        times, memory = trainer_times(network, chat, learned, make, more, batch, scratch)
        rate, is_settled = settled([batch / seconds for seconds in times])
        row = {"samples_per_s": rate, "settled": is_settled, "peak_gib": memory}
        return row | {"flop_plain": rate * flop(network, plain, replies, 2)}

    about: Row = {"work": "training", "order": order, "batch": batch}
    return [
        Unit({**about, "tool": tool}, partial(train, make, more))
        for tool, (make, more) in tools.items()
    ]


def trainer_times(
    network: Any,
    chat: Chat,
    learned: Sequence[Pair],
    make: Callable[..., Any],
    more: dict[str, Any],
    batch: int,
    scratch: Path,
) -> tuple[list[float], float | None]:
    """Seconds of each step of a trainer over a fresh adapter of peft's, and the most memory."""
    from peft import LoraConfig, get_peft_model

    where = network.device
    settings = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    arguments = model_peers.settings(scratch / "trained", RATE, batch, 1)
    arguments |= {"bf16": where.type == "cuda", "use_cpu": where.type == "cpu"}
    ends: list[float] = []

    class Clock(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(finished(where))

    tuned = get_peft_model(network, settings)
    try:
        if more.get("gradient_checkpointing"):
            tuned.enable_input_require_grads()
        peer = make(tuned, chat, learned, arguments, **more)
        peer.add_callback(Clock())
        free(where)
        peer.train()
        return [after - before for before, after in pairwise(ends)], peak_gib(where)
    finally:  # as the network was before; both of the trainer's hooks may be there
        tuned.gradient_checkpointing_disable()
        tuned.unload().eval().get_input_embeddings()._forward_hooks.clear()


# Gates ---------------------------------------------------------------------------------------


def gates(chat: Chat, shape: Shape, where: torch.device) -> list[Row]:
    """Errors of ours against fp64, beside those of a plain pass in the same dtype.

    On two layers of the shape: all 32 in fp64 would fill the device. Where even the reference
    fails, a row says why, and the measuring goes on.
    """
    rows: list[Row] = []

    def judge() -> Row:
        for row in _gates(chat, shape, where):
            rows.append(row)
        return {}

    failed = attempt(judge)
    free(where)
    return rows + [{"work": "what comes next", "unit": "", **failed}] * bool(failed)


def _gates(chat: Chat, shape: Shape, where: torch.device) -> Iterator[Row]:
    network = make_network(replace(shape, layers=min(2, shape.layers)), where)
    ours = partial(scoring_gate, network, chat, shape)
    yield gate("scoring", "nats", ours)
    yield gate("scoring, flex", "nats", partial(with_flex, network, ours))
    tuned = lora.add_lora(network, RECIPE)
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter += 0.01 * torch.randn_like(parameter)
    yield from training_gates(tuned, chat)


def gate(work: str, unit: str, measure: Callable[[], Row]) -> Row:
    """One gate: ours may be no further from fp64 than rounding takes a plain pass.

    Args:
        work: what is judged.
        unit: of the errors.
        measure: gives the errors `ours` and `plain`.
    """
    row = {"work": work, "unit": unit, **attempt(measure)}
    return row if "skipped" in row else {**row, "equal": row["ours"] <= ROOM * row["plain"]}


def scoring_gate(network: Any, chat: Chat, shape: Shape) -> Row:
    """Errors of log p of whole options, in nats."""
    items = items_of(chat, questionnaire.ask("persona", 2, 3))
    exactly = models.exact(network)
    ours = [reply.logprobs for reply in backend(network, chat, shape).score_items(items, 1)]
    attention.restore(network)
    expected, plain = ([_option_logprobs(n, item) for item in items] for n in (exactly, network))

    def error(side: Sequence[Any]) -> float:
        return max(
            float((torch.as_tensor(a) - b).abs().max()) for a, b in zip(side, expected, strict=True)
        )

    return {"ours": error(ours), "plain": error(plain)}


@torch.inference_mode()
def _option_logprobs(network: Any, item: forests.PrefixItem) -> torch.Tensor:
    """[C] log p of each option, by a plain pass each."""
    results = []
    for option in item.options:
        ids = torch.tensor([[*item.prompt, *option]], device=network.device)
        logits = network(input_ids=ids, use_cache=False).logits[0, len(item.prompt) - 1 : -1]
        logprobs = logits.to(model_peers.at_least_fp32(logits)).log_softmax(dim=-1)
        steps = torch.tensor(option, device=network.device)
        results.append(logprobs.gather(-1, steps[:, None]).sum().double().cpu())
    return torch.stack(results)


def training_gates(tuned: Any, chat: Chat) -> Iterator[Row]:
    """Gradients of the mean loss of a batch, in either layout."""
    batch = questionnaire.examples(questionnaire.ask("persona", 2, 3), chat)
    inputs = completion.collate(batch, chat.pad)
    exactly = models.exact(tuned)
    expected = models.gradients(exactly, _plain_loss(exactly, inputs))
    plain = models.relative(models.gradients(tuned, _plain_loss(tuned, inputs)), expected)
    for layout, _, objective, is_flex in layouts(chat.pad):
        collated = {k: v.to(tuned.device) for k, v in objective.collate(batch).items()}

        def measure(objective: Objective = objective, batch: Any = collated) -> Row:
            losses, _ = objective.losses(tuned, batch)
            ours = models.relative(models.gradients(tuned, losses.mean()), expected)
            return {"ours": ours, "plain": plain}

        chosen = partial(with_flex, tuned, measure) if is_flex else measure
        yield gate(f"training, {layout}", "of the gradient's norm", chosen)


def _plain_loss(network: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Cross-entropy as a mean over the replies, each the mean over its tokens."""
    batch = {name: tensor.to(network.device) for name, tensor in inputs.items()}
    labels = batch["labels"]
    logits = network(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        position_ids=batch["position_ids"],
        use_cache=False,
    ).logits[:, -labels.shape[1] :]
    nll = torch.nn.functional.cross_entropy(
        logits.to(model_peers.at_least_fp32(logits)).transpose(1, 2), labels, reduction="none"
    )
    return (nll.sum(dim=1) / (labels != -100).sum(dim=1)).mean()
