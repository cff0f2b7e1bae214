"""Groups that a study names and no respondent is in: a slip, or a group that the country lacks."""

from collections.abc import Mapping, Sequence

import pandas as pd

from valuestrata.errors import InputError

SHOWN = 12
"""Values of a column that a message shows."""
MAX_VALUES = 100
"""Values that a column of groups may have; one with more is another kind of column."""
LONGEST = 40
"""Characters of a value that a message shows."""


def empty_group_notices(
    plain: pd.Series,
    listed: Mapping[str, str],
    labels: Sequence[Mapping[str, str]],
    axis: str,
    where: str,
) -> list[str]:
    """A line for groups that nobody is in, whose codes the codebook or the file knows.

    Args:
        plain: [N] cells of the axis' column.
        listed: code -> label of the axis' groups.
        labels: labels by code, of the codebook and of the file.
        axis: its name.
        where: what a message calls the column.

    Raises:
        InputError: nobody is in a group, and neither codebook nor file know any of its codes; or
            nobody is in any.
    """
    present = set(plain.unique())
    codes: dict[str, list[str]] = {}
    for code, label in listed.items():
        codes.setdefault(label, []).append(code)
    empty = {label: held for label, held in codes.items() if present.isdisjoint(held)}
    expected = {code for names in labels for code in names}
    is_empty = len(empty) == len(codes)
    strange = [label for label, held in empty.items() if is_empty or expected.isdisjoint(held)]
    if strange:
        raise InputError(
            f"{where}: no row is in {_list({label: empty[label] for label in strange})} of axis "
            f"{axis}; the column holds {held_values(plain)}: correct the codes, or take the group "
            "out"
        )
    return [f"axis {axis}: no row is in {_list(empty)}"] if empty else []


def held_values(plain: pd.Series) -> str:
    """The values of a column with how often each occurs, most frequent first; blanks last."""
    sizes = plain[plain != ""].value_counts()
    blank = int((plain == "").sum())
    if len(sizes) > MAX_VALUES:
        return f"{len(sizes)} different values; is it the right column?"
    shown = [f"{str(value)[:LONGEST]!r} ({n})" for value, n in list(sizes.items())[:SHOWN]]
    more = [f"{len(sizes) - SHOWN} more"] if len(sizes) > SHOWN else []
    blanks = [f"{blank} blank cells"] if blank else []
    return ", ".join([*shown, *more, *blanks])


def _list(groups: Mapping[str, Sequence[str]]) -> str:
    noun = "groups" if len(groups) > 1 else "group"
    return f"{noun} " + ", ".join(
        f"{label!r} (code{'s' if len(held) > 1 else ''} {', '.join(held)})"
        for label, held in groups.items()
    )
