"""vLLM answers as transformers does: with a stand-in for its engine, and, marked vllm, for real.

The real tests run in an environment of their own: make test-vllm.
"""

import dataclasses
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests import asking, toys, tuning, wrappers
from valuestrata.errors import InputError
from valuestrata.inference import local, vllm
from valuestrata.inference.backends import open_model
from valuestrata.inference.protocol import Sampling, ScoredReply
from valuestrata.inference.transformers import TransformersBackend
from valuestrata.inference.vllm import VllmBackend, tree
from valuestrata.prompting import judging
from valuestrata.study.models import TransformersModel, VllmModel
from valuestrata.training import lora

MOST = 16
REAL = [
    pytest.mark.vllm,
    pytest.mark.filterwarnings("ignore"),  # vLLM's own, by the dozen
]


@dataclasses.dataclass(frozen=True)
class Toy:
    """A taught network, for both backends, and an adapter that changes what it says."""

    config: VllmModel
    transformers: TransformersModel
    adapter: Path

    def model(self, tuned: bool) -> VllmBackend:
        return VllmBackend(self.config, local.load_chat(self.config), self.path(tuned))

    def other(self, tuned: bool) -> TransformersBackend:
        config = self.transformers
        return TransformersBackend(config, local.load_chat(config), self.path(tuned))

    def path(self, tuned: bool) -> Path | None:
        return self.adapter if tuned else None


def made(architecture: str, folder: Path) -> Toy:
    """A toy whose heads are wide enough for vLLM's attention on a CPU."""
    words = toys.tokenizer(toys.ARCHITECTURES[architecture])
    talk = toys.Chat(words)
    network = toys.network(architecture, words, hidden_size=64, intermediate_size=96)
    base = toys.save(toys.teach(network, talk), words, folder / "base")
    config = toys.model(base)
    pairs = toys.pairs(toys.PERSONAS[2:])
    tuned, _ = tuning.tune(toys.RECIPE, pairs, local.load_network(config), talk=talk)
    lora.save(tuned, folder / "adapter")
    vllm = VllmModel(backend="vllm", model=str(base), dtype="float32", max_batch_tokens=4096)
    return Toy(vllm, config, folder / "adapter")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return made("Llama", tmp_path_factory.mktemp("llama"))


def free_prompts() -> list[tuple[str, str]]:
    return [(persona, f"Why, and since when? {i}") for i, persona in enumerate(toys.PERSONAS)]


def agree(one: list[ScoredReply], other: list[ScoredReply], tolerance: float) -> None:
    """The same texts, the same likeliest option, log-probabilities within a tolerance."""
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.text == b.text
        assert a.logprobs is not None
        assert b.logprobs is not None
        assert a.logprobs.dtype == np.float64
        assert a.logprobs.argmax() == b.logprobs.argmax()
        np.testing.assert_allclose(a.logprobs, b.logprobs, rtol=0, atol=tolerance)


# ---- with a stand-in: an engine that reads one sequence at a time


class Engine:
    """What we use of vllm.LLM, over the network of a TransformersBackend."""

    def __init__(self, models: dict[bool, TransformersBackend]) -> None:
        self.models = models
        self.calls: list[list[tuple[tuple[int, ...], Any]]] = []

    @torch.inference_mode()
    def generate(
        self, prompts: list[dict[str, Any]], params: list[Any], lora_request: Any, use_tqdm: bool
    ) -> list[Any]:
        assert not use_tqdm
        self.calls.append(
            [(tuple(p["prompt_token_ids"]), s) for p, s in zip(prompts, params, strict=True)]
        )
        network = self.models[lora_request is not None].network
        return [self.one(network, *call) for call in self.calls[-1]]

    def one(self, network: Any, prompt: tuple[int, ...], param: Any) -> Any:
        ids, steps = list(prompt), []
        for _ in range(param.max_tokens):
            logprobs = network(torch.tensor([ids])).logits[0, -1].float().log_softmax(dim=-1)
            ids.append(int(logprobs.argmax()))
            likeliest = logprobs.topk(getattr(param, "logprobs", 1)).indices.tolist()
            wanted = {*(getattr(param, "logprob_token_ids", None) or likeliest), ids[-1]}
            steps.append({t: SimpleNamespace(logprob=float(logprobs[t])) for t in wanted})
            if ids[-1] in getattr(param, "stop_token_ids", ()):
                break
        ended = ids[-1] in getattr(param, "stop_token_ids", ())
        new = SimpleNamespace(
            token_ids=tuple(ids[len(prompt) :]),
            logprobs=steps,
            finish_reason="stop" if ended else "length",
        )
        return SimpleNamespace(outputs=[new])


@pytest.fixture
def engine(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The stand-in takes the place of vLLM and of its engine."""
    package, requests = ModuleType("vllm"), ModuleType("vllm.lora.request")
    package.SamplingParams = SimpleNamespace  # type: ignore[attr-defined]
    requests.LoRARequest = lambda *given: given  # type: ignore[attr-defined]
    for name, module in (
        ("vllm", package),
        ("vllm.lora", ModuleType("vllm.lora")),
        ("vllm.lora.request", requests),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    stand_in = Engine({tuned: toy.other(tuned) for tuned in (False, True)})
    monkeypatch.setattr(vllm, "start_engine", lambda *_: stand_in)
    return stand_in


@pytest.mark.parametrize("tuned", [False, True])
def test_two_rounds_say_what_the_prefix_trees_say(toy: Toy, engine: Engine, tuned: bool) -> None:
    """Traps 5, 6, 7 and 13: whole options, up to the terminator, of the model that was asked."""
    requests = toys.questions()
    answers = toy.model(tuned).score(requests, MOST)
    others = toy.other(tuned).score(requests, MOST)
    agree(answers, others, 1e-5)
    assert [a.finish_reason for a in answers] == [a.finish_reason for a in others]
    limited = [dataclasses.replace(request, constrained=True) for request in requests]
    agree(toy.model(tuned).score(limited, MOST), toy.other(tuned).score(limited, MOST), 1e-5)
    texts = toy.model(tuned).generate(free_prompts(), Sampling(MOST))
    assert texts == toy.other(tuned).generate(free_prompts(), Sampling(MOST))


def test_nodes_that_the_text_passed_are_not_asked_again(toy: Toy, engine: Engine) -> None:
    model = toy.model(False)
    question = toys.questions()[0]
    model.score([question], MOST)
    first, second = engine.calls
    options = [model.chat.encode_reply(text) for text in question.options]
    assert len(first) == 1
    # the text is an option, so the nodes left are those of the other options
    assert len(second) == len(tree(options)) - len(options[0])
    assert all(param.max_tokens == 1 for _, param in second)
    prompt = model.chat.prompt(*question.messages).ids
    assert all(ids[: len(prompt)] == prompt and len(ids) > len(prompt) for ids, _ in second)


def test_the_engine_is_handed_our_ids_once(toy: Toy, engine: Engine) -> None:
    """Trap 1: a rendered template that the engine encodes again would have two BOS."""
    model = toy.model(False)
    model.score(toys.questions(), MOST)
    model.generate(free_prompts(), Sampling(4))
    for ids, param in (call for calls in engine.calls for call in calls):
        assert ids.count(model.chat.tokenizer.bos_token_id) == 1
        assert param.detokenize is False


def test_a_text_stops_at_an_end_that_the_model_lists(
    toy: Toy, engine: Engine, tmp_path: Path
) -> None:
    free = toys.texts(toy.model(False).generate(free_prompts()[:1], Sampling(MOST)))
    _, third, *_ = toy.model(False).chat.encode_reply(free[0])
    copy = Path(shutil.copytree(str(toy.config.model), tmp_path / "copy"))
    (copy / "generation_config.json").write_text(json.dumps({"eos_token_id": [third]}))
    config = toy.config.replace(model=str(copy))
    model = VllmBackend(config, local.load_chat(config))
    cut = toys.texts(model.generate(free_prompts()[:1], Sampling(MOST)))
    assert 0 < len(cut[0]) < len(free[0])
    assert free[0].startswith(cut[0])
    assert model.score(toys.questions()[:1], MOST)[0].text != free[0]
    for _, param in (call for calls in engine.calls[1:] for call in calls):
        stops = getattr(param, "stop_token_ids", sorted(model.chat.ends))
        assert stops == sorted({third, model.chat.terminator[-1]})


def test_answers_keep_their_order_over_several_parts(
    toy: Toy, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = toy.model(False).score(toys.questions(), MOST)
    monkeypatch.setattr(vllm, "PART", 3)
    agree(toy.model(False).score(toys.questions(), MOST), whole, 0.0)


def test_a_sampled_prompt_has_a_seed_of_its_own(toy: Toy, engine: Engine) -> None:
    toy.model(False).generate(free_prompts(), Sampling(4, 0.7, 1))
    toy.model(False).generate(free_prompts()[::-1], Sampling(4, 0.7, 1))
    toy.model(False).generate(free_prompts(), Sampling(4, 0.7, 2))
    one, turned, other = ({ids: param.seed for ids, param in calls} for calls in engine.calls)
    assert one == turned
    assert len({*one.values(), *other.values()}) == 2 * len(one)


def test_nothing_asked_starts_no_engine(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm, "start_engine", pytest.fail)
    model = open_model(toy.config, 1)
    assert model.score([], MOST) == []
    assert model.generate([], Sampling(MOST)) == []


def test_an_adapter_that_the_engine_leaves_out_is_refused(
    toy: Toy, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap 30: vLLM only warns of it."""
    messages = toys.questions()[0].messages
    assert toy.model(False).check_load(messages).adapter_shift is None
    shift = toy.model(True).check_load(messages).adapter_shift
    assert shift is not None
    assert shift > 0.01
    monkeypatch.setitem(engine.models, True, engine.models[False])
    with pytest.raises(InputError, match="the adapter changes nothing"):
        toy.model(True).check_load(messages)


def started(config: VllmModel, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the engine is told of a model."""
    options: dict[str, Any] = {}
    package = ModuleType("vllm")
    package.LLM = lambda **given: options.update(given)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", package)
    vllm.start_engine(config, 512, None)
    return options


def test_the_engine_is_told_of_wrappers_and_of_mistrals_tokenizer(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = started(toy.config, monkeypatch)
    assert not {"limit_mm_per_prompt", "tokenizer_mode", "quantization"} & plain.keys()
    words = toys.tokenizer("llama")
    folder = toys.save(wrappers.wrapper("Mistral3", words), words, tmp_path / "wrapper")
    (folder / "tokenizer.json").rename(folder / "tekken.json")
    options = started(toy.config.replace(model=str(folder)), monkeypatch)
    assert set(options["limit_mm_per_prompt"].values()) == {0}
    assert options["tokenizer_mode"] == "mistral"


def test_what_the_engine_refuses_is_one_line(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("no room\nat all")

    package = ModuleType("vllm")
    package.LLM = fail  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", package)
    with pytest.raises(InputError, match=r"vLLM cannot load it \(no room\)"):
        vllm.start_engine(toy.config, 512, None)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_vllm_one_line_says_where_to_get_it(toy: Toy) -> None:
    with pytest.raises(InputError, match=r"valuestrata\[vllm\]") as error:
        toy.model(False).score(toys.questions()[:1], MOST)
    assert "\n" not in str(error.value)


# ---- with vLLM


@pytest.fixture(scope="module")
def real(toy: Toy) -> Any:
    """One engine for all tests: it takes a minute to start."""
    return toy.model(True).engine


def with_engine(model: VllmBackend, engine: Any) -> VllmBackend:
    model._engine = engine
    return model


class TestReal:
    pytestmark = REAL

    @pytest.mark.parametrize("tuned", [False, True])
    def test_answers_are_those_of_transformers(self, toy: Toy, real: Any, tuned: bool) -> None:
        """Traps 5, 6, 7, 8 and 13."""
        requests = toys.questions()
        answers = with_engine(toy.model(tuned), real).score(requests, MOST)
        agree(answers, toy.other(tuned).score(requests, MOST), 1e-3)
        plain = toy.other(not tuned).score(requests, MOST)
        gaps = [np.abs(a.logprobs - b.logprobs).max() for a, b in zip(answers, plain, strict=True)]
        assert max(gaps) > 0.01

    @pytest.mark.parametrize("tuned", [False, True])
    def test_texts_are_those_of_transformers(self, toy: Toy, real: Any, tuned: bool) -> None:
        texts = with_engine(toy.model(tuned), real).generate(free_prompts(), Sampling(MOST))
        assert texts == toy.other(tuned).generate(free_prompts(), Sampling(MOST))

    def test_sampling_is_seeded(self, toy: Toy, real: Any) -> None:
        model = with_engine(toy.model(False), real)
        first = model.generate(free_prompts(), Sampling(8, 1.5, 1))
        assert model.generate(free_prompts(), Sampling(8, 1.5, 1)) == first
        assert model.generate(free_prompts(), Sampling(8, 1.5, 2)) != first

    def test_the_prompt_is_read_once(
        self, toy: Toy, real: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done: list[Any] = []
        generate = real.generate

        def noted(*arguments: Any, **named: Any) -> Any:
            done.append(generate(*arguments, **named))
            return done[-1]

        monkeypatch.setattr(real, "generate", noted)
        model = with_engine(toy.model(False), real)
        model.score(toys.questions(), MOST)
        _, second = done
        for request in second:
            whole_blocks = (len(request.prompt_token_ids) - 1) // vllm.BLOCK * vllm.BLOCK
            assert request.num_cached_tokens == whole_blocks > 0

    @pytest.mark.parametrize("tuned", [False, True])
    def test_the_stages_run_through_it(
        self, toy: Toy, real: Any, tuned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(vllm, "start_engine", lambda *_: real)
        tables = [
            staged(tmp_path / config.backend, config, toy.path(tuned))
            for config in (toy.config, toy.transformers)
        ]
        # the shift is of logits in one, and of the likeliest log-probabilities in the other
        numbers = ("logprobs", "distribution", "non_option_mass", "adapter_shift", "notes")
        for one, two in zip(*tables, strict=True):
            exact = [column for column in one if column not in numbers]
            pd.testing.assert_frame_equal(one[exact], two[exact])
        both = zip(tables[0][0]["distribution"], tables[1][0]["distribution"], strict=True)
        for a, b in both:
            np.testing.assert_allclose(a, b, atol=1e-3)
        assert (tables[0][0]["adapter"] != "").all() == tuned


def staged(
    folder: Path, config: VllmModel | TransformersModel, adapter: Path | None
) -> list[pd.DataFrame]:
    """Predictions, texts and verdicts of a model that also judges itself."""
    pairs = toys.pairs(toys.PERSONAS)
    predictions = asking.predict(folder, config, pairs, adapter, "predict")
    texts = asking.generate(folder, config, pairs, adapter, "generate", max_new_tokens=MOST)
    verdicts = asking.judge(folder, config)
    assert len(verdicts) == len(texts) * len(judging.rubric("pairwise").dimensions)
    return [predictions, texts, verdicts]


@pytest.mark.vllm
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("architecture", ["Qwen2", "Phi3"])
def test_other_architectures_answer_as_with_transformers(architecture: str, tmp_path: Path) -> None:
    """Trap 16: of Phi3, qkv and gate-up are fused, in the adapter too."""
    toy = made(architecture, tmp_path)
    engine = toy.model(True).engine
    for tuned in (False, True):
        answers = with_engine(toy.model(tuned), engine).score(toys.questions(), MOST)
        agree(answers, toy.other(tuned).score(toys.questions(), MOST), 1e-3)
