"""A copy of the repository with the smallest study, and snakemake to run on it."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tests.job_forks import Forks
from valuestrata.study.yaml import read_yaml

ROOT = Path(__file__).resolve().parents[1]
PARTS = ["Snakefile", "workflow", "src", "envs", "profiles", "studies/codebooks"]
FLAGS = ["--cores", "2", "--scheduler", "greedy", "--max-checksum-file-size", "1000000000"]
NOT_OF_A_RUN = ("SNAKEMAKE_PROFILE", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
"""A profile of the user's must not take part; code that is compiled anew is half of a dry run."""

SERVER = """
import gc, json, os, sys
import pandas, pyarrow.parquet, pydantic.main, pydantic.types, scipy.sparse, scipy.special
import smart_open, snakemake.report.html_reporter
from snakemake.cli import main
gc.freeze()
for line in sys.stdin:
    job = json.loads(line)
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    else:
        os.chdir(job["folder"])
        os.environ.clear()
        os.environ.update(job["environment"])
        for number, path in enumerate((os.devnull, job["out"], job["errors"])):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
        sys.argv, sys.executable = job["command"], job["python"]
        main()
"""
"""Forks a process for each run of snakemake, so that it is imported once: half of a dry run."""

ALONE = "import sys; sys.executable = {python!r}; from snakemake.cli import main; main()"


class Server:
    """Runs snakemake in processes of their own, and its jobs by `forks`."""

    def __init__(self, forks: Forks) -> None:
        """Start it."""
        self.forks = forks
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self, command: list[str], folder: Path, environment: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run one command line; output and errors are kept."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with TemporaryDirectory() as kept:
            out, errors = Path(kept, "out"), Path(kept, "errors")
            job = {"command": command, "folder": str(folder), "environment": environment}
            job |= {"out": str(out), "errors": str(errors), "python": str(self.forks.python)}
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
            code = int(self.process.stdout.readline())
            return subprocess.CompletedProcess(command, code, out.read_text(), errors.read_text())

    def stop(self) -> None:
        """End it."""
        self.process.communicate(timeout=60)
        self.forks.stop()


class Graph:
    """A study, the one of tests/fixtures/mini.yaml if none is given, in a folder of its own."""

    def __init__(self, folder: Path, server: Server, study: dict[str, Any] | None = None) -> None:
        """Copy what a run needs."""
        self.folder = folder
        self.server = server
        self.study = study or read_yaml(ROOT / "tests" / "fixtures" / "mini.yaml")
        for part in PARTS:
            source, target = ROOT / part, folder / part
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
                shutil.copytree(source, target, ignore=ignore, dirs_exist_ok=True)
            else:
                shutil.copy2(source, target)
        text = yaml.safe_dump(self.study, sort_keys=False)
        (folder / "config.yaml").write_text(text, encoding="utf-8")

    def copy(self, folder: Path, **changes: Any) -> "Graph":
        """The study in another folder with all that was made of it, and with some keys changed."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Graph(folder, self.server, {**self.study, **changes})

    @property
    def results(self) -> Path:
        """Where the study's artefacts lie."""
        return self.folder / "results" / self.study["study"]

    def command(self, *arguments: str, jobs_by: Path | str = sys.executable) -> list[str]:
        """The command line of a run, for a process that is started for it."""
        return [sys.executable, "-c", ALONE.format(python=str(jobs_by)), *FLAGS, *arguments]

    def environment(self) -> dict[str, str]:
        """The environment of a run."""
        kept = {k: v for k, v in os.environ.items() if k not in NOT_OF_A_RUN}
        return {**kept, "OMP_NUM_THREADS": "1"}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run snakemake; output and errors are kept."""
        command = ["snakemake", *FLAGS, *arguments]
        return self.server.run(command, self.folder, self.environment())

    def run_by_hand(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command line `valuestrata ...` outside of snakemake, as a person would."""
        python = shlex.quote(str(self.server.forks.python))
        return subprocess.run(
            command.replace("valuestrata", f"{python} -m valuestrata", 1),
            shell=True,
            cwd=self.folder,
            env={**self.environment(), "PYTHONPATH": "src"},
            capture_output=True,
            text=True,
            check=False,
        )

    def planned(self, *arguments: str) -> "Plan":
        """What a dry run would do."""
        done = self.run("--dry-run", *arguments)
        assert done.returncode == 0, done.stderr + done.stdout
        return Plan(done.stdout + done.stderr)

    @contextmanager
    def edited(self, path: str, old: str, new: str) -> Iterator[None]:
        """A file of the copy with some text replaced, for as long as the block runs.

        What is known of the code as it was is kept for when it is so again.
        """
        file, code = self.folder / path, self.results / "code"
        before, times = file.read_text(encoding="utf-8"), file.stat()
        digests = {path: path.read_bytes() for path in code.glob("*.json")}
        assert old in before, f"{path}: {old!r} is not there"
        file.write_text(before.replace(old, new), encoding="utf-8")
        try:
            yield
        finally:
            file.write_text(before, encoding="utf-8")
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
            for newer in code.glob("*.json"):
                newer.unlink()
            for digest, content in digests.items():
                digest.write_bytes(content)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Results and Snakemake's records as they were, once the block has run."""
        aside = self.folder.with_name(f"{self.folder.name}-aside")
        parts = ("results", ".snakemake")
        for part in parts:
            shutil.copytree(self.folder / part, aside / part, symlinks=True)
        try:
            yield
        finally:
            for part in parts:
                shutil.rmtree(self.folder / part)
                shutil.move(aside / part, self.folder / part)
            shutil.rmtree(aside)

    def overlay(self, text: str) -> list[str]:
        """Arguments that lay a few lines of YAML over the study."""
        path = self.folder / "overlay.yaml"
        path.write_text(text, encoding="utf-8")
        return ["--configfile", str(path), "--"]


class Plan:
    """Jobs of a dry run, by rule, and what each says of itself."""

    def __init__(self, text: str) -> None:
        """Read snakemake's own table of jobs."""
        self.text = text
        table = re.search(r"Job stats:\njob +count\n[- ]+\n(.*?)\ntotal", text, re.DOTALL)
        rows = table[1].splitlines() if table else []
        self.jobs = Counter({row.split()[0]: int(row.split()[1]) for row in rows})
        self.messages = re.findall(r"Job \d+: (.*)", text)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return "Nothing to be done" in self.text and not self.jobs
