"""Whether a batch is padded, known to the host that made it.

transformers asks the device whether a mask hides anything, twice a pass, and the host waits for all
that the device still has to do before it is told. Here it is told beforehand. The masks are those
that transformers would have made.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch

_PADDED: ContextVar[bool | None] = ContextVar("_PADDED", default=None)


@contextmanager
def known_padding(is_padded: bool) -> Iterator[None]:
    """Passes within the block read batches with padding, or without, and nothing asks for it."""
    _register()
    token = _PADDED.set(is_padded)
    try:
        yield
    finally:
        _PADDED.reset(token)


def told(make_mask: Callable[..., torch.Tensor | None]) -> Callable[..., torch.Tensor | None]:
    """A maker of masks of transformers' that believes what it is told of the padding."""

    def make(
        *given: Any,
        attention_mask: torch.Tensor | None = None,
        allow_is_causal_skip: bool = True,
        **options: Any,
    ) -> torch.Tensor | None:
        is_padded = _PADDED.get()
        return make_mask(
            *given,
            attention_mask=None if is_padded is False else attention_mask,
            allow_is_causal_skip=allow_is_causal_skip and is_padded is not True,
            **options,
        )

    return make


@cache
def _register() -> None:
    """Tell torch's own attention; the others either do not ask, or have to know each length."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

    ALL_MASK_ATTENTION_FUNCTIONS.register("sdpa", told(ALL_MASK_ATTENTION_FUNCTIONS["sdpa"]))
