"""Who is asked in another's place: a partner for each pair. Pure array functions."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from valuestrata.provenance import text_digest

NO_PARTNER = -1


def partners(sets: Sequence[tuple[str, ...]], names: Sequence[str], seed: int) -> NDArray[np.intp]:
    """[n] position of each one's partner in its set, NO_PARTNER where it is alone.

    The members of a set stand in a circle, in an order by a hash of seed, set and name, and each is
    given the next one: nobody is its own partner, and each is somebody's once.

    Args:
        sets: [n] the set of each.
        names: [n] its name, once in a set.
        seed: of the order.
    """
    circles: dict[tuple[str, ...], list[tuple[str, int]]] = {}
    for i, (key, name) in enumerate(zip(sets, names, strict=True)):
        circles.setdefault(key, []).append((text_digest([str(seed), *key, name]), i))
    chosen = np.full(len(names), NO_PARTNER, dtype=np.intp)
    for circle in circles.values():
        places = [i for _, i in sorted(circle)]
        if len(places) > 1:
            chosen[places] = np.roll(places, -1)
    return chosen
