"""Constrained answers: the option that greedy decoding writes when it may write nothing else."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def constrained_option(
    options: Sequence[Sequence[int]], logprobs: Sequence[NDArray[np.float64]]
) -> int:
    """Position of the option that is left when each step keeps the likeliest token of any option.

    That is greedy decoding with the logits of all other tokens masked, as structured output does.
    It is not always the likeliest option: `10` may share its first token with `1`.

    Args:
        options: token ids of each option, its terminator included, so that none begins another.
        logprobs: log p of each of its tokens after those before it.

    >>> ids = [(1, 9), (1, 0, 9), (2, 9)]
    >>> steps = [[0.5, 0.4], [0.5, 0.6, 1.0], [0.45, 1.0]]
    >>> constrained_option(ids, [np.log(step) for step in steps])
    1
    """
    left = list(range(len(options)))
    step = 0
    while len(left) > 1:
        reached = {options[i][step]: float(logprobs[i][step]) for i in left}
        best = min(reached, key=lambda token: (-reached[token], token))
        left = [i for i in left if options[i][step] == best]
        step += 1
    return left[0]
