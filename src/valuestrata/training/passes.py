"""How a training reads its batches, once it is known what the network at hand reads right."""

import logging
from collections.abc import Sequence
from typing import Any

from valuestrata.errors import InputError
from valuestrata.prefix import forward
from valuestrata.prefix.forests import PrefixItem
from valuestrata.training.examples import Pair

log = logging.getLogger(__name__)


def check_passes(
    network: Any, pairs: Sequence[Pair], *, forests: bool, padding: bool
) -> str | None:
    """Find out whether a network reads the batches of a training right.

    Args:
        network: with its adapter or without.
        pairs: all that it will read.
        forests: whether it reads forests (prefix/forests.py), in training or in validation.
        padding: whether it reads batches that are padded.

    Returns:
        shared_prefix or plain: how forests are read, None where there are none. Losses and
        gradients are the same.

    Raises:
        InputError: padding would change what is learned.
    """
    reason = forward.check_padding(network, [pair.prompt for pair in pairs]) if padding else ""
    if reason:
        raise InputError(
            f"recipe: {reason}; use batch_layout: shared_prefix, or the method soft or ordinal"
        )
    if not forests:
        return None
    items = [PrefixItem(pair.prompt, pair.options) for pair in pairs]
    reason = forward.check_forests(network, items)
    if reason:
        log.warning("%s: each sequence is read by itself, which takes longer", reason)
    return "plain" if reason else "shared_prefix"


def check_sampling(network: Any, pairs: Sequence[Pair], new_tokens: int) -> None:
    """Refuse to learn from replies that the network would not have written.

    Args:
        network: that writes them.
        pairs: whose prompts they answer.
        new_tokens: of a reply at most.

    Raises:
        InputError: it writes others in batches than one token at a time.
    """
    reason = forward.check_generation(network, [pair.prompt for pair in pairs], new_tokens)
    if reason:
        raise InputError(f"recipe: method: {reason}; use another method than grpo")
