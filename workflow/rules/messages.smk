# What the terminal says of failures and locks. The run's own log file, .snakemake/log, keeps all.
import atexit
import os
import socket

import snakemake.exceptions
from snakemake.dag import DAG
from snakemake.logging import DefaultFormatter, logger

JOB_LOGS = {}  # jobid -> its log files, an executor's own among them
OWNER = Path(".snakemake/owner")


class TerseFormatter(DefaultFormatter):
    """Snakemake's formatter for the terminal without shell commands and dumps of logs."""

    def format(self, record):
        is_job = getattr(record, "exception", None) == "RuleException"
        is_dump = is_job and "CalledProcessError in" in record.getMessage()
        return "" if is_dump else super().format(record)

    def _format_job_error(self, msg):
        JOB_LOGS[msg["jobid"]] = msg["log"]
        return super()._format_job_error({**msg, "shellcmd": None, "msg": None})


def last_line(paths):
    """(path, last line) of the first log that holds a line."""
    for path in map(Path, paths):
        if path.is_file():
            lines = path.read_text(errors="replace").split("\n")
            lines = [line for line in lines if line.strip()]
            if lines:
                return path, lines[-1]
    return " ".join(map(str, paths)) or "none", "no message: was it killed, or out of memory?"


def summarise(failed):
    """The last lines on the terminal: what failed, why, and where to read on."""
    for rule_name, run, logs in failed:
        path, line = last_line(logs)
        print(f"\n{rule_name} failed for {run}\n  {line}\n  log: {path}", file=sys.stderr)


def run_of(job):
    """What a job was for: toy-llama/sft/ood."""
    return "/".join(job.wildcards_dict.values()) or f"study {STUDY.name}"


def record_owner():
    """Note which process runs, for who finds its lock."""
    OWNER.write_text(f"{socket.gethostname()} {os.getpid()}")


def lock_advice():
    """What to do about a lock."""
    try:
        host, pid = OWNER.read_text().split()
    except (OSError, ValueError):
        host, pid = "?", "?"
    if host == socket.gethostname() and Path(f"/proc/{pid}").exists():
        return f"process {pid} runs snakemake in this folder: wait until it ends, or stop it"
    return (
        f"a run was killed here (process {pid} on {host}) and left its lock. Once none of its "
        "jobs run any more (on a cluster: squeue --me, scancel), unlock and start again: "
        "snakemake --unlock, with the same --configfile"
    )


class LockedFolder(snakemake.exceptions.LockException):
    """Snakemake's error for a folder that is locked, with what to do."""

    def __init__(self):
        snakemake.exceptions.WorkflowError.__init__(self, lock_advice())


def remake_stale_outputs(check_incomplete=DAG.check_incomplete):
    """Have Snakemake remake every output that is not what the study asks for.

    Its own records miss an output that a job wrote after its snakemake was killed. It has no public
    way to force single outputs; a test fails where this one no longer works.
    """
    from valuestrata.stages.job import is_stale

    async def check(dag):
        await check_incomplete(dag)
        firsts = (next(iter(job.output), None) for job in dag.jobs if job.rule.name != "study")
        dag.forcefiles.update(path for path in firsts if path and is_stale(STUDY, str(path)))

    DAG.check_incomplete = check


if workflow.is_main_process:
    snakemake.exceptions.LockException = LockedFolder
    remake_stale_outputs()
    for handler in logger.handlers:
        if handler.name == "DefaultStreamHandler":
            handler.setFormatter(TerseFormatter(workflow.output_settings.quiet, False))


onerror:
    failed = sorted(workflow.scheduler.failed, key=lambda job: job.jobid)
    logs = [JOB_LOGS.get(job.jobid, [*job.log]) for job in failed]
    atexit.register(
        summarise, [(job.rule.name, run_of(job), log) for job, log in zip(failed, logs)]
    )
