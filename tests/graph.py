"""A copy of the repository with the smallest study, and snakemake to run on it."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARTS = ["Snakefile", "workflow", "src", "envs", "profiles", "studies/codebooks"]
FLAGS = ["--cores", "2", "--scheduler", "greedy", "--max-checksum-file-size", "1000000000"]


class Graph:
    """The study of tests/fixtures/mini.yaml in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        """Copy what a run needs."""
        self.folder = folder
        for part in PARTS:
            source, target = ROOT / part, folder / part
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
                shutil.copytree(source, target, ignore=ignore)
            else:
                shutil.copy2(source, target)
        shutil.copy2(ROOT / "tests" / "fixtures" / "mini.yaml", folder / "config.yaml")

    @property
    def results(self) -> Path:
        """Where the study's artefacts lie."""
        return self.folder / "results" / "mini"

    def command(self, *arguments: str) -> list[str]:
        """The command line of a run."""
        return [sys.executable, "-m", "snakemake", *FLAGS, *arguments]

    def environment(self) -> dict[str, str]:
        """The environment of a run; a profile of the user's must not take part."""
        kept = {k: v for k, v in os.environ.items() if k not in ("SNAKEMAKE_PROFILE", "PYTHONPATH")}
        return {**kept, "OMP_NUM_THREADS": "1"}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run snakemake; output and errors are kept."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def planned(self, *arguments: str) -> "Plan":
        """What a dry run would do."""
        done = self.run("--dry-run", *arguments)
        assert done.returncode == 0, done.stderr + done.stdout
        return Plan(done.stdout + done.stderr)

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
