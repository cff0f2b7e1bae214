"""Count what services were asked for a study's results, and what that cost.

The ledger is no input: it grows while jobs run. What the jobs that write it make is.
"""

from typing import Any

import pandas as pd

from valuestrata import io, paths
from valuestrata.contracts import Column, Contract, frame_of
from valuestrata.inference.books import Account, Books, total
from valuestrata.stages.job import Files, Job, at
from valuestrata.study.base import Part
from valuestrata.study.perturbed import asked_runs, reworded
from valuestrata.study.study import Study

NODE = ("stage", "model", "variant", "split", "judge")

# amounts are missing where no call of a job has a price
USAGE = Contract(
    "usage",
    (
        Column("stage", "text", meaning="what the model was asked for: predict, generate, ..."),
        Column("model", "text", meaning="name of the model in the study"),
        Column("variant", "text", meaning="base, or in which prompt variant it was asked"),
        Column("split", "text", meaning="split of the study"),
        Column("judge", "text", meaning="judge that was asked, '' where it was the model"),
        Column("calls", "int", low=0, meaning="attempts answered, or maybe billed"),
        Column("by_usage", "int", low=0, meaning="calls whose tokens the service counted"),
        Column("unsure", "int", low=0, meaning="calls that failed and may have been billed"),
        Column("unbilled", "int", low=0, meaning="attempts that were turned down; no calls"),
        Column("cached_replies", "int", low=0, meaning="replies of the last job not asked again"),
        Column("prompt_tokens", "int", low=0, meaning="tokens of prompts"),
        Column("cached_tokens", "int", low=0, meaning="of these, cached by the service"),
        Column("completion_tokens", "int", low=0, meaning="tokens of replies, thoughts included"),
        Column("amount", "float", optional=True, low=0, meaning="price of the calls with a price"),
        Column("currency", "text", meaning="currency of the amount, '' without one"),
        Column("unpriced", "int", low=0, meaning="calls without a price, not in the amount"),
    ),
)


class Settings(Part):
    """What the table depends on beside the ledger."""

    caveat: str


def runs(study: Study) -> list[dict[str, str]]:
    """One table a study, where it asks a service."""
    return [{}] if study.service_models() else []


def settings(study: Study) -> Settings:
    """The caveat."""
    return Settings(caveat=study.caveat)


def inputs(study: Study) -> Files:
    """All that services have answered, written or judged, and the trials of judges there."""
    keys = ("model", "variant", "split", "judge")
    served = [run for run in study.runs() if study.is_service(run[0])]
    written = [run for run in study.generation_runs() if study.is_service(run[0])]
    judged = [run for run in study.judgements() if study.is_service(run[-1])]
    tried = [judge for judge in study.probed_judges() if study.is_service(judge)]
    tables = {
        name: tuple(at(study, pattern, **dict(zip(keys, run, strict=False))) for run in chosen)
        for name, pattern, chosen in (
            ("predictions", paths.PREDICTIONS, served),
            ("texts", paths.TEXTS, written),
            ("verdicts", paths.VERDICTS, judged),
        )
    }
    perturbed = tuple(
        at(study, paths.PERTURBED, **dict(zip(keys, run, strict=False)), perturbation=name)
        for run in asked_runs(study)
        for name in reworded(study)
        if study.is_service(run[0])
    )
    probes = tuple(at(study, paths.PROBES, judge=judge) for judge in tried)
    return {**tables, "probes": probes, **({"perturbed": perturbed} if perturbed else {})}


def outputs(study: Study) -> Files:
    """A row a job."""
    return {"usage": at(study, paths.USAGE)}


def run(job: Job[Settings]) -> None:
    """Write report/usage.parquet."""
    assert job.study is not None, "the ledger is the study's"
    accounts = Books(at(job.study, paths.LEDGER)).accounts()
    io.write_table(usage(accounts), job.path("usage"), USAGE, job.record)


def usage(accounts: list[Account]) -> pd.DataFrame:
    """A row for each job, whatever processes it took: one that was stopped goes on in another."""
    jobs: dict[tuple[str, ...], list[Account]] = {}
    for account in sorted(accounts, key=lambda account: account.started):
        jobs.setdefault(tuple(account.node.get(key, "") for key in NODE), []).append(account)
    rows = [dict(zip(NODE, node, strict=True)) | _row(of_job) for node, of_job in jobs.items()]
    return frame_of(rows, USAGE).astype({"amount": "float64"})


def _row(accounts: list[Account]) -> dict[str, Any]:
    spent = total(accounts)
    currency = next((account.currency for account in accounts if account.currency), "")
    has_price = bool(currency) and spent.unpriced < max(spent.calls, 1)
    return {
        **vars(spent),
        "cached_replies": accounts[-1].cached_replies,
        "amount": spent.amount if has_price else None,
        "currency": currency if has_price else "",
    }
