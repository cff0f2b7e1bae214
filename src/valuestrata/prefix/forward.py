"""Logits of forests (prefix/forests.py), by one pass or by plain passes: what a network does right.

One pass is right only if every layer hands the forest on to its attention and takes its window from
where prefix/attention.py looks. No list of architectures says so: before a network is trusted, it
reads a few of the sequences at hand in both ways, and again once there are longer ones. Where both
do not agree it reads plain passes from then on. Padding at the left, and the ways to write texts,
are held against plain passes likewise.
Symbols as in prefix/forests.py.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from valuestrata.errors import InputError
from valuestrata.prefix import attention, decoding, flex, forests, plain
from valuestrata.prefix.forests import PrefixItem, Row, Tokens

log = logging.getLogger(__name__)

TOLERANCES = {torch.float32: 1e-3, torch.float16: 0.1, torch.bfloat16: 0.3}
"""How far logits of a token may be off, in standard deviations over the vocabulary.

Rounding makes up to 1e-4, .04 and .14 (135 M trained parameters on a CPU; 8B and a mixture of 128
experts with random weights on a GPU); one hidden token of 80 makes .6.
"""
TAIL = 4
"""Tokens before the last one whose logits are compared, too."""


_NO_TOKEN = 2**31 - 1


@dataclass(frozen=True)
class _Verdict:
    """What a comparison came to: up to which length, and why not ('' where it may be trusted)."""

    longest: int
    reason: str


@dataclass(frozen=True, eq=False)
class _Way:
    """A way to read several sequences together, and what was found out about it.

    Attributes:
        name: in words.
        read: gives the logits of some rows, in order.
        verdicts: by network.
    """

    name: str
    read: Callable[[Any, list[Row]], torch.Tensor]
    verdicts: WeakKeyDictionary[Any, _Verdict] = field(default_factory=WeakKeyDictionary)


def forest_logits(network: Any, inputs: dict[str, torch.Tensor], **options: Any) -> torch.Tensor:
    """Logits of a forest's kept nodes [K, vocabulary].

    Args:
        network: any of transformers' causal language models, with an adapter or without.
        inputs: tensors of `forests.to_model_inputs` on the network's device.
        options: go to the network, but not in plain passes: nothing is cached there.

    Raises:
        InputError: the network cannot even read plain sequences.
    """
    slabs = list(forest_slabs(network, inputs, inputs["input_ids"].shape[1], **options))
    columns, logits = zip(*slabs, strict=True)
    if len(logits) == 1:
        return logits[0]
    return torch.cat(logits)[torch.from_numpy(np.concatenate(columns)).argsort()]


def forest_slabs(
    network: Any, inputs: dict[str, torch.Tensor], slab: int, **options: Any
) -> Iterator[tuple[forests.Ints, torch.Tensor]]:
    """As `forest_logits`, in parts: columns of kept nodes [n], `slab` at most, and their logits."""
    verdict = _one_pass(network).verdicts.get(plain.base_of(network))
    if verdict is None:
        rows = forests.to_rows({name: tensor.cpu().numpy() for name, tensor in inputs.items()})
        reason = check_forests(network, [PrefixItem(row.tokens, ((0,),)) for row in rows])
    else:
        reason = verdict.reason
    if reason:
        yield from plain.forest_slabs(network, inputs, slab)
        return
    start = 0
    for logits in attention.one_pass_in_slabs(network, inputs, slab, **options):
        yield np.arange(start, start + len(logits)), logits
        start += len(logits)


def check_forests(network: Any, items: Sequence[PrefixItem]) -> str:
    """Find out whether a network reads forests right; says why not, '' where it does.

    It reads a few of the items, among them the longest, unless it has read as long ones before.

    Raises:
        InputError: it cannot even read plain sequences, or FlexAttention was asked for and is not
            right.
    """
    longest = max(len(item.prompt) + max(map(len, item.options)) - 1 for item in items)
    way = _one_pass(network)
    reason = _judge(way, network, longest, _sample(items))
    if reason and way is _FLEX:
        raise InputError(
            f"{plain.base_of(network).name_or_path}: forest_attention: flex: {reason}; use gathered"
        )
    return reason


def _one_pass(network: Any) -> _Way:
    """How a network reads forests in one pass."""
    return _FLEX if flex.is_used(network) else _ONE_PASS


def check_padding(network: Any, prompts: Sequence[Tokens]) -> str:
    """Find out whether padding at the left changes what a network reads; says how, '' if not.

    Raises:
        InputError: it cannot even read plain sequences.
    """
    longest, shortest = max(prompts, key=len), min(prompts, key=len)
    return _judge(_PADDED, network, len(longest), [shortest, longest])


def check_generation(network: Any, prompts: Sequence[Tokens], new_tokens: int) -> str:
    """Find out whether a network writes a padded batch of texts over its cache right; says why not.

    Args:
        network: with an adapter or without.
        prompts: that texts are written to.
        new_tokens: of a text at most.

    Raises:
        InputError: it cannot even read plain sequences.
    """
    return _judge_texts(_WRITTEN, network, prompts, new_tokens)


def check_decoding(network: Any, prompts: Sequence[Tokens], new_tokens: int) -> str:
    """As `check_generation`, of texts that prefix/decoding.py writes behind prompts."""
    return _judge_texts(_DECODED, network, prompts, new_tokens)


def check_continuation(network: Any, prompts: Sequence[Tokens], new_tokens: int) -> str:
    """As `check_generation`, of texts that prefix/decoding.py writes behind nodes of a forest."""
    return _judge_texts(_CONTINUED, network, prompts, new_tokens)


def forget_verdicts(network: Any) -> None:
    """Judge a network anew, by the sequences of whoever asks it next."""
    for way in (_ONE_PASS, _FLEX, _PADDED, _WRITTEN, _DECODED, _CONTINUED):
        way.verdicts.pop(plain.base_of(network), None)


def _judge_texts(way: _Way, network: Any, prompts: Sequence[Tokens], new_tokens: int) -> str:
    """The verdict on a way to write texts, by prompts with what may follow them."""
    longest, shortest = max(prompts, key=len), min(prompts, key=len)
    # the prompt's own tokens stand for those that will be written
    whole = (longest * (2 + new_tokens // len(longest)))[: len(longest) + new_tokens]
    return _judge(way, network, len(whole), [shortest, whole])


def _judge(way: _Way, network: Any, longest: int, sequences: Sequence[Tokens]) -> str:
    """The verdict on a way to read, which is reached anew where there are longer sequences."""
    base = plain.base_of(network)
    verdict = way.verdicts.get(base)
    sequences = [tokens for tokens in sequences if len(tokens) > 1]
    if not sequences:
        return verdict.reason if verdict else ""
    if verdict is None or (not verdict.reason and verdict.longest < longest):
        reason = _why_not(way, network, sequences)
        verdict = way.verdicts[base] = _Verdict(longest, reason)
        if reason:
            attention.restore(network)
            log.info("%s: %s", base.name_or_path, reason)
    return verdict.reason


def _sample(items: Sequence[PrefixItem]) -> list[Tokens]:
    """A few whole sequences: of the longest item, of its neighbours and of the shortest one."""
    order = sorted(range(len(items)), key=lambda i: items[i].prompt)
    lengths = [len(items[i].prompt) + max(map(len, items[i].options)) for i in order]
    place = lengths.index(max(lengths))
    chosen = [*order[max(0, place - 1) : place + 2], order[lengths.index(min(lengths))]]
    return list(
        dict.fromkeys(
            items[i].prompt + option[:-1]
            for i in chosen
            for option in (items[i].options[0], items[i].options[-1])
        )
    )


@torch.no_grad()
def _why_not(way: _Way, network: Any, sequences: Sequence[Tokens]) -> str:
    """Why a way to read is not to be trusted, '' where its logits are those of plain passes."""
    rows, was_training = _rows(sequences), network.training
    network.eval()
    try:
        exact = _exact_logits(network, rows)
        ours = way.read(network, rows)
    except (InputError, torch.OutOfMemoryError):
        raise
    except attention.ForestError as error:
        return str(error)
    except Exception as error:  # an architecture yet to come may fail in any way
        return f"it fails in {way.name} ({first_line(error)})"
    finally:
        network.train(was_training)
    nats, deviations = differences(ours, exact)
    if deviations > tolerance(network.dtype):
        return f"in {way.name} its log-probabilities are off by {nats:.2g} nats"
    log.info("%s: log-probabilities are those of plain passes to %.1g nats", way.name, nats)
    return ""


def _rows(sequences: Sequence[Tokens]) -> list[Row]:
    """The last logits of each sequence, as many of all of them, as rows one after another."""
    size = min(TAIL, min(map(len, sequences)) - 1) + 1
    return [
        Row(
            tokens,
            tuple(range(len(tokens) - size, len(tokens))),
            tuple(range(i * size, (i + 1) * size)),
        )
        for i, tokens in enumerate(sequences)
    ]


def _exact_logits(network: Any, rows: list[Row]) -> torch.Tensor:
    """Logits by plain passes; what they cannot read, nothing can."""
    name = plain.base_of(network).name_or_path
    try:
        logits = plain.row_logits(network, rows, max(len(row.tokens) for row in rows))
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise InputError(f"{name}: cannot read a plain sequence ({first_line(error)})") from None
    if logits.isnan().any():
        raise InputError(
            f"{name}: its logits are not numbers in {str(network.dtype).removeprefix('torch.')}; "
            "choose another dtype, or check its weights"
        )
    return logits


def _in_one_pass(network: Any, rows: list[Row]) -> torch.Tensor:
    """Logits by one pass over all tokens, the output layer asked twice."""
    items = [
        PrefixItem(r.tokens[: r.places[0] + 1], ((*r.tokens[r.places[0] + 1 :], 0),)) for r in rows
    ]
    forest = forests.build_forest(items)
    inputs, column = _moved(network, forest)
    half = -(-len(inputs["kept"]) // 2)
    slabs = attention.one_pass_in_slabs(network, inputs, half, use_cache=False)
    return torch.cat(list(slabs))[torch.from_numpy(column)]


def _moved(network: Any, forest: forests.Forest) -> tuple[dict[str, torch.Tensor], forests.Ints]:
    """Model inputs of a forest on the network's device, and the column of each step."""
    inputs, column = forests.to_model_inputs(forest, int(forest.token[0]))
    return {k: v.to(network.device) for k, v in attention.tensors(inputs).items()}, column


def _continued(network: Any, rows: list[Row]) -> torch.Tensor:
    """Logits by one pass over prompts, and one batch that goes on over its cache."""
    from transformers import DynamicCache

    begin = [row.places[0] + 1 for row in rows]
    items = [PrefixItem(r.tokens[:n], ((r.tokens[n],),)) for r, n in zip(rows, begin, strict=True)]
    forest, past = forests.build_forest(items), DynamicCache()
    inputs, column = _moved(network, forest)
    logits = attention.one_pass(network, inputs, past_key_values=past, use_cache=True)
    paths = [forest.path(node) for node in forest.before]
    new = [row.tokens[n:] for row, n in zip(rows, begin, strict=True)]
    parts = [decoding.stems(past, paths, [tokens[0] for tokens in new])]
    batch = decoding.after_stems(parts, len(new[0]), network.device)
    return _forced(network, batch, new, logits[torch.from_numpy(column)])


def _decoded(network: Any, rows: list[Row]) -> torch.Tensor:
    """Logits by one batch of prompts that are padded at the left, and of what follows them."""
    begin = [row.places[0] + 1 for row in rows]
    new = [row.tokens[n:] for row, n in zip(rows, begin, strict=True)]
    prompts = [row.tokens[:n] for row, n in zip(rows, begin, strict=True)]
    batch, first = decoding.after_prompts(network, prompts, 0, len(new[0]))
    return _forced(network, batch, new, first)


def _forced(
    network: Any, batch: decoding.Batch, new: list[Tokens], first: torch.Tensor
) -> torch.Tensor:
    """The first logits of each row and those behind each of its new tokens, row by row."""
    steps = [first]
    for tokens in zip(*new, strict=True):
        batch.token = torch.tensor(tokens, device=network.device)
        steps.append(decoding.read_token(network, batch))
    return torch.stack(steps, dim=1).flatten(0, 1)


def _padded(network: Any, rows: list[Row]) -> torch.Tensor:
    """Logits by one batch that is padded at the left."""
    inputs = _pad_left([row.tokens for row in rows], network.device)
    positions = (inputs["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
    kept = len(rows[0].places)
    options = plain.keep_last(network, kept)
    out = network(**inputs, position_ids=positions, use_cache=False, **options)
    logits: torch.Tensor = out.logits[:, -kept:].flatten(0, 1)
    return logits


def _written(network: Any, rows: list[Row]) -> torch.Tensor:
    """Logits by one batch of prompts behind which the network is made to write the last tokens."""
    from transformers import GenerationConfig

    begin = [row.places[0] + 1 for row in rows]
    inputs = _pad_left([r.tokens[:n] for r, n in zip(rows, begin, strict=True)], network.device)
    last = torch.tensor([r.tokens[n:] for r, n in zip(rows, begin, strict=True)])
    width = inputs["input_ids"].shape[1]

    def force(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        step = min(ids.shape[1] - width, last.shape[1] - 1)
        return torch.full_like(scores, -1.0).scatter(1, last[:, step, None].to(scores.device), 1.0)

    out = network.generate(
        **inputs,
        generation_config=GenerationConfig(
            max_new_tokens=len(rows[0].places),
            do_sample=False,
            pad_token_id=0,
            eos_token_id=_NO_TOKEN,
            output_logits=True,
            return_dict_in_generate=True,
        ),
        logits_processor=[force],
    )
    return torch.stack(out.logits, dim=1).flatten(0, 1)


def _pad_left(sequences: Sequence[Tokens], device: torch.device) -> dict[str, torch.Tensor]:
    """input_ids and attention_mask of some sequences that end together."""
    longest = max(map(len, sequences))
    pads = [longest - len(tokens) for tokens in sequences]
    tokens = [[0] * n + list(ids) for n, ids in zip(pads, sequences, strict=True)]
    mask = [[0] * n + [1] * (longest - n) for n in pads]
    return {
        "input_ids": torch.tensor(tokens, device=device),
        "attention_mask": torch.tensor(mask, device=device),
    }


_ONE_PASS = _Way("one pass over shared prefixes", _in_one_pass)
_FLEX = _Way("one pass by FlexAttention", _in_one_pass)
_PADDED = _Way("padded batches", _padded)
_WRITTEN = _Way("texts written over a cache", _written)
_DECODED = _Way("texts decoded in batches", _decoded)
_CONTINUED = _Way("texts that go on from shared prefixes", _continued)


def differences(ours: torch.Tensor, exact: torch.Tensor) -> tuple[float, float]:
    """Largest difference of log-probabilities in nats, and of a place in standard deviations.

    A token that is ruled out is taken to be at -30 nats, wherever it stands below.
    """
    one, other = (side.float().log_softmax(dim=-1).clamp(min=-30) for side in (ours, exact))
    gap = (one - other).nan_to_num(nan=torch.inf)
    error = gap.square().mean(dim=-1).sqrt() / other.std(dim=-1).clamp(min=1e-6)
    return float(gap.abs().max()), float(error.max())


def tolerance(dtype: torch.dtype) -> float:
    """The tolerance of a network's dtype; that of bf16 for any that is not listed."""
    return TOLERANCES.get(dtype, TOLERANCES[torch.bfloat16])


def first_line(error: Exception) -> str:
    """An error's type and first line."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
