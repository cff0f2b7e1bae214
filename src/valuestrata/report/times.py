"""Time and memory of the workflow's jobs, by stage, from Snakemake's own benchmarks. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from valuestrata.report.display import Cell, Table
from valuestrata.report.phrases import count


@dataclass(frozen=True)
class JobTime:
    """One job: its stage, its run, seconds of wall clock and of CPU, and its peak memory in MB."""

    stage: str
    run: str
    seconds: float
    cpu_seconds: float
    megabytes: float


def times_table(jobs: Sequence[JobTime]) -> Table | None:
    """A row a stage, the longest first; None where no job was measured."""
    if not jobs:
        return None
    stages: dict[str, list[JobTime]] = {}
    for job in jobs:
        stages.setdefault(job.stage, []).append(job)
    ranked = sorted(stages.items(), key=lambda item: -sum(job.seconds for job in item[1]))
    total = sum(job.seconds for job in jobs)
    rows = [_row(stage, members, total) for stage, members in ranked]
    rows.append(_row("all", list(jobs), total))
    columns = ("Stage", "Jobs", "Time", "Share", "CPU time", "Longest job", "Peak memory")
    note = (
        "As Snakemake measured each job's last run, and not part of what results are made of. Time "
        "is summed over jobs that may have run side by side."
    )
    return Table("Time by stage", columns, tuple(rows), note=note)


def _row(stage: str, jobs: Sequence[JobTime], total: float) -> tuple[Cell, ...]:
    seconds = sum(job.seconds for job in jobs)
    longest = max(jobs, key=lambda job: job.seconds)
    return (
        Cell(stage),
        Cell(count(len(jobs))),
        _time(seconds),
        Cell(f"{seconds / total:.0%}" if total else "0%"),
        _time(sum(job.cpu_seconds for job in jobs)),
        _time(longest.seconds, longest.run),
        Cell(f"{max(job.megabytes for job in jobs):,.0f} MB"),
    )


def _time(seconds: float, small: str = "") -> Cell:
    return Cell(duration(seconds), small=small, key=seconds)


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
