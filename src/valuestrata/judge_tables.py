"""Contracts of tables about judges themselves; those of verdicts are in tables.py."""

from valuestrata.columns import INTERVAL
from valuestrata.contracts import Column, Contract

PROBES = Contract(
    "probes",
    (
        Column(
            "probe",
            "text",
            values=("instruction", "length", "same"),
            meaning="what was done to a text: told up, made longer, or nothing",
        ),
        Column("dimension", "text", meaning="what was compared"),
        Column(
            "outcome",
            "text",
            values=("won", "lost", "first", "second"),
            meaning="the changed text won or lost, or one of two equal ones won by its place",
        ),
        *INTERVAL,
        Column("judge_version", "text", meaning="model and revision, or hash of the weights"),
    ),
)
