"""Forests (prefix/forests.py) by torch's FlexAttention: one kernel that takes the forest's mask.

prefix/attention.py gathers the keys of each block of nodes. Here nothing is gathered: a row is one
sequence, of which a node sees those whose span it lies in. The kernel leaves out blocks of 128
queries by 128 keys of which no node sees another, and asks for the mask only in those where some
do. It runs on one GPU; torch's own cannot differentiate it elsewhere.
Symbols as in prefix/forests.py.
"""

from collections.abc import Callable
from functools import cache
from typing import Any
from weakref import WeakSet

import torch
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from valuestrata.prefix import plain

SPAN = 128
"""Queries and keys of a block. A row has two or more, whole: one compiled kernel fits any."""

_CHOSEN: WeakSet[Any] = WeakSet()


def use(network: Any) -> None:
    """Let a network read forests by FlexAttention from now on."""
    _CHOSEN.add(plain.base_of(network))


def leave(network: Any) -> None:
    """Let it gather keys again."""
    _CHOSEN.discard(plain.base_of(network))


def is_used(network: Any) -> bool:
    """Whether a network reads forests by FlexAttention."""
    return plain.base_of(network) in _CHOSEN


def why_not(network: Any) -> str:
    """What stands against FlexAttention for a network at hand, '' for nothing.

    Whether its logits are right then, prefix/forward.py finds out.
    """
    if network.device.type != "cuda":
        return "it needs a GPU"
    if len(set((getattr(network, "hf_device_map", None) or {}).values())) > 1:
        return "the network is spread over several devices"
    if getattr(network.config.get_text_config(), "attention_dropout", 0):
        return "the network's attention has dropout"
    return ""


def model_inputs(network: Any, inputs: dict[str, torch.Tensor]) -> dict[str, Any]:
    """What a network is given to read a forest: a row of a whole number of spans.

    tree: what a node sees, by the window of a layer. Layers that have no window take that of None.

    Args:
        network: says what windows its layers have.
        inputs: tensors of `forests.to_model_inputs` on the network's device.
    """
    nodes = inputs["input_ids"].shape[1]
    more = max(2 * SPAN, -(-nodes // SPAN) * SPAN) - nodes
    tokens, positions = (
        torch.nn.functional.pad(inputs[name], (0, more)) for name in ("input_ids", "position_ids")
    )
    # padding is trees of one node, as in forests.to_model_inputs
    padding = torch.arange(nodes + 1, nodes + more + 1, device=tokens.device)
    ends = torch.cat([inputs["ends"][:, : nodes // len(inputs["keys"])].flatten(), padding])
    windows = {None, getattr(network.config.get_text_config(), "sliding_window", None)}
    return {
        "input_ids": tokens,
        "position_ids": positions,
        # of four dimensions, so that no library makes another one; nobody reads it
        "attention_mask": torch.zeros((1, 1, 1, 1), dtype=network.dtype, device=tokens.device),
        "tree": {window: block_mask(ends, positions[0], window) for window in windows},
    }


def block_mask(ends: torch.Tensor, depths: torch.Tensor, window: int | None) -> BlockMask:
    """What the nodes of a row see: themselves and their ancestors, `window` tokens at most.

    Args:
        ends: the first node after those below each [T], in whole spans.
        depths: of each node [T].
        window: how many tokens a layer looks back, the node itself counted; None for all.
    """
    ends, depths = ends.int(), depths.int()
    above = torch.full_like(depths, -1) if window is None else depths - window

    def sees(_: Any, __: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return (key <= query) & (query < ends[key]) & (depths[key] > above[query])

    first = torch.arange(0, len(ends), SPAN, device=ends.device)[:, None]
    keys = torch.arange(len(ends), device=ends.device)
    lowest, highest = above.view(-1, SPAN).aminmax(dim=1, keepdim=True)
    # of each span of queries [T / SPAN, T]: whether any may see a key, and whether all do
    by_any = (keys < first + SPAN) & (ends > first) & (depths > lowest)
    by_all = (keys <= first) & (ends >= first + SPAN) & (depths > highest)
    touched, whole = by_any.unflatten(1, (-1, SPAN)).any(2), by_all.unflatten(1, (-1, SPAN)).all(2)
    return BlockMask.from_kv_blocks(
        *_listed(touched & ~whole), *_listed(whole), BLOCK_SIZE=SPAN, mask_mod=sees
    )


def _listed(blocks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How many blocks of keys each row has [1, 1, n], and which, these first [1, 1, n, n]."""
    which = blocks.int().argsort(dim=1, descending=True, stable=True)
    return blocks.sum(dim=1).int()[None, None], which.int()[None, None]


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: BlockMask,
    scaling: float | None = None,
    softcap: float | None = None,
) -> torch.Tensor:
    """query [1, heads, T, size of a head]; key, value likewise -> [1, T, heads, size of a head].

    Args:
        query: of all nodes.
        key: of as many heads, or of one for several.
        value: as key.
        mask: what each node sees.
        scaling: of scores, by default one over the root of the size of a head.
        softcap: what scores approach at most, by tanh.
    """
    kernel: Any = flex_attention if torch.compiler.is_compiling() else _compiled()
    # a tensor: torch cannot compile a number that it takes for one that may change
    cap = None if softcap is None else _capped(torch.full((), softcap, device=query.device))
    out = kernel(
        query, key, value, score_mod=cap, block_mask=mask, scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )  # fmt: skip
    transposed: torch.Tensor = out.transpose(1, 2)
    return transposed


@cache
def _compiled() -> Callable[..., Any]:
    """FlexAttention as one fused kernel for rows of any length."""
    return torch.compile(flex_attention, dynamic=True)


def _capped(cap: torch.Tensor) -> Callable[..., torch.Tensor]:
    """Scores that a network caps (Gemma 2)."""

    def score(given: torch.Tensor, _: Any, __: Any, ___: Any, ____: Any) -> torch.Tensor:
        return cap * torch.tanh(given / cap)

    return score
