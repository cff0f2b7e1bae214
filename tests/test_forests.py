"""Scoring in forests of prefixes gives what one sequence at a time gives, and the same text."""

import dataclasses
import itertools
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import toys, tuning
from tests.toys import ARCHITECTURES, CLOSED, PERSONAS, RECIPE, SCALES, SILENT
from valuestrata.errors import InputError
from valuestrata.inference import transformers
from valuestrata.inference.local import load_chat, load_network
from valuestrata.inference.model_files import adapter_digest, model_version
from valuestrata.inference.protocol import Sampling, ScoredReply, ScoringRequest
from valuestrata.inference.transformers import TransformersBackend
from valuestrata.prefix import attention, forests
from valuestrata.study.models import TransformersModel
from valuestrata.study.recipes import Recipe
from valuestrata.training import lora

TOLERANCE = 1e-5
MOST = 24

# ---- forests of random items

tokens = st.integers(0, 2)
options = st.lists(st.lists(tokens, min_size=1, max_size=3).map(tuple), min_size=1, max_size=4)
items = st.builds(
    forests.PrefixItem, st.lists(tokens, min_size=1, max_size=6).map(tuple), options.map(tuple)
)
many = st.lists(items, min_size=1, max_size=12)
fixed = settings(derandomize=True, database=None, deadline=None)


def prefix(forest: forests.Forest, node: int) -> tuple[int, ...]:
    """What a node stands for, by its path."""
    path = forest.path(node)
    assert forest.depth[path].tolist() == list(range(len(path)))
    return tuple(forest.token[path].tolist())


def prefixes(batch: list[forests.PrefixItem]) -> set[tuple[int, ...]]:
    """All that has to be read, each once."""
    read = [item.prompt + option[:-1] for item in batch for option in item.options]
    return {ids[:k] for ids in read for k in range(1, len(ids) + 1)}


@fixed
@given(many)
def test_a_forest_has_one_node_for_each_distinct_prefix(batch: list[forests.PrefixItem]) -> None:
    forest = forests.build_forest(batch)
    paths = [prefix(forest, node) for node in range(len(forest))]
    assert len(paths) == len(prefixes(batch))
    assert set(paths) == prefixes(batch)
    # preorder, and the span of a node holds what it begins
    assert paths == sorted(paths)
    for node, path in enumerate(paths):
        below = [k for k, other in enumerate(paths) if other[: len(path)] == path]
        assert below == list(range(node, forest.end[node]))


@fixed
@given(many)
def test_a_forest_has_every_step_of_every_option(batch: list[forests.PrefixItem]) -> None:
    forest = forests.build_forest(batch)
    steps = iter(zip(forest.before, forest.follows, strict=True))
    every = [(item.prompt, option) for item in batch for option in item.options]
    assert forest.lengths.tolist() == [len(option) for _, option in every]
    for prompt, option in every:
        for k, token in enumerate(option):
            node, follows = next(steps)
            assert prefix(forest, node) == prompt + option[:k]
            assert follows == token
    assert next(steps, None) is None


@fixed
@given(many, st.integers(1, 40))
def test_splits_hold_every_item_once_and_keep_to_the_size(
    batch: list[forests.PrefixItem], max_nodes: int
) -> None:
    parts = forests.pack(batch, max_nodes)
    assert sorted(i for part in parts for i in part) == list(range(len(batch)))
    for part in parts:
        assert len(part) == 1 or len(forests.build_forest([batch[i] for i in part])) <= max_nodes
    together = [batch[i].prompt for part in parts for i in part]
    assert together == sorted(together)
    assert forests.pack([], max_nodes) == []


def test_a_long_prompt_does_not_widen_the_blocks_of_others() -> None:
    """Each block holds keys for the longest path of its forest."""
    short = [forests.PrefixItem((0, i, *range(100)), ((1, 2),)) for i in range(300)]
    long = forests.PrefixItem(tuple(range(1500)), ((1, 2),))
    parts = forests.pack([*short, long], 2000)
    keys = []
    for part in parts:
        inputs, _ = forests.to_model_inputs(
            forests.build_forest([[*short, long][i] for i in part]), 0
        )
        if part != [300]:
            keys.append(inputs["keys"].size)
    assert max(keys) <= forests.WIDE * 2000
    assert [300] in parts


@fixed
@given(many, st.integers(1, 40), st.randoms(use_true_random=False))
def test_splits_do_not_depend_on_the_order_of_items(batch, max_nodes, random) -> None:  # type: ignore[no-untyped-def]
    distinct = list({item.prompt: item for item in batch}.values())
    mixed = random.sample(distinct, len(distinct))
    there, back = forests.pack(distinct, max_nodes), forests.pack(mixed, max_nodes)
    assert [[distinct[i] for i in part] for part in there] == [
        [mixed[i] for i in part] for part in back
    ]


@fixed
@given(many, st.sampled_from([1, 2, 3, 5, 64]))
def test_a_layout_shows_each_node_its_path_and_nothing_else(
    batch: list[forests.PrefixItem], size: int
) -> None:
    forest = forests.build_forest(batch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forests, "BLOCK", size)
        inputs, column = forests.to_model_inputs(forest, pad=7)
    padded = inputs["input_ids"].shape[1]
    blocks, width = inputs["keys"].shape
    assert padded - len(forest) < min(size, len(forest))
    assert padded % blocks == 0
    added = attention.mask(
        torch.from_numpy(inputs["keys"]), torch.from_numpy(inputs["ends"]), padded // blocks,
        torch.bfloat16,
    )  # fmt: skip
    assert added.shape == (blocks, 1, padded // blocks, width)
    assert added.dtype == torch.bfloat16
    assert added.isfinite().all()
    for block in range(blocks):
        for place in range(padded // blocks):
            node = block * (padded // blocks) + place
            seen = inputs["keys"][block][(added[block, 0, place] == 0).numpy()]
            assert (added[block, 0, place][added[block, 0, place] != 0] < -1e30).all()
            if node < len(forest):
                assert sorted(seen) == forest.path(node).tolist()
                assert inputs["position_ids"][0, node] == len(seen) - 1
                assert inputs["input_ids"][0, node] == forest.token[node]
            else:
                assert seen.tolist() == [node]
                assert inputs["input_ids"][0, node] == 7
    assert inputs["kept"][column].tolist() == forest.before.tolist()
    assert sorted(set(inputs["kept"])) == inputs["kept"].tolist()


def test_questions_that_share_beginnings_are_read_once() -> None:
    batch = scoring_items("Llama")
    read = sum(len(item.prompt) + sum(map(len, item.options)) for item in batch)
    prompts = sum(len(item.prompt) for item in batch)
    nodes = len(forests.build_forest(batch))
    assert nodes < 0.85 * prompts
    assert nodes < 0.6 * read


# ---- networks


def scoring_items(architecture: str) -> list[forests.PrefixItem]:
    talk = toys.chat(ARCHITECTURES[architecture])
    return [
        forests.PrefixItem(
            talk.prompt(*q.messages).ids, tuple(talk.encode_reply(text) for text in q.options)
        )
        for q in toys.questions()
    ]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {a: toys.taught(a, tmp_path_factory.mktemp(a)) for a in ARCHITECTURES}


@pytest.fixture(scope="session")
def loaded(folders: dict[str, Path]) -> dict[str, TransformersBackend]:
    configs = {name: toys.model(folder) for name, folder in folders.items()}
    return {name: backend(config) for name, config in configs.items()}


@pytest.fixture(scope="session")
def answers(loaded: dict[str, TransformersBackend]) -> dict[str, list[ScoredReply]]:
    return {name: model.score(toys.questions(), MOST) for name, model in loaded.items()}


@pytest.fixture(params=list(ARCHITECTURES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(name: str, loaded: dict[str, TransformersBackend]) -> TransformersBackend:
    return loaded[name]


@pytest.fixture
def replies(name: str, answers: dict[str, list[ScoredReply]]) -> list[ScoredReply]:
    return answers[name]


@torch.inference_mode()
def naive(model: TransformersBackend, question: ScoringRequest) -> list[float]:
    """log p of each reply, from one plain forward pass over each whole sequence."""
    prompt = list(model.chat.prompt(*question.messages).ids)
    totals = []
    for text in question.options:
        reply = list(model.chat.encode_reply(text))
        logits = model.network(torch.tensor([prompt + reply])).logits[0].float()
        logprobs = logits.log_softmax(dim=-1)
        totals.append(sum(float(logprobs[len(prompt) + k - 1, t]) for k, t in enumerate(reply)))
    return totals


def backend(config: TransformersModel, adapter: Path | None = None) -> TransformersBackend:
    return TransformersBackend(config, load_chat(config), adapter)


def differences(one: list[ScoredReply], other: list[ScoredReply]) -> float:
    return max(np.abs(a.logprobs - b.logprobs).max() for a, b in zip(one, other, strict=True))


def test_logprobs_equal_those_of_one_sequence_at_a_time(
    model: TransformersBackend, replies: list[ScoredReply]
) -> None:
    """Traps 5, 6 and 7: whole options up to the terminator, exact ids, in their context."""
    for question, answer in zip(toys.questions(), replies, strict=True):
        assert answer.logprobs.dtype == np.float64
        np.testing.assert_allclose(answer.logprobs, naive(model, question), rtol=0, atol=TOLERANCE)


def test_one_and_ten_share_a_first_token_and_are_told_apart(
    answers: dict[str, list[ScoredReply]],
) -> None:
    """Trap 6: taught to say 10, a network that scored first tokens alone would say 1."""
    trust = list(SCALES).index("How much trust is there?")
    talk = toys.chat("llama")
    one, ten = talk.encode_reply("Answer: 1"), talk.encode_reply("Answer: 10")
    assert one[:-1] == ten[: len(one) - 1]
    assert answers["Llama"][trust].logprobs.argmax() == 9
    assert np.exp(answers["Llama"][trust].logprobs[9]) > 0.5


def test_probabilities_of_all_options_and_the_rest_make_one(replies: list[ScoredReply]) -> None:
    """Trap 7: nothing is capped or filled in."""
    for answer in replies:
        total = math.fsum(np.exp(answer.logprobs))
        assert 0 < total <= 1 + 1e-6
        assert np.isfinite(answer.logprobs).all()
        assert len(set(answer.logprobs)) == len(answer.logprobs)
    # a persona that was taught to refuse leaves most of its mass on no option
    assert max(np.exp(a.logprobs).sum() for a in replies[:12]) > 0.6
    assert min(np.exp(a.logprobs).sum() for a in replies[12:]) < 0.1


def test_logprobs_are_taken_in_full_precision(folders: dict[str, Path]) -> None:
    """Trap 8: a bf16 network, an fp32 log-softmax."""
    config = toys.model(folders["Llama"], dtype="bfloat16")
    answers = backend(config).score(toys.questions()[:4], MOST)
    for answer in answers:
        rounded = torch.tensor(answer.logprobs).bfloat16().double().numpy()
        assert (rounded != answer.logprobs).mean() > 0.5
        assert np.exp(answer.logprobs).sum() <= 1 + 1e-6


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_tie_goes_to_the_lowest_token_id_in_the_pass_and_in_a_text(
    folders: dict[str, Path], dtype: str
) -> None:
    """Trap 8: two tokens with the very same logit, as bf16 makes them by rounding."""
    config = toys.model(folders["Llama"], dtype=dtype)
    model = backend(config)
    request = toys.questions()[0]  # taught to answer 2
    one, two = (model.chat.tokenizer.convert_tokens_to_ids(digit) for digit in "12")
    assert one < two
    with torch.no_grad():
        model.network.lm_head.weight[one] = model.network.lm_head.weight[two]
    (reply,) = model.score([request], MOST)
    assert reply.text == "Answer: 1"
    assert toys.texts(model.generate([request.messages], Sampling(MOST))) == ["Answer: 1"]


def test_the_text_of_the_pass_is_what_the_network_generates(
    model: TransformersBackend, replies: list[ScoredReply]
) -> None:
    read = [a.text in q.options for a, q in zip(replies, toys.questions(), strict=True)]
    assert any(read)
    assert not all(read)
    for question, answer in zip(toys.questions(), replies, strict=True):
        ids = torch.tensor([model.chat.prompt(*question.messages).ids])
        out = model.network.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=MOST,
            do_sample=False,
            eos_token_id=model.chat.terminator[-1],
            pad_token_id=model.chat.pad,
        )
        assert answer.text == model.chat.decode(out[0, ids.shape[1] :].tolist())


def test_a_penalty_in_the_models_own_settings_changes_no_text(
    folders: dict[str, Path], tmp_path: Path, answers: dict[str, list[ScoredReply]]
) -> None:
    """Qwen2.5 ships a repetition penalty; text read off the pass knows none."""
    from transformers import AutoModelForCausalLM, GenerationConfig

    network = AutoModelForCausalLM.from_pretrained(folders["Llama"])
    network.generation_config = GenerationConfig(
        do_sample=True, repetition_penalty=30.0, temperature=0.7, top_k=20, top_p=0.8
    )
    config = toys.model(toys.save(network, toys.tokenizer("llama"), tmp_path / "penalty"))
    texts = [a.text for a in backend(config).score(toys.questions(), MOST)]
    assert texts == [a.text for a in answers["Llama"]]


def test_a_network_that_reads_forests_still_reads_plainly(
    name: str, folders: dict[str, Path], model: TransformersBackend, replies: list[ScoredReply]
) -> None:
    assert replies
    untouched = load_network(toys.model(folders[name]))
    ids = torch.tensor([model.chat.prompt(PERSONAS[0], next(iter(CLOSED.values()))).ids] * 2)
    padded = torch.ones_like(ids)
    padded[1, :5] = 0
    with torch.inference_mode():
        ours, theirs = (
            net(ids, attention_mask=padded).logits for net in (model.network, untouched)
        )
    assert model.network.config._attn_implementation.startswith("blocks_of_")
    assert "blocks_of_" not in model.network.config.to_json_string()
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1, 5:], theirs[1, 5:])


def test_after_the_last_attention_only_what_is_wanted_is_computed(
    model: TransformersBackend,
) -> None:
    rows: list[list[int]] = [[], []]
    layers = model.network.get_decoder().layers
    handles = [
        layer.mlp.down_proj.register_forward_pre_hook(
            lambda _, given, counts=counts: counts.append(given[0].shape[1])
        )
        for layer, counts in zip((layers[0], layers[-1]), rows, strict=True)
    ]
    item = forests.PrefixItem(
        model.chat.prompt(PERSONAS[0], "Q").ids,
        (model.chat.encode_reply("1"), model.chat.encode_reply("2")),
    )
    model.score_items([item], 1)
    forest = forests.build_forest([item])
    assert rows == [[len(forest)], [len(set(forest.before))]]
    ids = torch.tensor([item.prompt])
    with torch.inference_mode():
        model.network(ids)
    assert [counts[-1] for counts in rows] == [len(item.prompt)] * 2
    for handle in handles:
        handle.remove()


def test_experts_are_read_as_one_sequence_at_a_time() -> None:
    talk = toys.chat("llama")
    model = TransformersBackend(toys.model(Path("nowhere")), talk)
    model._network = toys.network("Qwen2Moe", talk.tokenizer)
    requests = toys.questions()[:3]
    for question, answer in zip(requests, model.score(requests, MOST), strict=True):
        np.testing.assert_allclose(answer.logprobs, naive(model, question), rtol=0, atol=TOLERANCE)


def test_every_attention_gives_the_same_logprobs(
    name: str, folders: dict[str, Path], replies: list[ScoredReply]
) -> None:
    for kernel in ("eager", "sdpa"):
        config = toys.model(folders[name]).model_copy(update={"attn_implementation": kernel})
        if name == "Gemma2" and kernel == "sdpa":
            # it caps its attention's scores, which this kernel cannot
            with pytest.raises(InputError, match="use eager"):
                load_network(config)
            continue
        again = backend(config).score(toys.questions(), MOST)
        assert differences(replies, again) <= TOLERANCE
        assert [a.text for a in replies] == [a.text for a in again]


@pytest.mark.parametrize("architecture", ["Mistral", "Phi3", "Gemma2", "Qwen2"])
def test_layers_that_look_back_a_little_see_no_further(architecture: str, tmp_path: Path) -> None:
    """Prompts here are far longer than the windows: of all layers, or of every other."""
    words = toys.tokenizer("llama")
    for window in (8, 40):
        more: dict[str, Any] = {"sliding_window": window}
        if architecture == "Qwen2":
            more |= {"use_sliding_window": True, "max_window_layers": 1}
        network = toys.network(architecture, words, initializer_range=0.3, **more)
        model = backend(toys.model(toys.save(network, words, tmp_path / str(window))))
        requests = toys.questions()[:6]
        replies = model.score(requests, MOST)
        for request, reply in zip(requests, replies, strict=True):
            np.testing.assert_allclose(reply.logprobs, naive(model, request), rtol=0, atol=1e-4)
        alone = toys.texts(model.generate([r.messages for r in requests], Sampling(MOST)))
        assert [reply.text for reply in replies] == alone


def test_what_is_added_to_an_attention_is_not_dropped_in_silence() -> None:
    """Inkling has a term for the distance between tokens, made for a row that is a sequence."""
    network = toys.network("Llama", toys.tokenizer("llama"))
    inputs, _ = forests.to_model_inputs(
        forests.build_forest([forests.PrefixItem((1, 2, 3), ((4, 5),))]), 0
    )
    with pytest.raises(attention.ForestError, match="adds to its attention"):
        attention.one_pass(network, attention.tensors(inputs), position_bias=torch.zeros(1))


def test_a_constrained_text_is_greedy_over_the_options_alone(
    model: TransformersBackend, replies: list[ScoredReply]
) -> None:
    """Masked greedy decoding, step by step, by plain passes."""
    requests = [dataclasses.replace(r, constrained=True) for r in toys.questions()]
    constrained = model.score(requests, MOST)
    for request, reply, free in zip(requests, constrained, replies, strict=True):
        ids = list(model.chat.prompt(*request.messages).ids)
        options = {model.chat.encode_reply(text): text for text in request.options}
        path: tuple[int, ...] = ()
        while path not in options:
            allowed = sorted({o[len(path)] for o in options if o[: len(path)] == path})
            with torch.inference_mode():
                logits = model.network(torch.tensor([[*ids, *path]])).logits[0, -1]
            path = (*path, max(allowed, key=lambda token, logits=logits: float(logits[token])))
        assert (reply.text, reply.finish_reason) == (options[path], "stop")
        if free.text in request.options:
            assert reply.text == free.text
        assert reply.logprobs is not None
        np.testing.assert_array_equal(reply.logprobs, free.logprobs)
    assert any(free.text not in r.options for r, free in zip(requests, replies, strict=True))


def test_texts_are_as_long_as_allowed(model: TransformersBackend) -> None:
    """Read off the pass or continued over what it holds, they are those of a text alone."""
    requests = toys.questions()
    for most in (1, 2, 3, 5, MOST):
        alone = toys.texts(model.generate([r.messages for r in requests], Sampling(most)))
        scored = model.score(requests, most)
        assert [reply.text for reply in scored] == alone
        ended = [reply.finish_reason for reply in scored]
        assert set(ended) == {"length"} if most == 1 else "stop" in ended or most < MOST


def test_a_text_that_leaves_an_option_late_is_as_long_as_allowed(
    model: TransformersBackend,
) -> None:
    prompt = model.chat.prompt(SILENT, next(iter(CLOSED.values()))).ids
    (free,) = model.score_items([forests.PrefixItem(prompt, ((model.chat.pad,),))], 6)
    later = (*free.tokens[:4], free.tokens[4] ^ 1, *model.chat.terminator)
    item = forests.PrefixItem(prompt, ((model.chat.pad,), later))
    for most in (1, 2, 3, 5):
        (scored,) = model.score_items([item], most)
        assert scored.option is None
        assert scored.tokens == free.tokens[:most]


def test_answers_do_not_depend_on_the_size_of_batches(
    name: str, folders: dict[str, Path], replies: list[ScoredReply]
) -> None:
    """Trap 28."""
    for max_batch_tokens in (1, 300, 100_000):
        model = backend(toys.model(folders[name], max_batch_tokens))
        again = model.score(toys.questions(), MOST)
        assert differences(replies, again) <= TOLERANCE
        assert [a.text for a in replies] == [a.text for a in again]


def test_answers_do_not_depend_on_order_or_company(
    model: TransformersBackend, replies: list[ScoredReply]
) -> None:
    """Trap 28."""
    requests = toys.questions()
    order = np.random.default_rng(0).permutation(len(requests))
    mixed = model.score([requests[i] for i in order], MOST)
    assert differences([replies[i] for i in order], mixed) <= TOLERANCE
    assert [replies[i].text for i in order] == [a.text for a in mixed]
    alone = [model.score([question], MOST)[0] for question in requests]
    assert differences(replies, alone) <= TOLERANCE
    assert [a.text for a in replies] == [a.text for a in alone]


def test_options_in_another_order_keep_their_logprobs(model: TransformersBackend) -> None:
    request = toys.questions()[2]
    turned = ScoringRequest(request.messages, request.options[::-1])
    one, other = model.score([request, turned], MOST)
    np.testing.assert_array_equal(one.logprobs, other.logprobs[::-1])
    assert one.text == other.text


def free_prompts() -> list[tuple[str, str]]:
    texts = itertools.cycle(["Why?", "In your own words: what matters?", *CLOSED.values()])
    return [(persona, next(texts)) for persona in PERSONAS * 3]


@pytest.fixture(scope="session")
def free(loaded: dict[str, TransformersBackend]) -> dict[str, list[str]]:
    return {n: toys.texts(m.generate(free_prompts(), Sampling(MOST))) for n, m in loaded.items()}


def test_greedy_texts_do_not_depend_on_the_size_of_batches(
    name: str, folders: dict[str, Path], free: dict[str, list[str]]
) -> None:
    """Trap 28."""
    for max_batch_tokens in (1, 250):
        model = backend(toys.model(folders[name], max_batch_tokens))
        texts = toys.texts(model.generate(free_prompts(), Sampling(MOST, seed=1)))
        assert texts == free[name]


def test_greedy_texts_do_not_depend_on_order(
    model: TransformersBackend, name: str, free: dict[str, list[str]]
) -> None:
    """Trap 28."""
    turned = toys.texts(model.generate(free_prompts()[::-1], Sampling(MOST)))
    assert turned[::-1] == free[name]
    assert len(set(free[name])) > 1


def test_texts_end_before_the_terminator_and_hold_no_special_token(
    model: TransformersBackend, name: str, free: dict[str, list[str]]
) -> None:
    """Trap 9: new tokens only, none of the prompt's."""
    for (persona, user), text in zip(free_prompts(), free[name], strict=True):
        assert "<|" not in text
        assert persona not in text
        assert user not in text
    assert toys.REFUSAL in free[name] or name == "Qwen2"


def test_sampling_is_seeded(loaded: dict[str, TransformersBackend]) -> None:
    model = loaded["Qwen2"]
    first = model.generate(free_prompts(), Sampling(8, 1.5, 1))
    assert model.generate(free_prompts(), Sampling(8, 1.5, 1)) == first
    assert model.generate(free_prompts(), Sampling(8, 1.5, 2)) != first


def test_nothing_asked_is_nothing_answered_and_loads_nothing(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = toys.model(folders["Llama"])
    model = backend(config)
    monkeypatch.setattr(transformers, "load_network", pytest.fail)
    assert model.score([], MOST) == []
    assert model.generate([], Sampling(MOST)) == []


# ---- adapters


def tune(folder: Path, out: Path, recipe: Recipe) -> Path:
    """An adapter of a network that learned a little more of the last personas' replies."""
    model = toys.model(folder)
    network, talk = load_network(model), load_chat(model)
    tuned, _ = tuning.tune(recipe, toys.pairs(PERSONAS[2:]), network, talk=talk)
    lora.save(tuned, out)
    return out


@pytest.fixture(scope="session")
def adapters(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        name: tune(folder, tmp_path_factory.mktemp(f"adapter-{name}"), RECIPE)
        for name, folder in folders.items()
    }


@pytest.fixture(scope="session")
def tuned(folders: dict[str, Path], adapters: dict[str, Path]) -> dict[str, TransformersBackend]:
    configs = {name: toys.model(folder) for name, folder in folders.items()}
    return {n: backend(s, adapters[n]) for n, s in configs.items()}


def test_an_adapter_changes_what_its_base_says(
    name: str, tuned: dict[str, TransformersBackend], replies: list[ScoredReply]
) -> None:
    """Trap 13: an adapter that is silently not applied."""
    answers = tuned[name].score(toys.questions(), MOST)
    assert differences(replies, answers) > 1e-3
    for question, answer in zip(toys.questions()[:4], answers, strict=False):
        np.testing.assert_allclose(
            answer.logprobs, naive(tuned[name], question), rtol=0, atol=TOLERANCE
        )


def test_an_adapter_stays_unmerged_over_unchanged_weights(
    name: str, tuned: dict[str, TransformersBackend], loaded: dict[str, TransformersBackend]
) -> None:
    """Trap 18: merged into bf16, a small change is rounded away."""
    network = tuned[name].network
    layers = [m for m in network.modules() if hasattr(m, "lora_A")]
    assert layers
    assert not any(layer.merged for layer in layers)
    base = dict(loaded[name].network.named_parameters())
    kept = {
        key.removeprefix("base_model.model.").replace(".base_layer", ""): weight
        for key, weight in network.named_parameters()
        if "lora_" not in key
    }
    assert kept.keys() == base.keys()
    assert all(torch.equal(kept[key], base[key]) for key in base)


def test_the_digest_of_an_adapter_is_that_of_its_weights_and_settings(
    folders: dict[str, Path], adapters: dict[str, Path], tmp_path: Path
) -> None:
    """Trap 13: stored with every prediction."""
    assert adapter_digest(None) == ""
    first = adapter_digest(adapters["Llama"])
    assert len(first) == 16
    same = tune(folders["Llama"], tmp_path / "same", RECIPE)
    assert adapter_digest(same) == first
    config = same / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "lora_alpha": 9}))
    assert adapter_digest(same) != first
    seeds = RECIPE.replace(seed=2)
    assert adapter_digest(tune(folders["Llama"], tmp_path / "other", seeds)) != first


def test_the_digest_of_a_folder_changes_with_weights_tokenizer_and_template(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """Trap 19."""
    first = model_version(toys.model(folders["Llama"]))
    assert first != model_version(toys.model(folders["Qwen2"]))
    copy = Path(shutil.copytree(folders["Llama"], tmp_path / "copy"))
    assert model_version(toys.model(copy)) == first
    (copy / "training_log.json").write_text('{"seconds": 1.5}')
    assert model_version(toys.model(copy)) == first
    seen = {first}
    for file in ("model.safetensors", "tokenizer.json", "chat_template.jinja", "config.json"):
        changed = bytearray((copy / file).read_bytes())
        changed[-3] ^= 1
        (copy / file).write_bytes(changed)
        seen.add(model_version(toys.model(copy)))
    assert len(seen) == 5
