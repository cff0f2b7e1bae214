"""The training loop shared by fine-tunes and toys.

Prompts are read, replies are learned: logits are computed at reply positions only and prompt
tokens never enter the loss. Batches hold sequences of like length; their order is drawn from the
seed. Sequences are padded at the left, so that replies are the last columns.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

log = logging.getLogger(__name__)

POOL = 32
"""Batches that are sorted by length together; wider pools pad less and shuffle less."""


@dataclass(frozen=True)
class Example:
    """A prompt and the reply to learn, terminator included, as token ids."""

    prompt: tuple[int, ...]
    reply: tuple[int, ...]


@dataclass(frozen=True)
class Settings:
    """Optimisation. learning_rate peaks after `warmup` (share of all steps), then falls to 0."""

    learning_rate: float
    steps: int
    warmup: float
    weight_decay: float
    gradient_norm: float


def batches(
    examples: Sequence[Example], size: int, epochs: int, seed: int
) -> Iterator[list[Example]]:
    """Batches of all examples, each epoch in another order; like lengths come together."""
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(len(examples))
        parts: list[list[int]] = []
        for start in range(0, len(order), size * POOL):
            pool = sorted(
                order[start : start + size * POOL].tolist(),
                key=lambda i: len(examples[i].prompt) + len(examples[i].reply),
            )
            parts += [pool[i : i + size] for i in range(0, len(pool), size)]
        for part in rng.permutation(len(parts)):
            yield [examples[i] for i in parts[part]]


def collate(batch: Sequence[Example], pad: int) -> dict[str, torch.Tensor]:
    """input_ids, attention_mask, position_ids, all [n, T], and labels [n, K] of the last K columns.

    labels[i, j] is the token that column j predicts, or -100 where it predicts none of a reply.
    """
    longest = max(len(e.prompt) + len(e.reply) for e in batch)
    keep = max(len(e.reply) for e in batch) + 1
    tokens = torch.full((len(batch), longest), pad)
    mask = torch.zeros_like(tokens)
    labels = torch.full((len(batch), keep), -100)
    for row, example in enumerate(batch):
        ids = torch.tensor([*example.prompt, *example.reply])
        tokens[row, longest - len(ids) :] = ids
        mask[row, longest - len(ids) :] = 1
        reply = torch.tensor(example.reply)
        labels[row, keep - 1 - len(reply) : keep - 1] = reply
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    return {
        "input_ids": tokens,
        "attention_mask": mask,
        "position_ids": positions,
        "labels": labels,
    }


def loss_and_hits(network: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, float]:
    """Cross-entropy of the replies, and the share of their tokens that greedy decoding hits.

    The loss is the mean over replies of the mean over their tokens, so that a long reply weighs as
    much as a short one.
    """
    labels = batch["labels"]
    logits = network(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        position_ids=batch["position_ids"],
        logits_to_keep=labels.shape[1],
        use_cache=False,
    ).logits.float()
    each = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), labels, ignore_index=-100, reduction="none"
    )
    counted = labels != -100
    loss = (each.sum(dim=1) / counted.sum(dim=1)).mean()
    hits = (logits.argmax(dim=-1) == labels)[counted].float().mean()
    return loss, float(hits)


def train(
    network: Any,
    parts: Iterator[list[Example]],
    settings: Settings,
    pad: int,
    progress: Callable[[dict[str, float]], None] | None = None,
) -> list[dict[str, float]]:
    """Minimise the loss over the batches given; returns one record a step.

    A record holds step, loss, hits, learning_rate, gradient_norm and tokens (read, padding left
    out).
    """
    trained = [p for p in network.parameters() if p.requires_grad]
    where = trained[0].device
    optimizer = torch.optim.AdamW(
        trained, lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _linear(settings))
    history: list[dict[str, float]] = []
    began = time.monotonic()
    network.train()
    for step, part in enumerate(parts, start=1):
        batch = {k: v.to(where) for k, v in collate(part, pad).items()}
        loss, hits = loss_and_hits(network, batch)
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"loss is {loss.item()} at step {step}; lower learning_rate")
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(trained, settings.gradient_norm)
        rate = schedule.get_last_lr()[0]
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        record: dict[str, float] = {
            "step": step,
            "loss": loss.item(),
            "hits": hits,
            "learning_rate": float(rate),
            "gradient_norm": float(norm),
            "tokens": int(batch["attention_mask"].sum()),
        }
        history.append(record)
        if step == settings.steps or step % max(1, settings.steps // 10) == 0:
            seconds = time.monotonic() - began
            tokens = sum(r["tokens"] for r in history)
            log.info(
                "step %d of %d, loss %.4f, hits %.3f, %.0f tokens/s",
                step, settings.steps, record["loss"], hits, tokens / seconds,
            )  # fmt: skip
        if progress is not None:
            progress(record)
        if step == settings.steps:
            break
    network.eval()
    return history


def _linear(settings: Settings) -> Callable[[int], float]:
    rising = max(1, round(settings.warmup * settings.steps))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return max(0.0, (settings.steps - step) / max(1, settings.steps - rising))

    return factor
