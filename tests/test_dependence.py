"""What makes a node run again: its settings, the code that it reaches, its inputs; no more."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack
from dataclasses import replace

from tests.graph import Graph, Plan
from valuestrata import io, tables
from valuestrata.records import read_record

REPORT = {"compare": 1, "contrasts": 1, "tables": 1, "figures": 1, "report": 1, "all": 1}
SCORING = {"score_train": 2, "score_ood": 2, "fairness": 4}
STUDY = "src/valuestrata/study"


def counted(plan: Plan) -> dict[str, int]:
    return {"idle": 0} if plan.idle else dict(plan.jobs)


def test_a_new_key_with_a_default_reruns_nothing_and_asks_nothing(graph: Graph) -> None:
    """In every typed part at once; and no reply gets another key."""
    with graph.restored():
        parts = 0
        with ExitStack() as edits:
            for file in sorted((graph.folder / STUDY).glob("*.py")):
                text = file.read_text(encoding="utf-8")
                pattern = (
                    r'(class \w+\((?:\w*Part|\w*Model|\w*Recipe)\):\n    """(?:[^"]|"(?!""))*"""\n)'
                )
                more, n = re.subn(
                    pattern, r'\1\n    new_key: int = Field(7, description="x")\n', text
                )
                if n and file.name != "base.py":
                    parts += n
                    more = more if "Field" in text else f"from pydantic import Field\n{more}"
                    edits.enter_context(graph.edited(f"{STUDY}/{file.name}", text, more))
            assert parts > 25
            assert graph.planned().idle
            run = "results/mini/runs/tiny/sft/ood"
            done = graph.run("--force", f"{run}/texts.parquet", f"{run}/verdicts/referee.parquet")
            assert done.returncode == 0, done.stderr
            replies = (graph.results / "logs/generate/tiny/sft/ood.log").read_text(encoding="utf-8")
            cached, needed = map(int, re.findall(r"(\d+) of (\d+) replies are cached", replies)[0])
            refused = (
                needed
                - io.read_table(graph.folder / run / "texts.parquet", tables.TEXTS)["outcome"]
                .eq("answer")
                .sum()
            )
            assert cached == needed - refused > 0, "refusals alone are asked again"


def test_words_rerun_nothing(graph: Graph) -> None:
    """Descriptions, messages, docstrings, meanings of columns, comments."""
    edits = [
        (f"{STUDY}/recipes.py", "Peak learning rate.", "The highest learning rate."),
        ("src/valuestrata/tables.py", "answer codes, ascending", "codes of answers, ascending"),
        ("src/valuestrata/io.py", "not a readable table", "no table that can be read"),
        ("src/valuestrata/stages/pairs.py", '"%d pairs of %d', '"have %d pairs of %d'),
        ("src/valuestrata/stages/score.py", '"""Score every pair;', '"""Score each pair;'),
        (
            "src/valuestrata/metrics/ordinal.py",
            "import numpy as np\n",
            "import numpy as np  # arrays\n",
        ),
        ("workflow/rules/train.smk", "tuning {wildcards.model}", "fine-tuning {wildcards.model}"),
    ]
    with ExitStack() as open_edits:
        for edit in edits:
            open_edits.enter_context(graph.edited(*edit))
        assert graph.planned().idle


def test_code_that_no_stage_reaches_reruns_nothing(graph: Graph) -> None:
    """In modules that all stages share, all at once."""
    edits = [
        ("src/valuestrata/io.py", '"valuestrata.caveat", b""', '"valuestrata.caveat", b" "'),
        ("src/valuestrata/records.py", "-> not set", "-> unset"),
        ("src/valuestrata/stages/job.py", 'or "the study"', 'or "this study"'),
    ]
    with ExitStack() as open_edits:
        for edit in edits:
            open_edits.enter_context(graph.edited(*edit))
        assert graph.planned().idle


def test_an_edited_function_reruns_what_reaches_it_and_what_follows(graph: Graph) -> None:
    """One case each for io, prompting, metrics, inference and training."""
    after_training = {"predict": 2, "generate": 1, "judge": 1, "score_train": 1, "score_ood": 1,
                      "fairness": 2, **REPORT}  # fmt: skip
    cases: list[tuple[str, str, str, dict[str, int]]] = [
        (
            "src/valuestrata/io.py",
            "temporary.chmod(0o755)",
            "temporary.chmod(0o750)",
            {
                "toy": 2,
                "finetune": 1,
                "predict": 4,
                "generate": 2,
                "judge": 2,
                "probe": 1,
                **SCORING,
                **REPORT,
            },
        ),
        (
            "src/valuestrata/prompting/verdicts.py",
            "len(choices) == 1",
            "len(choices) < 2 and choices",
            {"judge": 2, "probe": 1, **REPORT},
        ),
        (
            "src/valuestrata/inference/writing.py",
            "def add_to(self, _: Any",
            "def add_to(self, __: Any",
            {"predict": 4, "generate": 2, "judge": 2, "probe": 1, **SCORING, **REPORT},
        ),
        (
            "src/valuestrata/metrics/ordinal.py",
            "np.abs(",
            "np.fabs(",
            {
                "labels": 2,
                "score_train": 3,
                "score_ood": 3,
                "fairness": 6,
                "ceiling": 1,
                "summary": 1,
                **REPORT,
            },
        ),
        (
            "src/valuestrata/training/outcome.py",
            "PROBE = 8",
            "PROBE = 9",
            {"finetune": 1, **after_training},
        ),
    ]
    for path, old, new, expected in cases:
        with graph.edited(path, old, new):
            assert counted(graph.planned()) == expected, path


def test_a_new_column_reruns_the_table_s_writers_and_readers(graph: Graph) -> None:
    column = '    Column("extra", "float", optional=True, meaning="x"),\n'
    path = graph.folder / "src/valuestrata/tables.py"
    text = path.read_text(encoding="utf-8")
    start = text.index("AGREEMENT = Contract(")
    new = text[start:].replace("(\n        Column(", f"(\n    {column}        Column(", 1)
    with graph.edited("src/valuestrata/tables.py", text, text[:start] + new):
        plan = counted(graph.planned())
    assert plan == {"diversity": 1, "summary": 1, "tables": 1, "figures": 1, "report": 1, "all": 1}


def test_a_changed_default_reruns_what_depends_on_it(graph: Graph) -> None:
    """The record of an artefact holds the values that were defaults when it was made."""
    with graph.edited(f"{STUDY}/recipes.py", "default=0.1, ge=0, le=1", "default=0.2, ge=0, le=1"):
        assert counted(graph.planned())["finetune"] == 1


def test_an_adapter_whose_job_outlived_its_snakemake_is_remade(graph: Graph) -> None:
    """kill -9 snakemake during a fine-tune, let the job finish, unlock, change a setting, run."""
    with graph.restored():
        adapter = graph.results / "models/tiny/sft/adapter"
        target = str(adapter.relative_to(graph.folder))
        shutil.rmtree(adapter)
        log = graph.results / "logs/finetune/tiny/sft.log"
        log.unlink(missing_ok=True)
        run = subprocess.Popen(
            graph.command(target, jobs_by=graph.server.forks.python),
            cwd=graph.folder,
            env=graph.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 300
        while not log.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(run.pid, signal.SIGKILL)  # snakemake alone
        run.wait()
        while not adapter.exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        # as an inner snakemake of a cluster's job does: no marker, and no record of Snakemake's
        for marker in (graph.folder / ".snakemake/incomplete").rglob("*"):
            if marker.is_file():
                marker.unlink()
        assert graph.run("--unlock").returncode == 0
        overlay = graph.overlay("recipes: {sft: {epochs: 5}}\n")
        assert graph.planned(*overlay, target).jobs["finetune"] == 1
        assert graph.run(*overlay, target).returncode == 0
        record = read_record(adapter)
        assert record is not None
        assert record.settings["recipe"]["epochs"] == 5


def test_a_stage_refuses_an_input_that_was_made_otherwise(graph: Graph) -> None:
    """By hand, past Snakemake: the line names the setting."""
    study = graph.results / "study.json"
    text = study.read_text(encoding="utf-8")
    try:
        study.write_text(text.replace('"epochs": 4', '"epochs": 9'), encoding="utf-8")
        done = graph.run_by_hand(
            "valuestrata predict --study results/mini/study.json "
            "--model tiny --variant sft --split ood"
        )
    finally:
        study.write_text(text, encoding="utf-8")
    assert done.returncode == 2
    assert "recipe.epochs: 4 -> 9" in done.stderr
    assert done.stderr.count("\n") == 1


def valuestrata(graph: Graph, *arguments: str) -> str:
    done = graph.run_by_hand(shlex.join(["valuestrata", *arguments]))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_status_says_what_is_stale_and_why_and_accept_keeps_it(graph: Graph) -> None:
    with graph.restored():
        assert " 0 missing, 0 stale" in valuestrata(graph, "status")
        path, old, new = "src/valuestrata/training/outcome.py", "PROBE = 8", "PROBE = 9"
        overlay = graph.overlay("recipes: {sft: {weight_decay: 0.5}}\n")
        files = ["config.yaml", overlay[1]]
        text = valuestrata(graph, "status", "--all", *files)
        assert "finetune: recipe.weight_decay: 0.0 -> 0.5" in text
        assert "predict: waits for finetune of tiny/sft" in text
        moved = graph.results / "moved"
        (graph.results / "runs/tiny/base/ood/fairness.parquet").rename(moved)
        with graph.edited(path, old, new):
            text = valuestrata(graph, "status", "--all")
            assert "training.outcome.PROBE was edited" in text
            assert "fairness: fairness.parquet is not there" in text
            moved.rename(graph.results / "runs/tiny/base/ood/fairness.parquet")
            assert graph.planned().jobs["finetune"] == 1
            text = valuestrata(graph, "accept", "tiny/sft", "--reason", "the probe is only logged")
            assert "models/tiny/sft/adapter" in text
            plan = counted(graph.planned())
            assert plan == {"report": 1, "all": 1}, "the report says what was accepted"
            assert graph.run().returncode == 0
            page = (graph.results / "report/index.html").read_text(encoding="utf-8")
            assert "the probe is only logged" in page
            assert graph.planned().idle
            assert " 0 missing, 0 stale" in valuestrata(graph, "status")


def test_an_incomplete_run_is_made_again(graph: Graph) -> None:
    path = graph.results / "runs/tiny/base/ood/predictions.parquet"
    record = read_record(path)
    assert record is not None
    with graph.restored():
        table = io.read_table(path, tables.PREDICTIONS)
        io.write_table(table, path, tables.PREDICTIONS, replace(record, n_failed=2))
        assert "predict: 2 calls failed and are retried" in valuestrata(graph, "status", "--all")
        assert graph.planned().jobs["predict"] == 1
