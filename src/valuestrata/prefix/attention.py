"""Forests (prefix/forests.py) in one pass: a block attends to itself and what is above it.

A network of transformers' has its attention replaced by one that cuts the row into blocks, gathers
each block's keys and hands them on, as a batch of short sequences, to the attention it had before.
Plain calls are passed on as they are, so that the same network still generates and trains as ever.
Symbols as in prefix/forests.py.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from valuestrata.prefix import flex
from valuestrata.prefix.forests import Ints
from valuestrata.prefix.padding import told

_PREFIX = "blocks_of_"
_LAYERS = {"full_attention", "sliding_attention"}
"""Kinds of layers that may read a row that is no sequence: others look at what stands before."""


class ForestError(Exception):
    """A network cannot read forests in one pass; the message says why."""


def one_pass(network: Any, inputs: dict[str, torch.Tensor], **options: Any) -> torch.Tensor:
    """Logits of a forest's kept nodes [K, vocabulary] by one forward pass.

    They are right if every layer hands `tree` on to its attention: prefix/forward.py finds out.

    Args:
        network: any of transformers' causal language models, with an adapter or without.
        inputs: tensors of `forests.to_model_inputs` on the network's device.
        options: go to the network.

    Raises:
        ForestError: the network has layers that are not attention, or its code does not let its
            attention be replaced.
    """
    (logits,) = one_pass_in_slabs(network, inputs, len(inputs["kept"]), **options)
    return logits


def one_pass_in_slabs(
    network: Any, inputs: dict[str, torch.Tensor], slab: int, **options: Any
) -> Iterator[torch.Tensor]:
    """As `one_pass`, but `slab` kept nodes at a time [n, vocabulary], so that memory is bounded.

    What comes before the output layer is computed once, for the first of them.

    Raises:
        ForestError: as `one_pass`, or the network has no decoder apart from its output layer.
    """
    prepare(network)
    kept = inputs["kept"]
    if len(set(getattr(network, "hf_device_map", {}).values())) > 1:
        kept = kept.cpu()  # the last layer may be on any device, and takes indices from the CPU
    given = (flex.model_inputs if flex.is_used(network) else _model_inputs)(network, inputs)
    first, *others = kept.split(slab)
    with _only(_last(network), kept), _made(network.get_decoder() if others else None) as made:
        yield network(**given, logits_to_keep=first, **options).logits[0]
    for part in others:
        with _answering(network.get_decoder(), made):
            logits = network(**given, logits_to_keep=part).logits[0]
        yield logits


def _model_inputs(network: Any, inputs: dict[str, torch.Tensor]) -> dict[str, Any]:
    """What a network is given to read a forest in blocks."""
    keys = inputs["keys"]
    positions = inputs["position_ids"].view(len(keys), -1)
    return {
        "input_ids": inputs["input_ids"],
        "position_ids": inputs["position_ids"],
        "attention_mask": mask(keys, inputs["ends"], positions.shape[1], network.dtype),
        "tree": (keys, positions, inputs["depths"]),
    }


@contextmanager
def _made(module: torch.nn.Module | None) -> Iterator[list[Any]]:
    """What a module gives within the block, where there is one."""
    made: list[Any] = []
    if module is None:
        yield made
        return
    handle = module.register_forward_hook(lambda _, __, output: made.append(output))
    try:
        yield made
    finally:
        handle.remove()


@contextmanager
def _answering(module: torch.nn.Module, made: list[Any]) -> Iterator[None]:
    """Let a module give what it gave, without computing anything."""
    if len(made) != 1:
        raise ForestError("its output layer cannot be asked for some nodes after others")
    replaced = vars(module).get("forward")  # accelerate replaces it, too
    module.forward = lambda *_, **__: made[0]
    try:
        yield
    finally:
        del module.forward
        if replaced is not None:
            module.forward = replaced


def tensors(inputs: dict[str, Ints]) -> dict[str, torch.Tensor]:
    """What `forests.to_model_inputs` gives, as tensors on the CPU."""
    return {name: torch.from_numpy(array) for name, array in inputs.items()}


def mask(keys: torch.Tensor, ends: torch.Tensor, size: int, dtype: torch.dtype) -> torch.Tensor:
    """[B, 1, Q, M] what to add to the attention's scores: 0 for ancestors, else the least number.

    In the network's own dtype, as the memory-efficient kernels want it, and finite: an eager
    attention adds it as it is.
    """
    nodes = torch.arange(len(keys) * size, device=keys.device).view(-1, size, 1)
    hidden = (keys[:, None] > nodes) | (ends[:, None] <= nodes)
    added = torch.zeros(hidden.shape, dtype=dtype, device=keys.device)
    return added.masked_fill_(hidden, _least(dtype))[:, None]


def _least(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).min


def _last(network: Any) -> torch.nn.Module | None:
    """What comes after the last attention: nobody reads its results but the output layer.

    None in training, where dropout would draw other numbers than when a layer is computed again,
    and of experts, which may return more.
    """
    if torch.is_grad_enabled():
        return None
    layers = getattr(network.get_decoder(), "layers", None)
    last = getattr(layers[-1], "mlp", None) if layers else None
    return None if last is None or any(p.dim() > 2 for p in last.parameters()) else last


@contextmanager
def _only(module: torch.nn.Module | None, kept: torch.Tensor) -> Iterator[None]:
    """Let a module that works on each node alone do so for some [K]; of the others it gives 0."""
    if module is None:
        yield
        return
    whole: list[torch.Size] = []

    def narrow(_: Any, given: tuple[torch.Tensor]) -> torch.Tensor:
        whole[:] = [given[0].shape]
        return given[0].index_select(1, kept.to(given[0].device))

    def widen(_: Any, __: Any, made: torch.Tensor) -> torch.Tensor:
        return made.new_zeros(whole[0]).index_copy(1, kept.to(made.device), made)

    handles = [module.register_forward_pre_hook(narrow), module.register_forward_hook(widen)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def prepare(network: Any) -> None:
    """Let a network read forests, if it does not yet.

    Raises:
        ForestError: it cannot.
    """
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    inner = network.config._attn_implementation
    if inner.startswith(_PREFIX):
        return
    kinds = getattr(network.config.get_text_config(), "layer_types", None) or []
    if getattr(network, "_is_stateful", False) or not _LAYERS.issuperset(kinds):
        raise ForestError("it has layers that are not plain attention")
    name = _PREFIX + inner
    ALL_ATTENTION_FUNCTIONS.register(name, partial(_attend, inner))
    make_mask = ALL_MASK_ATTENTION_FUNCTIONS[inner]
    ALL_MASK_ATTENTION_FUNCTIONS.register(name, told(make_mask) if inner == "sdpa" else make_mask)
    network.set_attn_implementation(name)
    if network.config._attn_implementation != name:
        raise ForestError("its custom attention cannot be replaced")


def restore(network: Any) -> None:
    """Give a network the attention back that it had before it read forests."""
    inner = network.config._attn_implementation
    if inner.startswith(_PREFIX):
        network.set_attn_implementation(inner.removeprefix(_PREFIX))


def _attend(
    inner: str,
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    tree: tuple[torch.Tensor, ...] | dict[int | None, Any] | None = None,
    **options: Any,
) -> tuple[torch.Tensor, Any]:
    """query [1, heads, T, size of a head]; key, value likewise -> [1, T, heads, size of a head].

    tree: keys [B, M], positions of the nodes [B, Q], positions of the keys [B, M]; or what nodes
    see, by window (prefix/flex.py).
    """
    attend = _function(inner, module, tree is not None)
    if tree is None:
        is_plain = inner == "sdpa" and options.get("position_bias") is None
        if is_plain and query.shape[2] == 1 and not torch.is_grad_enabled():
            return _sdpa_of_one(query, key, value, attention_mask, options.get("scaling"))
        return attend(module, query, key, value, attention_mask, **options)
    if options.get("position_bias") is not None:
        raise ForestError("it adds to its attention's scores")
    window = options.get("sliding_window", getattr(module, "sliding_window", None))
    if isinstance(tree, dict):
        return _by_flex(query, key, value, tree, window, **options), None
    keys, positions, depths = tree
    if window is not None:
        far = positions[:, :, None] - depths[:, None] >= window
        attention_mask = attention_mask.masked_fill(far[:, None], _least(attention_mask.dtype))

    def in_blocks(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        query = query[0].unflatten(1, (len(keys), -1)).transpose(0, 1)
        key, value = (
            side[0].index_select(1, keys.flatten()).unflatten(1, keys.shape).transpose(0, 1)
            for side in (key, value)
        )
        return attend(module, query, key, value, attention_mask, **options)[0].flatten(0, 1)[None]

    if not (torch.is_grad_enabled() and query.requires_grad):
        return in_blocks(query, key, value), None
    # what was gathered is many times what it was gathered from: it is gathered again, not kept
    drops = bool(options.get("dropout"))
    return checkpoint(
        in_blocks, query, key, value, use_reentrant=False, preserve_rng_state=drops
    ), None


def _by_flex(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    masks: dict[int | None, Any],
    window: int | None,
    dropout: float = 0.0,
    s_aux: torch.Tensor | None = None,
    scaling: float | None = None,
    softcap: float | None = None,
    **_: Any,
) -> torch.Tensor:
    """As `_attend`, by FlexAttention; what it cannot do is no result."""
    if s_aux is not None:
        raise ForestError("its attention has sinks")
    if dropout:
        raise ForestError("its attention has dropout")
    if window not in masks:
        raise ForestError("a layer has a window of its own")
    return flex.attend(query, key, value, masks[window], scaling, softcap)


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
    out = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attention_mask, dropout, scale=scaling, enable_gqa=not query.is_cuda
    )
    return out.transpose(1, 2), None


def _sdpa_of_one(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None,
) -> tuple[torch.Tensor, None]:
    """torch's attention of one token of each row; heads that share keys ask them together.

    transformers would repeat all keys and values for them, at every token of a text.
    """
    rows, heads, _, size = query.shape
    together = query.reshape(rows, key.shape[1], -1, size)
    out = torch.nn.functional.scaled_dot_product_attention(
        together, key, value, attention_mask, scale=scaling
    )
    return out.reshape(rows, 1, heads, out.shape[-1]), None
