"""What the terminal says of failures and locks, and what Snakemake must make anew.

The run's own log file, in .snakemake/log, keeps all that the terminal leaves out.
"""

import atexit
import json
import os
import re
import socket
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import snakemake.exceptions
from snakemake.dag import DAG
from snakemake.logging import DefaultFormatter, logger
from snakemake.persistence import PersistenceBase

JOB_LOGS: dict[int, list[str]] = {}
"""Log files of a failed job by its id, an executor's own among them."""
OWNER = Path(".snakemake") / "owner"
KILLED = "no error message (was it killed, or out of memory?)"


class TerseFormatter(DefaultFormatter):
    """Snakemake's formatter for the terminal without shell commands and dumps of logs."""

    def format(self, record: Any) -> str:
        """One message; '' for the dump of a failed shell command."""
        is_job = getattr(record, "exception", None) == "RuleException"
        is_dump = is_job and "CalledProcessError in" in record.getMessage()
        return "" if is_dump else str(super().format(record))

    def _format_job_error(self, msg: dict[str, Any]) -> Any:
        JOB_LOGS[msg["jobid"]] = msg["log"]
        return super()._format_job_error({**msg, "shellcmd": None, "msg": None})


class LockedFolder(snakemake.exceptions.LockException):
    """Snakemake's error for a folder that is locked, with what to do."""

    def __init__(self) -> None:
        snakemake.exceptions.WorkflowError.__init__(self, lock_advice())


def set_up(
    workflow: Any, is_stale: Callable[[str], bool], problem_of: Callable[[Any], str]
) -> None:
    """Have failures and locks told in few lines, stale outputs made anew, and bad jobs refused."""
    snakemake.exceptions.LockException = LockedFolder
    remake_stale_outputs(is_stale)
    refuse_jobs(problem_of, workflow.output_settings.dryrun)
    for handler in logger.handlers:
        if handler.name == "DefaultStreamHandler":
            handler.setFormatter(TerseFormatter(workflow.output_settings.quiet, False))


def remake_stale_outputs(
    is_stale: Callable[[str], bool], check_incomplete: Any = DAG.check_incomplete
) -> None:
    """Have Snakemake make every output anew that is not what the study asks for.

    Its own records miss an output that a job wrote after its snakemake was killed. It has no public
    way to force single outputs; a test fails where this one no longer works.
    """

    async def check(dag: Any) -> None:
        await check_incomplete(dag)
        firsts = (next(iter(job.output), None) for job in dag.jobs)
        dag.forcefiles.update(path for path in firsts if path and is_stale(str(path)))

    DAG.check_incomplete = check


def run_ahead(
    marks: Collection[str],
    update_needrun: Any = DAG.update_needrun,
    inputs_of: Any = PersistenceBase._input,
    incomplete_of: Any = PersistenceBase.incomplete,
) -> None:
    """Have the job that makes a mark run before the jobs that want it, and for their sake alone.

    It runs where two of them have to, and is no reason for any of them to run: neither because it
    ran, nor because a job has a mark among its inputs that it did not have before. Snakemake has no
    such order between jobs. Ancient files come near, but a job behind one whose maker runs is not
    looked at, even where its own output is missing. A mark is never incomplete, as nothing is read
    from it. A test fails where this no longer works.
    """

    async def incomplete(persistence: Any, job: Any) -> Any:
        is_maker = any(path in marks for path in job.output)
        return [] if is_maker else await incomplete_of(persistence, job)

    async def update(dag: Any, *arguments: Any, **options: Any) -> None:
        makers = [job for job in dag.jobs if any(path in marks for path in job.output)]
        before = [(job, maker) for maker in makers for job in dag._dependencies[maker]]
        after = [(maker, job) for maker in makers for job in dag.depending[maker]]
        files = {tie: _cut(dag, *tie) for tie in before + after}
        await update_needrun(dag, *arguments, **options)
        kept = _kept(dag)
        waiting = Counter(maker for maker, job in after if dag.needrun(job) and job in kept)
        wanted = {job for job, n in waiting.items() if n > 1} | ({*makers} & {*dag.targetjobs})
        if wanted:
            dag.forcefiles.update(path for maker in wanted for path in maker.output)
            for tie in before:
                if tie[1] in wanted:
                    _tie(dag, *tie, files[tie])
            await update_needrun(dag, *arguments, **options)
        for maker in {*makers} - wanted:
            dag.reason(maker).no_metadata = False  # of one that never had to run
        dag._needrun -= {*makers} - wanted
        dag._len = len(dag._finished | dag._needrun)
        for tie in before + after:
            _tie(dag, *tie, files[tie])
        for job in dag.needrun_jobs():
            dag._n_until_ready[job] = sum(map(dag.needrun, dag._dependencies[job]))

    if marks:
        DAG.update_needrun = update
        PersistenceBase.incomplete = incomplete
        PersistenceBase._input = lambda persistence, job: [
            path for path in inputs_of(persistence, job) if path not in marks
        ]


def _kept(dag: Any) -> set[Any]:
    """The jobs that `--until` and `--omit-from` leave."""
    ends = {*dag.until_jobs()}
    kept = {*dag.bfs(dag._dependencies, *ends)} if ends else {*dag.jobs}
    return kept - {*dag.downstream_of_omitfrom()}


def _cut(dag: Any, first: Any, second: Any) -> Any:
    """Take away that a job needs another one's files; returns the files."""
    del dag._dependencies[second][first]
    return dag.depending[first].pop(second)


def _tie(dag: Any, first: Any, second: Any, files: Any) -> None:
    dag._dependencies[second][first] = dag.depending[first][second] = files


def refuse_jobs(
    problem_of: Callable[[Any], str], is_dry_run: bool, postprocess: Any = DAG.postprocess
) -> None:
    """End with exit 2 and a line a problem of the jobs that are to run; only warn in a dry run."""

    async def check(dag: Any, *arguments: Any, **options: Any) -> None:
        await postprocess(dag, *arguments, **options)
        problems = sorted({problem_of(job) for job in dag.needrun_jobs()} - {""})
        for problem in problems:
            print("warning: " * is_dry_run + problem, file=sys.stderr)
        if problems and not is_dry_run:
            sys.exit(2)

    DAG.postprocess = check


def record_owner() -> None:
    """Note which process runs, for who finds its lock."""
    OWNER.write_text(f"{socket.gethostname()} {os.getpid()}")


def lock_advice() -> str:
    """What to do about a lock."""
    try:
        host, pid = OWNER.read_text().split()
    except (OSError, ValueError):
        host, pid = "?", "?"
    if host == socket.gethostname() and _is_alive(pid):
        return f"process {pid} runs snakemake in this folder: wait until it ends, or stop it"
    return (
        f"a run was killed here (process {pid} on {host}) and left its lock. Once none of its "
        "jobs run any more (on a cluster: squeue --me, scancel), unlock and start again: "
        "snakemake --unlock, with the same --configfile"
    )


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        pass  # another user's
    return True


def summarise_failures(failed: Iterable[Any], study: str) -> None:
    """Print last of all, for each failed job: what failed, why, and where to read on."""
    for job in sorted(failed, key=lambda job: int(job.jobid)):
        path, line = last_line(JOB_LOGS.get(job.jobid, [*job.log]))
        run = "/".join(job.wildcards_dict.values()) or f"study {study}"
        text = f"\n{job.rule.name} failed for {run}\n  {line}\n  log: {path}"
        atexit.register(print, text, file=sys.stderr)


def print_notices(summary: Path) -> None:
    """Print last of all what is doubtful in how the survey was read, where that is known."""
    notices = json.loads(summary.read_text()).get("notices") if summary.is_file() else None
    if notices:
        lines = "\n".join(f"  {notice}" for notice in notices)
        atexit.register(print, f"\nDoubtful in the survey's file:\n{lines}", file=sys.stderr)


def last_line(paths: Iterable[str]) -> tuple[str, str]:
    """(path, last line) of the first log that has a line, where it tells of an error."""
    for path in map(Path, paths):
        if path.is_file():
            lines = [line for line in path.read_text(errors="replace").split("\n") if line.strip()]
            if lines:
                is_progress = re.match(r"\d\d:\d\d:\d\d ", lines[-1])
                return str(path), f"{KILLED} after: {lines[-1]}" if is_progress else lines[-1]
    return " ".join(map(str, paths)) or "none", KILLED
