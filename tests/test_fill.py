"""A reply is asked for once, and once more only if something that it depends on has changed."""

import inspect
import json
import logging
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special

from tests import toys, tuning
from tests.asking import alike, cached, generate, predict
from valuestrata import provenance
from valuestrata.errors import InputError
from valuestrata.inference import local, model_files, transformers
from valuestrata.inference.backends import BACKENDS, open_model
from valuestrata.inference.chat import TokenizedPrompt
from valuestrata.inference.fill import Reply, Requests, cache_keys, fill
from valuestrata.inference.protocol import Completion, Sampling, ScoredReply
from valuestrata.inference.reply_cache import ReplyCache
from valuestrata.inference.transformers import TransformersBackend
from valuestrata.stages import predict as predict_stage
from valuestrata.study.models import OpenAIModel, TransformersModel, VllmModel
from valuestrata.training import lora

SERVED = OpenAIModel(backend="openai", model="gpt", base_url="http://host/v1")
MESSAGES = [("P", "Q"), ("P", "R")]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.taught("Llama", tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that changes little: what is answered is still an answer."""
    folder = tmp_path_factory.mktemp("adapter")
    recipe = toys.RECIPE.replace(learning_rate=1e-4, epochs=1)
    network = local.load_network(toys.model(base))
    tuned, _ = tuning.tune(recipe, toys.pairs(), network)
    lora.save(tuned, folder)
    return folder


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many prompts were scored, call by call."""
    counts: list[int] = []
    score = TransformersBackend.score

    def counting(self: Any, requests: list[Any], max_new_tokens: int) -> list[ScoredReply]:
        counts.append(len(requests))
        return score(self, requests, max_new_tokens)

    monkeypatch.setattr(TransformersBackend, "score", counting)
    return counts


def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers, "load_network", lambda _: pytest.fail("weights were loaded"))


# ---- keys


def keys(model: Any, sampling: Sampling | None = None, **more: Any) -> list[str]:
    """Keys of MESSAGES as texts, or with options."""
    backend = open_model(model, 1, more.pop("adapter", None))
    messages = more.pop("messages", MESSAGES)
    requests = Requests(messages, sampling or Sampling(16), lambda *_: True, **more)
    return cache_keys(backend, requests, [backend.render(m) for m in messages])


def test_a_paid_reply_is_keyed_by_messages_model_address_and_sampling_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A code digest, options or a resource in its key would make a study pay twice."""
    first = keys(SERVED)
    same = {
        "resources": keys(
            SERVED.replace(
                max_concurrency=9, timeout=1.0, max_retries=1, threads=1, mem_mb=900, runtime=9
            )
        ),
        "key": keys(SERVED.replace(api_key_env="OTHER_KEY")),
        "options": keys(SERVED, options=[("1", "2"), ("1",)]),
        "seed of greedy decoding": keys(SERVED, Sampling(16, 0.0, 7)),
    }
    monkeypatch.setattr(provenance, "_digests", lambda *_: pytest.fail("code was read"))
    same["without code"] = keys(SERVED)
    assert all(found == first for found in same.values()), same
    other = [
        keys(SERVED.replace(model="gpt-2")),
        keys(SERVED.replace(base_url="http://other/v1")),
        keys(SERVED, Sampling(17)),
        keys(SERVED, Sampling(16, 0.5)),
        keys(SERVED, Sampling(16, 0.5, 7)),
        keys(SERVED, messages=[("p", "Q"), ("P", "r")]),
    ]
    assert len({*first, *(key for found in other for key in found)}) == 2 * 7


def test_a_new_field_with_a_default_makes_no_new_key(base: Path) -> None:
    class Transformers(TransformersModel):
        later: str = "default"

    class Vllm(VllmModel):
        later: str = "default"

    class OpenAI(OpenAIModel):
        later: str = "default"

    toy = toys.model(base)
    vllm = VllmModel(backend="vllm", model=str(base), dtype="float32")
    kinds: list[tuple[Any, Any]] = [(Transformers, toy), (Vllm, vllm), (OpenAI, SERVED)]
    for kind, model in kinds:
        later = kind(**{name: getattr(model, name) for name in type(model).model_fields})
        assert later.later == "default"
        assert keys(later) == keys(model)


@pytest.fixture
def edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, str], None]:
    """Edit a module in a copy of the sources, which is then what digests are of."""
    source = tmp_path / "src"
    shutil.copytree(provenance.SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "SOURCE", source)

    def edit(module: str, old: str, new: str) -> None:
        path = source / "valuestrata" / module
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{module}: {old!r}"
        path.write_text(text.replace(old, new), encoding="utf-8")
        provenance.clear_caches()

    yield edit
    provenance.clear_caches()


def test_an_edit_that_the_scorer_does_not_reach_makes_no_new_key(
    base: Path, edit: Callable[[str, str, str], None]
) -> None:
    toy = toys.model(base)
    first, served = keys(toy), keys(SERVED)
    no_effect = [
        ("inference/vllm.py", "RANKS = (8,", "RANKS = (4, 8,"),
        ("inference/openai.py", "FIRST_CALLS = 5", "FIRST_CALLS = 6"),
        ("inference/fill.py", "shown[:100]", "shown[:99]"),
        ("inference/gpus.py", "timeout=20", "timeout=30"),
        ("inference/reply_cache.py", "shard_size: int = 4096", "shard_size: int = 4095"),
        ("study/models.py", "threads: int = Field(default=4", "threads: int = Field(default=5"),
        (
            "study/models.py",
            '    dtype: Literal["float32"',
            '    later: int = Field(default=1)\n    dtype: Literal["float32"',
        ),
        ("study/models.py", '"gpus", "recipes")', '"gpus", "recipes", "later")'),
        ("inference/model_files.py", "has no weights in safetensors", "no weights"),
        ("inference/local.py", "if gpus and not torch", "if gpus > 0 and not torch"),
        ("inference/transformers.py", "wrote %d of %d texts", "have %d of %d texts"),
        ("prefix/forests.py", '"""Nodes below a prompt', '"""How many nodes are below a prompt'),
    ]
    for place in no_effect:
        edit(*place)
        assert keys(toy) == first, place
    edit("prefix/forests.py", "\nBLOCK = 64", "\nBLOCK = 32")
    second = keys(toy)
    assert not {*first} & {*second}
    edit("inference/transformers.py", "CPU_NODES = 2048", "CPU_NODES = 1024")
    assert not {*first, *second} & {*keys(toy)}
    assert keys(SERVED) == served


def test_options_are_keyed_as_the_model_reads_them(base: Path) -> None:
    toy = toys.model(base)
    both = ("Answer: 1", "Answer: 10")
    plain, turned = keys(toy, options=[both] * 2), keys(toy, options=[both[::-1]] * 2)
    assert len({*plain, *turned, *keys(toy), *keys(toy, options=[both[:1]] * 2)}) == 8
    assert keys(toy, options=[both] * 2) == plain
    assert keys(toy, messages=[], options=[]) == []


def test_every_backend_is_where_the_registry_says(base: Path) -> None:
    for name, entry in BACKENDS.items():
        model = SERVED if name == "openai" else toys.model(base)
        backend = open_model(model.model_copy(update={"backend": name}), 1)
        assert f"{type(backend).__module__}:{type(backend).__qualname__}" == entry
        assert backend.entries == (() if name == "openai" else (entry,))
        assert len(provenance.definition_digests((entry,))) > 5
        assert inspect.isfunction(type(backend).generate)


def test_the_backend_is_part_of_a_local_replys_key(base: Path) -> None:
    """Trap 19."""
    toy = toys.model(base)
    vllm = VllmModel(backend="vllm", model=str(base), dtype="float32")
    assert not set(keys(toy)) & set(keys(vllm))


# ---- lengths


def test_a_prompt_too_long_is_one_line_that_names_it_before_weights_are_loaded(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_weights(monkeypatch)
    model = open_model(toys.model(base).replace(max_length=200, max_batch_tokens=256), 1)
    messages = [("Short.", "Why?"), ("You are old.", "Tell me more. " * 90)]
    requests = Requests(messages, Sampling(16), lambda *_: True)
    with pytest.raises(InputError) as error:
        fill(ReplyCache(tmp_path), model, requests)
    message = str(error.value)
    assert "max_length of 200" in message
    assert "You are old. Tell me more." in message
    assert "\n" not in message
    assert len(message) < 400


def test_a_reply_that_would_be_cut_off_is_one_line_before_weights_load(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = toys.model(base)
    length = len(local.load_chat(model).encode_reply("Answer: 10"))
    with monkeypatch.context() as patch:
        no_weights(patch)
        with pytest.raises(InputError) as error:
            predict(tmp_path, model, max_new_tokens=length - 1)
    message = str(error.value)
    assert "\n" not in message
    assert f"'Answer: 10' takes {length} tokens" in message
    assert f"prediction.max_new_tokens is {length - 1}; set it to {length}" in message
    assert (predict(tmp_path, model, max_new_tokens=length)["outcome"] == "answer").all()


# ---- the stage predict


def test_predictions_say_what_was_asked_of_whom(base: Path, tmp_path: Path) -> None:
    """Traps 4, 7 and 10."""
    pairs = toys.pairs(toys.PERSONAS)
    model = toys.model(base)
    table = predict(tmp_path, model, pairs)
    answers = table[:12]
    assert (answers["outcome"] == "answer").all()
    assert (answers["answer"].to_numpy() == pairs["mode"][:12].to_numpy()).mean() > 0.7
    assert (table["outcome"][12:] == "refusal").all()
    assert table["answer"][12:].isna().all()
    assert table["distribution"].map(sum).to_numpy() == pytest.approx(np.ones(16))
    for name in ("logprobs", "distribution"):
        assert [len(row) for row in table[name]] == [len(c) for c in pairs["codes"]]
    assert table["non_option_mass"][:12].max() < 0.5 < table["non_option_mass"][12:].min()
    assert set(table["model_version"]) == {model_files.model_version(model)}
    assert set(table["adapter"]) == {""}
    taught = [pair.prompt for pair in tuning.examples(local.load_chat(model), pairs)]
    assert table["prompt_hash"].to_list() == [TokenizedPrompt(ids).digest for ids in taught]
    assert table["prompt_tokens"].to_list() == [len(ids) for ids in taught]


def test_log_probabilities_are_kept_however_small_and_mass_keeps_its_digits(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One option holds nearly all, next to nothing, or by rounding a little more than all."""
    pairs = toys.pairs()[:3]
    first = [math.log1p(-1e-12), -46.0, 1e-9]
    scored = [[one, *[-800.0] * (len(c) - 1)] for one, c in zip(first, pairs["codes"], strict=True)]
    monkeypatch.setattr(
        TransformersBackend,
        "score",
        lambda *_: [ScoredReply("I'm sorry.", np.array(logprobs)) for logprobs in scored],
    )
    table = predict(tmp_path, toys.model(base), pairs)
    assert [logprobs.tolist() for logprobs in table["logprobs"]] == scored
    assert all(row[0] == 1 for row in table["distribution"])
    np.testing.assert_allclose(table["non_option_mass"], [1e-12, 1 - 1e-20, 0], rtol=1e-9)


def test_probabilities_are_computed_for_all_rows_at_once_and_are_those_of_each_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To the bit: one by one they took a repeated node of 10,000 replies two seconds."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 12, 400)
    rows: list[list[float] | None] = [np.log(rng.dirichlet(np.ones(n))).tolist() for n in lengths]
    rows[7], rows[9] = None, [0.0]
    monkeypatch.setattr(predict_stage, "PAIR", [])
    monkeypatch.setattr(predict_stage, "written_columns", lambda _: {})
    written = Completion("", "stop")
    replies = [Reply(written, row, "", 1) for row in rows]
    asked, softmax = [], special.softmax
    monkeypatch.setattr(
        predict_stage, "softmax", lambda *a, **k: asked.append(1) or softmax(*a, **k)
    )
    table = predict_stage._predictions(
        pd.DataFrame({"codes": [[]] * len(rows)}), [("answer", 1)] * len(rows), replies
    )
    assert len(asked) == len({len(row) for row in rows if row is not None})
    for row, shares, mass in zip(
        rows, table["distribution"], table["non_option_mass"], strict=True
    ):
        if row is None:
            assert shares is None
            assert np.isnan(mass)
        else:
            assert shares.tobytes() == softmax(row).tobytes()
            alone = max(0.0, float(-np.expm1(special.logsumexp(row))))
            assert np.float64(mass).tobytes() == np.float64(alone).tobytes()


def test_with_everything_cached_no_weights_are_loaded(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = toys.model(base)
    first = predict(tmp_path, model)
    kept = {shard: shard.read_bytes() for shard in (tmp_path / "cache").iterdir()}
    with monkeypatch.context() as patch:
        no_weights(patch)
        pd.testing.assert_frame_equal(predict(tmp_path, model), first, check_exact=True)
    assert {shard: shard.read_bytes() for shard in (tmp_path / "cache").iterdir()} == kept
    # deleting the cache costs time, never results
    shutil.rmtree(tmp_path / "cache")
    pd.testing.assert_frame_equal(predict(tmp_path, model), first, check_exact=True)


def test_a_table_half_from_the_cache_is_the_table_of_one_run(
    base: Path, tmp_path: Path, counts: list[int]
) -> None:
    """Trap 28: rows added ask only what is new, and equal those of one run up to a tolerance."""
    model = toys.model(base)
    whole = predict(tmp_path, model, cache="other")
    part = predict(tmp_path, model, toys.pairs(toys.PERSONAS[:1]))
    grown = predict(tmp_path, model)
    assert counts == [12, 4, 8]
    pd.testing.assert_frame_equal(grown[:4], part, check_exact=True)
    alike(grown, whole)
    # subgroups of another stratum with the same personas are asked nothing
    twice = pd.concat([toys.pairs(), toys.pairs().assign(stratum="another")], ignore_index=True)
    assert len(predict(tmp_path, model, twice)) == 24
    assert counts == [12, 4, 8]
    table = predict(tmp_path, model, twice, cache="once")
    assert counts == [12, 4, 8, 12]
    assert table["text"][:12].to_list() == table["text"][12:].to_list()


def test_a_corrupt_shard_is_asked_again_and_kept_for_inspection(
    base: Path, tmp_path: Path, counts: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    first = predict(tmp_path, toys.model(base))
    (shard,) = (tmp_path / "cache").iterdir()
    broken = b"\x00" + shard.read_bytes()
    shard.write_bytes(broken)
    with caplog.at_level(logging.WARNING):
        again = predict(tmp_path, toys.model(base))
    assert counts == [12, 12]
    pd.testing.assert_frame_equal(again, first, check_exact=True)
    assert [f"{shard}: corrupt" in r.message for r in caplog.records] == [True]
    assert shard.with_suffix(".corrupt").read_bytes() == broken


def test_refusals_are_counted_but_not_cached(base: Path, tmp_path: Path, counts: list[int]) -> None:
    """Traps 10 and 12."""
    first = predict(tmp_path, toys.model(base), toys.pairs(toys.PERSONAS))
    again = predict(tmp_path, toys.model(base), toys.pairs(toys.PERSONAS))
    assert counts == [16, 4]
    assert (first["outcome"] == "refusal").sum() == 4
    assert first["text"].to_list() == again["text"].to_list()
    replies = cached(tmp_path / "cache")
    assert len(replies) == 12
    assert not any("sorry" in reply["text"] for reply in replies)


def test_an_adapter_is_named_and_changes_what_is_said(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    """Trap 13."""
    plain = predict(tmp_path, toys.model(base))
    tuned = predict(tmp_path, toys.model(base), adapter=adapter)
    assert set(tuned["adapter"]) == {model_files.adapter_digest(adapter)} != {""}
    assert (tuned["model_version"] == plain["model_version"]).all()
    assert (tuned["prompt_hash"] == plain["prompt_hash"]).all()
    both = zip(plain["distribution"], tuned["distribution"], strict=True)
    assert max(np.abs(one - other).max() for one, other in both) > 1e-6


def test_keys_of_the_stage_change_with_all_that_is_asked_of_whom_and_nothing_else(
    base: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap 19."""
    monkeypatch.setattr(
        TransformersBackend,
        "score",
        lambda _, rs, __: [ScoredReply(r.options[0], np.full(len(r.options), -9.0)) for r in rs],
    )
    runs = iter(range(99))
    pairs = toys.pairs()

    def made(model: Any = base, pairs: pd.DataFrame = pairs, **changes: Any) -> set[str]:
        cache = f"run {next(runs)}"
        model = toys.model(model) if isinstance(model, Path) else model
        predict(tmp_path, model, pairs, cache=cache, **changes)
        return {reply["key"] for reply in cached(tmp_path / cache)}

    def copy(name: str, folder: Path = base) -> Path:
        return Path(shutil.copytree(folder, tmp_path / name))

    def cut(lists: pd.Series) -> list[Any]:
        return [values[:-1] for values in lists]

    first = made()
    # neither the folder's name, nor batches, nor labels, nor the order of rows, nor records
    same = copy("same")
    (same / "made_of.json").write_text("{}")
    assert made(same) == made(toys.model(base, max_batch_tokens=300)) == first
    assert made(pairs=pairs[::-1]) == first
    assert made(pairs=pairs.assign(mode=1, stratum="x", subgroup="y", n=7)) == first
    words = toys.tokenizer("llama")
    template = copy("template")
    jinja = template / "chat_template.jinja"
    jinja.write_text(jinja.read_text().replace("<|assistant|>", "<|assistant|>So: "))
    other_adapter = copy("adapter", adapter)
    config = other_adapter / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "lora_alpha": 9}))
    sets = {
        "first": first,
        "weights": made(toys.save(toys.network("Llama", words, seed=5), words, tmp_path / "w")),
        "template": made(template),
        "adapter": made(adapter=adapter),
        "other adapter": made(adapter=other_adapter),
        "question": made(pairs=pairs.assign(closed_prompt=pairs["closed_prompt"] + " Please.")),
        "persona": made(pairs=pairs.assign(persona=pairs["persona"] + " Be brief.")),
        "options": made(pairs=pairs.assign(codes=cut(pairs["codes"]), labels=cut(pairs["labels"]))),
        "order of options": made(pairs=pairs.assign(codes=[c[::-1] for c in pairs["codes"]])),
        "length": made(max_new_tokens=17),
        "precision": made(toys.model(base, dtype="bfloat16")),
        "kernel": made(toys.model(base).replace(attn_implementation="eager")),
    }
    assert all(len(found) == 12 for found in sets.values())
    assert len(set.union(*sets.values())) == 12 * len(sets)


# ---- the stage generate


def test_open_answers_come_back_from_the_cache_without_weights(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = toys.model(base)
    first = generate(tmp_path, model)
    assert len(first) == 6
    assert (first["outcome"] == "answer").all()
    shutil.rmtree(tmp_path / "cache")
    pd.testing.assert_frame_equal(generate(tmp_path, model), first)
    no_weights(monkeypatch)
    pd.testing.assert_frame_equal(generate(tmp_path, model), first)
    # greedy decoding has no seed; that of the draw of questions is in no reply's key
    every = {"per_subgroup": 2, "seed": 1}
    pd.testing.assert_frame_equal(generate(tmp_path, model, **every), first)


def test_other_sampling_is_asked_anew(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap 19."""
    texts = iter(range(999))
    monkeypatch.setattr(
        TransformersBackend,
        "generate",
        lambda _, prompts, __: [Completion(f"View {next(texts)}.") for _ in prompts],
    )
    whole = {"per_subgroup": 4}
    changes = [{}, {"temperature": 0.5}, {"max_new_tokens": 11}, {"temperature": 0.5, "seed": 2}]
    tables = [generate(tmp_path, toys.model(base), **whole, **change) for change in changes]
    assert len({text for table in tables for text in table["text"]}) == 12 * len(changes)
    again = generate(tmp_path, toys.model(base), **whole)
    pd.testing.assert_frame_equal(again, tables[0])
    assert generate(tmp_path, toys.model(base), **whole, seed=2)["text"].equals(again["text"])


def test_sampled_answers_do_not_depend_on_what_is_cached(base: Path, tmp_path: Path) -> None:
    """Deleting the cache costs time, never results; at a temperature too."""
    hot = {"temperature": 1.5, "per_subgroup": 4}
    generate(tmp_path, toys.model(base), toys.pairs(toys.PERSONAS[:1]), **hot)
    grown = generate(tmp_path, toys.model(base), **hot)
    shutil.rmtree(tmp_path / "cache")
    whole = generate(tmp_path, toys.model(base), **hot)
    assert grown["text"].to_list() == whole["text"].to_list()
