"""Networks that read forests (models/trie.py): each block attends to itself and what is above it.

A network of transformers' has its attention replaced by one that cuts the row into blocks, gathers
each block's keys and hands them on, as a batch of short sequences, to the attention it had before.
Plain calls are passed on as they are, so that the same network still generates and trains as ever.
"""

import sys
from functools import partial
from typing import Any

import torch

from valuestrata.errors import InputError
from valuestrata.models.trie import Ints

_OURS = "blocks_of_"


def read(network: Any, laid: dict[str, torch.Tensor], first: int = 0, **more: Any) -> Any:
    """One forward pass over a forest's `trie.layout`, as tensors on the network's device.

    Args:
        network: any of transformers' causal language models, with an adapter or without.
        laid: the layout's tensors.
        first: the number of the first node, where a cache holds those before it.
        more: goes to the network.

    Returns:
        What the network returns; its logits are of the kept nodes [1, K, vocabulary].

    Raises:
        InputError: the network's code does not let its attention be replaced.
    """
    _prepare(network)
    keys, kept, nodes = laid["keys"], laid["kept"], laid["input_ids"].shape[1]
    if len(set(getattr(network, "hf_device_map", {}).values())) > 1:
        kept = kept.cpu()  # the last layer may be on any device, and takes indices from the CPU
    return network(
        input_ids=laid["input_ids"],
        position_ids=laid["position_ids"],
        attention_mask=mask(keys, laid["ends"], nodes // len(keys), network.dtype, first),
        tree_keys=keys,
        logits_to_keep=kept,
        **more,
    )


def tensors(laid: dict[str, Ints]) -> dict[str, torch.Tensor]:
    """A `trie.layout` for `read`, on the CPU."""
    return {name: torch.from_numpy(array) for name, array in laid.items()}


def mask(
    keys: torch.Tensor, ends: torch.Tensor, size: int, dtype: torch.dtype, first: int = 0
) -> torch.Tensor:
    """[B, 1, Q, M] what to add to the attention's scores: 0 for ancestors, else the least number.

    In the network's own dtype, as the memory-efficient kernels want it, and finite: an eager
    attention adds it as it is.
    """
    nodes = first + torch.arange(len(keys) * size, device=keys.device).view(-1, size, 1)
    hidden = (keys[:, None] > nodes) | (ends[:, None] <= nodes)
    added = torch.zeros(hidden.shape, dtype=dtype, device=keys.device)
    return added.masked_fill_(hidden, torch.finfo(dtype).min)[:, None]


def _prepare(network: Any) -> None:
    """Let a network read forests, if it does not yet."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    inner = network.config._attn_implementation
    if inner.startswith(_OURS):
        return
    name = _OURS + inner
    ALL_ATTENTION_FUNCTIONS.register(name, partial(_attend, inner))
    ALL_MASK_ATTENTION_FUNCTIONS.register(name, ALL_MASK_ATTENTION_FUNCTIONS[inner])
    network.set_attn_implementation(name)
    if network.config._attn_implementation != name:
        raise InputError(
            f"{network.name_or_path}: its code does not let options be scored in one pass; "
            "use a model that transformers knows without remote code, or the backend vllm"
        )


def _attend(
    inner: str,
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    tree_keys: torch.Tensor | None = None,
    **more: Any,
) -> tuple[torch.Tensor, Any]:
    """query [1, heads, T, size of a head]; key, value likewise -> [1, T, heads, size of a head]."""
    attend = _function(inner, module, tree_keys is not None)
    if tree_keys is None:
        return attend(module, query, key, value, attention_mask, **more)
    blocks, keys = tree_keys.shape
    query = query[0].unflatten(1, (blocks, -1)).transpose(0, 1)
    key, value = (
        side[0].index_select(1, tree_keys.flatten()).unflatten(1, (blocks, keys)).transpose(0, 1)
        for side in (key, value)
    )
    found, _ = attend(module, query, key, value, attention_mask, **more)
    return found.flatten(0, 1)[None], None


def _function(inner: str, module: Any, masked: bool) -> Any:
    """The attention that a network had."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    if inner == "eager":
        return sys.modules[type(module).__module__].eager_attention_forward
    return _sdpa if masked and inner == "sdpa" else ALL_ATTENTION_FUNCTIONS[inner]


def _sdpa(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    dropout: float = 0.0,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """torch's attention, without repeating keys that heads share where it can do without.

    With a mask, the quick kernels of a GPU want them repeated.
    """
    groups = query.shape[1] // key.shape[1]
    if groups > 1 and query.is_cuda:
        key, value = (side.repeat_interleave(groups, dim=1) for side in (key, value))
    found = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attention_mask, dropout, scale=scaling, enable_gqa=not query.is_cuda
    )
    return found.transpose(1, 2), None
