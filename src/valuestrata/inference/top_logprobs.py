"""From the likeliest tokens that a service shows to probabilities of the options of a question.

A service shows a few likeliest tokens at each place of the reply that it wrote. Each of them begins
a reply, and a beginning that only one option fits gives its probability to that option. What is not
shown, and a beginning that several options fit (`1` where `10` is an option, too), may belong to
any of them: it is never guessed but counted as unread. So the probability of an option lies between
what is read and that plus the unread mass.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_UNREAD = 0.05
"""Largest share of the options' mass that may be unread in a distribution."""


@dataclass(frozen=True)
class ShownTokens:
    """The token that was written at a place, and the probabilities of those that are shown."""

    token: bytes
    shares: dict[bytes, float]


@dataclass(frozen=True)
class OptionMasses:
    """What a reply's tokens tell of its options.

    Attributes:
        masses: probability that a reply begins with each option, as far as it is read [C].
        unread: probability that may belong to any option.
    """

    masses: NDArray[np.float64]
    unread: float

    @property
    def error(self) -> float:
        """Most that the distribution over options may be wrong, in total variation."""
        total = float(self.masses.sum()) + self.unread
        return self.unread / total if total > 0 else 1.0

    @property
    def logprobs(self) -> NDArray[np.float64] | None:
        """Log p of each option, -inf where it was not shown; None where too much is unread."""
        if self.error > MAX_UNREAD or not self.masses.any():
            return None
        with np.errstate(divide="ignore"):
            return np.log(self.masses)


def option_masses(
    places: Sequence[ShownTokens], options: Sequence[str], opening: str = ""
) -> OptionMasses:
    """Read the probability of each option off the tokens of a reply.

    An option is a whole reply (`Answer: 3`) or what tells it from the others (`3`); case, blanks,
    asterisks and backquotes do not count.

    Args:
        places: the tokens of the reply, in order.
        options: whole replies [C].
        opening: what stands before an option in structured output.

    >>> place = ShownTokens(b"1", {b"1": 0.6, b"2": 0.3, b"I": 0.1})
    >>> option_masses([place], ["1", "2"]).masses.tolist()
    [0.6, 0.3]
    >>> round(option_masses([place], ["1", "2", "10"]).unread, 2)
    0.6
    """
    forms = _forms(options, opening)
    masses = np.zeros(len(options))
    unread, text, mass = 0.0, b"", 1.0
    for place in places:
        fits = {token: _fitting(text + token, forms) for token in place.shares}
        spelled = {c for token in fits for c in _spelled(text + token, forms)}
        unread += mass * max(0.0, 1 - sum(place.shares.values()))
        is_decided = True
        for token, share in place.shares.items():
            option = _option(text + token, fits[token], spelled, forms)
            if option is not None:
                masses[option] += mass * share
            elif token == place.token and fits[token]:
                is_decided = False
            elif fits[token]:
                unread += mass * share
        if is_decided:
            return OptionMasses(masses, min(unread, 1.0))
        text, mass = text + place.token, mass * place.shares[place.token]
    return OptionMasses(masses, min(unread + mass, 1.0))


def _option(
    text: bytes, fitting: set[int], spelled: set[int], forms: Sequence[set[bytes]]
) -> int | None:
    """The option that a beginning belongs to: the only one that fits, or the one that it spells.

    It spells an option for sure where the longer ones stand beside it as tokens of their own.
    """
    if len(fitting) == 1:
        return next(iter(fitting))
    exact = _spelled(text, forms)
    return next(iter(exact)) if len(exact) == 1 and fitting <= spelled else None


def _forms(options: Sequence[str], opening: str) -> list[set[bytes]]:
    """Ways to write each option; `Answer: 3` and `3`, but in structured output the first alone."""
    if opening:
        return [{_plain((opening + option).encode())} for option in options]
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*options, strict=False))
    shared = len(re.sub(r"[-+\w]*$", "", "".join(letters[0] for letters in alike)))
    return [{_plain(text.encode()) for text in (o, o[shared:])} - {b""} for o in options]


def _plain(text: bytes) -> bytes:
    """A text in lower case without marks, and without blanks but those between two words."""
    bare = text.lower().translate(None, b"*`")
    return re.sub(rb"(?<!\w)\s+|\s+(?!\w)", b"", bare)


def _fitting(text: bytes, forms: Sequence[set[bytes]]) -> set[int]:
    """Options that a text begins, or that it begins with."""
    plain = _plain(text)
    return {c for c, ways in enumerate(forms) if any(_agree(plain, form) for form in ways)}


def _agree(text: bytes, form: bytes) -> bool:
    """Whether one begins the other; a text that goes on with a digit has another code."""
    return form.startswith(text) or (
        text.startswith(form) and not text[len(form) : len(form) + 1].isdigit()
    )


def _spelled(text: bytes, forms: Sequence[set[bytes]]) -> set[int]:
    """Options that a text spells, and no more than that."""
    plain = _plain(text)
    return {c for c, ways in enumerate(forms) if plain in ways}
