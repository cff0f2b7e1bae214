"""Simulated annotators: a script in the place of people, which says nothing about people.

They go by the rule that a toy judge is taught, read off the phrases of a toy's text, and now and
then choose at random.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from valuestrata.annotation.sample import SIMULATED
from valuestrata.demo.judge_texts import better
from valuestrata.demo.toy_texts import Manner
from valuestrata.provenance import text_digest

CHOICES = {"1": "A", "tie": "tie", "2": "B"}
SECONDS = (5.0, 60.0)
"""Shortest and longest time of a choice."""


def manner_of(text: str) -> Manner:
    """How a toy put its answer.

    >>> manner_of("I would say yes. For me, it works.")
    Manner(stand=True, reason=True, persona=False)
    """
    return Manner(
        stand="I would say" in text, reason="For me," in text, persona="As someone" in text
    )


def annotations(
    items: Sequence[Mapping[str, str]],
    dimensions: Sequence[str],
    slips: Mapping[str, float],
    seed: int,
) -> Iterator[dict[str, str]]:
    """Rows of the page's csv file, an annotator after the other.

    Args:
        items: id and both texts, a and b, of each text pair.
        dimensions: what is compared.
        slips: annotators, and the share of choices that each makes at random.
        seed: of the slips; an annotator's depend on the seed and the name alone.
    """
    for name, share in slips.items():
        rng = np.random.default_rng([seed, int(text_digest([name])[:8], 16)])
        for item in items:
            manners = [manner_of(item[side]) for side in "ab"]
            for dimension in dimensions:
                choice = CHOICES[better(dimension, manners[0], manners[1])]
                if rng.random() < share:
                    choice = str(rng.choice(list(CHOICES.values())))
                yield {
                    "sample_id": item["id"],
                    "annotator": name + SIMULATED,
                    "dimension": dimension,
                    "choice": choice,
                    "seconds": f"{rng.uniform(*SECONDS):.1f}",
                }
