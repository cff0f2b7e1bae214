"""What the report says of how it was made, and no result depends on: so it is no input of a stage.

Times of jobs, the code's commit, the study's settings, data digests, versions, the machine.
"""

import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd

from valuestrata import paths
from valuestrata.errors import InputError
from valuestrata.provenance import SOURCE, file_digest
from valuestrata.records import read_record
from valuestrata.report.times import JobTime
from valuestrata.stages.hardware import hardware_lines
from valuestrata.study.evaluation import Evaluation

LIBRARIES = (
    "torch", "transformers", "peft", "trl", "vllm", "numpy", "pandas", "scipy", "scikit-learn",
    "pyarrow", "snakemake",
)  # fmt: skip
DIGITS = 16


def job_times(results: Path) -> list[JobTime]:
    """What Snakemake measured of a study's jobs, read from its benchmarks."""
    jobs = []
    for path in sorted((results / paths.BENCHMARKS).rglob("*.tsv")):
        rows = pd.read_csv(path, sep="\t", usecols=["s", "max_rss", "cpu_time"], na_values="-")
        stage, *run = path.relative_to(results / paths.BENCHMARKS).with_suffix("").parts
        for seconds, megabytes, cpu in rows.fillna(0).itertuples(index=False):
            jobs.append(JobTime(stage, " ".join(run), float(seconds), float(cpu), float(megabytes)))
    return jobs


def version() -> str:
    """Version of this package and, in a checkout, its commit and whether files differ from it."""
    try:
        number = importlib.metadata.version("valuestrata")
    except importlib.metadata.PackageNotFoundError:
        number = "(version unknown: run from source)"
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return f"valuestrata {number}"
    changed = ", with changes that are not committed" if _git("status", "--porcelain") else ""
    return f"valuestrata {number}, commit {commit[:DIGITS]}{changed}"


def _git(*arguments: str) -> str:
    """What git says of the checkout that the package is in; '' where it is in none."""
    if not (SOURCE.parent / ".git").exists():
        return ""
    command = ["git", "-C", str(SOURCE.parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def facts(questions: str, results: Path, evaluation: Evaluation) -> list[tuple[str, str]]:
    """Terms and texts: data, settings, seeds, libraries, machine.

    Args:
        questions: the table `questions`, whose record names what it was read from.
        results: the study's folder.
        evaluation: intervals and tests.
    """
    record = read_record(questions)
    read = record.inputs if record else {}
    data = "; ".join(f"{Path(name).name} {digest[:DIGITS]}" for name, digest in read.items())
    study = results / paths.STUDY
    digest = file_digest(study)[:DIGITS] if study.exists() else "not there"
    installed = [f"{name} {number}" for name in LIBRARIES if (number := _installed(name))]
    return [
        ("Data: file and digest", data or "not recorded"),
        ("Settings: digest of study.json", digest),
        (
            "Seeds",
            f"{evaluation.seed} for intervals and tests of {evaluation.n_resamples:,} resamples; "
            "all others are in the settings below",
        ),
        ("Libraries, where this page was written", ", ".join(installed)),
        (
            "Machine that wrote this page",
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, Python "
            f"{platform.python_version()}",
        ),
        ("Hardware of each job's last run", "; ".join(hardware_lines(results))),
    ]


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def study_text(results: Path) -> str:
    """All settings of the study as JSON, folders of files left out; '' where they are not there."""
    path = results / paths.STUDY
    if not path.exists():
        return ""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise InputError(f"{path}: not a study that snakemake wrote") from None
    return json.dumps(_without_folders(content), indent=1, ensure_ascii=False)


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_folders(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_folders(part) for part in value]
    if isinstance(value, str) and value.startswith(("/", "~", "./", "../")):
        return Path(value).name
    return value
