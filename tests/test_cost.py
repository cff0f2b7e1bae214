"""What models at services cost: said before, limited and logged meanwhile, in the results after."""

import contextlib
import copy
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests import world
from tests.graph import ROOT
from tests.served import KEY, VARIABLE, Raw, Server, serving
from valuestrata import io, paths
from valuestrata.__main__ import main
from valuestrata.commands import cost
from valuestrata.errors import InputError
from valuestrata.inference import service
from valuestrata.inference.books import Books, total
from valuestrata.inference.openai import OpenAIBackend
from valuestrata.inference.protocol import Sampling
from valuestrata.prompting import judging
from valuestrata.report.cost import cost_sentence, cost_table
from valuestrata.stages.job import params_digest
from valuestrata.stages.rehearsal import NO_SURVEY, NO_TEXTS
from valuestrata.stages.usage import USAGE
from valuestrata.stages.usage import inputs as usage_inputs
from valuestrata.study.checks import uncounted
from valuestrata.study.load import load
from valuestrata.study.models import OpenAIModel
from valuestrata.study.study import Study
from valuestrata.study.yaml import read_mapping

MINI = read_mapping(ROOT / "tests/fixtures/mini.yaml")
SURVEY = ("simulate", "clean", "tally", "pairs")
PRICES = {"prompt": 2, "completion": 8, "cached_prompt": 1}
Surveyed = Callable[[Path, Study], Path]
RUN = {"model": "gpt", "variant": "base", "split": "ood"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(service, "LONGEST_WAIT", 0.01)
    monkeypatch.setattr(os, "fdatasync", lambda _: None)


def study(address: str = "http://127.0.0.1:9/v1", **changes: Any) -> Study:
    """The smallest study, with a model and a judge at a service."""
    raw = copy.deepcopy(MINI)
    served = {"backend": "openai", "model": "g", "base_url": address, "api_key_env": VARIABLE}
    served |= {"prices": PRICES, "max_retries": 1, "max_concurrency": 2, "timeout": 5}
    raw["survey"]["codebook"] = str(ROOT / raw["survey"]["codebook"])
    raw["models"] = {"gpt": {**served, **changes.pop("model", {})}}
    judge = {**served, **changes.pop("judge", {})}
    raw["judges"] = {
        "ref": {
            "model": judge,
            "reference": {"model": "gpt"},
            "max_new_tokens": 24,
            "rubric": "toy",
        }
    }
    raw["recipes"] = {}
    raw["prompt_variants"] = {"zh": {"template": "mandarin"}}
    return load({**raw, **changes})


@pytest.fixture(scope="module")
def surveyed(tmp_path_factory: pytest.TempPathFactory) -> Surveyed:
    """Put the survey's tables, and a study beside them, into a folder."""
    made = world.run_stages(study(), tmp_path_factory.mktemp("survey"), *SURVEY)

    def put(folder: Path, chosen: Study) -> Path:
        results = folder / chosen.results
        shutil.copytree(made, results)
        io.write_text(chosen.to_json(), results / paths.STUDY)
        return results

    return put


def reply(persona: str, user: str) -> Raw:
    """An answer, a text or a verdict, with its usage."""
    time.sleep(0.02)
    rubric = judging.rubric("toy")
    text = "Answer: 2" if "Answer:" in user else f"I think so, {user[-15:]}"
    if persona.startswith("You compare two answers"):
        text = "\n".join(f"{dimension}: 1" for dimension in rubric.dimensions)
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    counts = {"prompt_tokens": len(user) // 4, "completion_tokens": 4}
    return Raw(json.dumps({"choices": [choice], "usage": counts}).encode())


def row(lines: list[str], name: str) -> str:
    return next(line for line in lines if line.startswith(name))


def number(line: str, column: int) -> int:
    return int(line[25:].split()[column].lstrip("<=").replace(",", ""))


def texts_below(folder: Path) -> Iterator[bytes]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path.read_bytes()


def test_cost_is_said_before_kept_to_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], surveyed: Surveyed
) -> None:
    with serving(reply) as server, contextlib.chdir(tmp_path):
        asked = study(server.address, model={"max_concurrency": 7})
        before = cost.lines(asked)
        assert not server.asked
        assert not list(tmp_path.iterdir())
        results = surveyed(tmp_path, asked)
        n_pairs = len(world.read_pairs(results, "ood"))
        bounded = study(server.address, budget={"calls": 9, "amount": 5})
        told = cost.lines(bounded)
        assert told[:-7] == before[:-6]  # the survey's file is enough
        assert number(row(before, "predict gpt/base/ood"), 0) == n_pairs
        assert number(row(before, "predict gpt/base+zh/ood"), 0) == n_pairs
        assert row(before, "judge gpt/base/ood/ref")[25:].split()[0].startswith("<=")
        assert f"at most, as {NO_TEXTS}" in before
        assert any("twice as many" in line for line in before)
        assert row(before, "budget:").startswith("budget: none; nothing limits")

        # a job stops before the budget, keeps what it paid for, and goes on once there is more
        io.write_text(bounded.to_json(), results / paths.STUDY)
        assert "budget: 9 calls, not enough" in "\n".join(told)
        capsys.readouterr()
        assert world.run_stage(bounded, "predict", **RUN) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("valuestrata predict: the next call could pass the study's budget")
        # a call that never got through, on a busy machine, counts as one that may be billed
        assert 7 < len(server.asked) <= 9
        cached = number(row(cost.lines(bounded), "predict gpt/base/ood"), 1)
        assert cached == len(server.asked)
        io.write_text(asked.to_json(), results / paths.STUDY)
        for stage in ("predict", "generate", "judge"):
            extra = {"judge": "ref"} if stage == "judge" else {}
            assert world.run_stage(asked, stage, **RUN, **extra) == 0
        assert 4 < server.most_at_once <= 7  # no setting of the job, and it reaches it all the same
        # no prompt was asked twice: the same ones have the same reply
        assert len({json.dumps(request) for request in server.asked}) == len(server.asked)
        after = cost.lines(asked)
        assert row(after, "predict gpt/base/ood").split()[-1] == "done"
        assert row(after, "generate gpt/base/ood").split()[-1] == "done"
        n_texts = number(row(before, "generate gpt/base/ood"), 0)
        assert len(server.asked) == n_pairs + n_texts + number(row(before, "judge"), 0) > n_pairs
        prompt = sum(len(request["messages"][1]["content"]) // 4 for request in server.asked)
        paid = (2 * prompt + 8 * 4 * len(server.asked)) / 1e6
        spent = total(Books(results / paths.LEDGER).accounts())
        assert spent.calls - spent.unsure == spent.by_usage == len(server.asked)
        assert spent.unsure or f"spent so far: USD {paid:.4f} in {spent.calls} calls" in after

        for split in ("train", "ood"):
            for variant in ("base", "base+zh"):
                run = {"model": "gpt", "variant": variant, "split": split}
                assert world.run_stage(asked, "predict", **run) == 0
        assert world.run_stage(asked, "usage") == 0
        table = io.read_table(results / paths.USAGE, USAGE)
    assert table["by_usage"].sum() == len(server.asked)
    spent = total(Books(results / paths.LEDGER).accounts())
    assert table["amount"].sum() == pytest.approx(spent.amount)
    first = table[(table["stage"] == "predict") & (table["variant"] == "base")].set_index("split")
    assert first.loc["ood", "calls"] == n_pairs
    assert first.loc["ood", "cached_replies"] == n_pairs
    assert set(table["judge"]) == {"", "ref"}
    predictions = pd.read_parquet(results / paths.PREDICTIONS.format(**RUN))
    assert (predictions["prompt_tokens"] > 0).all()
    assert not [text for text in texts_below(tmp_path) if KEY.encode() in text]


def test_without_a_survey_cost_is_an_upper_bound_and_says_so(tmp_path: Path) -> None:
    survey = {**MINI["survey"], "file": "not-there.csv", "codebook": str(world.BOOK)}
    del survey["simulate"]
    raw = {"survey": survey, "models": {}}
    with contextlib.chdir(tmp_path):
        lines = cost.lines(_loaded(raw))
        # 3 ages by 3 religions, 4 questions
        assert number(row(lines, "predict gpt/base/ood"), 0) == 36
        assert f"at most, as {NO_SURVEY}" in lines
        sex = {"column": "Q260", "groups": "auto"}
        raw["survey"] = {**survey, "axes": {**survey["axes"], "sex": sex}}
        with pytest.raises(InputError, match="only it says which groups axis sex has"):
            cost.lines(_loaded(raw))


def _loaded(raw: dict[str, Any]) -> Study:
    gpt = {"backend": "openai", "model": "g", "base_url": "http://x/v1", "prices": PRICES}
    parts = {**copy.deepcopy(MINI), **raw, "models": {"gpt": gpt}, "recipes": {}, "judges": {}}
    return load({**parts, "generation": None}, files=False)


def test_models_without_a_price_are_said_and_never_free(tmp_path: Path, surveyed: Surveyed) -> None:
    with contextlib.chdir(tmp_path):
        free = {"prices": {"prompt": 0, "completion": 0}}
        mixed = study(model={"prices": None}, judge=free)
        surveyed(tmp_path, mixed)
        lines = cost.lines(mixed)
        assert row(lines, "predict gpt/base/ood").endswith("no price")
        assert "calls have no price and are not in it" in row(lines, "to come:")
        # a service of one's own is free because the study says so
        assert row(lines, "judge gpt/base/ood").endswith("up to USD 0.00")
        assert [line.split(":")[0] for line in uncounted(mixed)] == ["models.gpt has no prices"]
        (line,) = uncounted(study())
        assert line.startswith("nothing limits what models.gpt, judges.ref.model may cost")
        assert not uncounted(study(budget={"calls": 3}))
        with pytest.raises(InputError, match=r"models.gpt.prices: missing, so budget.amount"):
            study(model={"prices": None}, budget={"amount": 3})
        study(model={"prices": None}, budget={"calls": 3})
        for euros in ({"budget": {"amount": 3, "currency": "EUR"}}, {}):
            model = {} if euros else {"prices": {**PRICES, "currency": "EUR"}}
            with pytest.raises(InputError, match="give all in one currency"):
                study(model=model, **euros)
        with pytest.raises(InputError, match="give amount, calls or both"):
            study(budget={"currency": "USD"})
    counts = {"calls": 9, "by_usage": 6, "unsure": 1, "unbilled": 2, "unpriced": 9}
    tokens = {"prompt_tokens": 9000, "cached_tokens": 800, "completion_tokens": 70}
    line = {"stage": "predict", **RUN, "judge": "", "cached_replies": 3, **counts, **tokens}
    unpriced = pd.DataFrame([{**line, "amount": None, "currency": ""}])
    assert "nobody knows" in cost_sentence(unpriced)
    assert cost_table(unpriced).rows[0][-1].text == "–"
    assert "not on record" not in cost_sentence(unpriced)
    both = pd.concat(
        [unpriced, unpriced.assign(amount=0.5, currency="USD", unpriced=0)], ignore_index=True
    )
    assert cost_sentence(both) == (
        "Models at a service cost USD 0.50 in 18 calls; 4 of these by estimated tokens; 2 of these "
        "failed and may have been billed; 9 of these without a price, which the sum leaves out."
    )
    assert "no call" in cost_sentence(unpriced.iloc[:0]).lower()


def test_prices_budget_and_pace_rerun_nothing_and_reach_the_job(tmp_path: Path) -> None:
    plain = study()
    other = study(
        model={"prices": {**PRICES, "prompt": 9}, "max_concurrency": 7}, budget={"calls": 7}
    )
    with contextlib.chdir(tmp_path):
        for stage, run in (
            ("predict", RUN),
            ("generate", RUN),
            ("judge", {**RUN, "judge": "ref"}),
            ("usage", {}),
            ("tables", {}),
            ("report", {}),
        ):
            assert params_digest(plain, stage, run) == params_digest(other, stage, run), stage


# ---- keys


def misbehaving(other: str) -> Callable[[str, str], Any]:
    """Every way in which a service could send the key back."""
    echo = json.dumps({"error": {"message": f"bad {KEY}", "param": KEY, "code": KEY}}).encode()
    message = {"content": f"Answer: 2 {KEY}"}
    ends = [{"choices": [{"message": message, "finish_reason": end}]} for end in ("stop", KEY)]
    replies = [
        Raw(echo, 400),
        Raw(echo, 403, {"X-Key": KEY, "Retry-After": KEY}),
        Raw(f"<html>{KEY}</html>".encode(), 500),
        *(Raw(json.dumps(end).encode()) for end in ends),
        Raw(json.dumps({"choices": KEY}).encode()),
        Raw(json.dumps({"choices": [{"message": {"content": KEY}, "finish_reason": 3}]}).encode()),
        Raw(b"", 307, {"Location": f"{other}/chat/completions"}),
        Raw(KEY.encode(), 200, {"Content-Length": "9999"}),
        Raw(KEY.encode(), 200, {"Content-Encoding": "gzip"}),
    ]
    first = [reply("", "Answer: 1")]

    def says(*_: str) -> Any:
        return first.pop() if first else replies[len(server_asked) % len(replies)]

    server_asked: list[int] = []

    def counted(*prompt: str) -> Any:
        server_asked.append(1)
        return says(*prompt)

    return counted


def test_a_key_is_in_no_file_log_command_error_or_table(tmp_path: Path, surveyed: Surveyed) -> None:
    with serving(reply) as other, contextlib.chdir(tmp_path):
        with serving(misbehaving(other.address)) as server:
            asked = study(server.address, model={"max_retries": 0, "max_concurrency": 1})
            results = surveyed(tmp_path, asked)
            run = [part for key, value in RUN.items() for part in (f"--{key}", value)]
            command = [sys.executable, "-m", "valuestrata", "predict", "--study"]
            command += [str(results / paths.STUDY), *run]
            environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OPENAI_LOG": "debug"}
            with open("log", "wb") as log:
                process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
                while process.poll() is None:
                    with contextlib.suppress(OSError):
                        line = Path(f"/proc/{process.pid}/cmdline").read_bytes()
                        assert KEY.encode() not in line
                    time.sleep(0.05)
            assert process.returncode == 0, Path("log").read_text()
            assert server.keys == {f"Bearer {KEY}"}
        assert not other.asked  # prompts and key go nowhere else
        assert main(["cost", "config.yaml"]) == 2  # no such study here: one line
    told = Path(tmp_path, "log").read_text()
    assert "*** here" not in told
    assert "status 307, a redirection, which is not followed: correct base_url" in told
    for text in texts_below(tmp_path):
        assert KEY.encode() not in text
        assert KEY[8:].encode() not in text
    predictions = pd.read_parquet(results / paths.PREDICTIONS.format(**RUN))
    assert predictions["text"].str.contains("***", regex=False).any()
    assert KEY not in predictions.to_csv()


def test_a_key_is_in_no_chain_of_exceptions(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(content: bytes) -> Any:
        raise AttributeError("a bug")

    monkeypatch.setattr(service, "completion", broken)
    with serving(lambda *_: Raw(KEY.encode())) as server:
        model = OpenAIBackend(_model(server))
        with pytest.raises(AttributeError) as bug:
            model.generate([("P", "Q")], Sampling(4))
    assert KEY not in "".join(traceback.format_exception(bug.value))
    for status in (400, 401, 404):
        with serving(lambda *_, status=status: status) as server:
            with pytest.raises(InputError) as error:
                OpenAIBackend(_model(server)).generate([("P", "Q")], Sampling(4))
            assert KEY not in "".join(traceback.format_exception(error.value))


def test_what_cannot_be_a_key_is_refused_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(reply) as server:
        for key in ("sk-two words", "sk-a\nb", "sk-schlüssel", "sk-\x01"):
            monkeypatch.setenv(VARIABLE, key)
            with pytest.raises(InputError, match="no key has") as error:
                OpenAIBackend(_model(server)).generate([("P", "Q")], Sampling(4))
            assert key not in "".join(traceback.format_exception(error.value))
        assert not server.asked


def _model(server: Server) -> OpenAIModel:
    return OpenAIModel(
        backend="openai", model="g", base_url=server.address, api_key_env=VARIABLE, max_retries=0
    )


def test_perturbed_prompts_are_counted_and_belong_to_the_usage(tmp_path: Path) -> None:
    tried = {"max_pairs": 10}
    made = study(sensitivity=tried, judges={}, generation=None, prompt_variants={})
    with contextlib.chdir(tmp_path):
        lines = cost.lines(made)
    (line,) = [line for line in lines if line.startswith("ask_perturbed gpt/base/ood")]
    # ten pairs in each of three wordings, and each of the four questions once without a persona
    assert line.split()[2] == "34"
    files = usage_inputs(made)["perturbed"]
    assert [Path(path).stem for path in files] == [
        "option_order", "paraphrase", "prompt_order", "persona_dropped"
    ]  # fmt: skip
    assert "perturbed" not in usage_inputs(study())
