"""Scoring in prefix trees gives what one sequence at a time gives, and the text that is written."""

import dataclasses
import itertools
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import toys
from tests.toys import ARCHITECTURES, CLOSED, PERSONAS, RECIPE, SCALES
from valuestrata.models import lora, transformers, trie
from valuestrata.models.base import Answer, Question
from valuestrata.models.local import adapter_digest, load_chat, load_network, weights_digest
from valuestrata.models.transformers import TransformersModel
from valuestrata.specs import Finetune, Recipe

TOLERANCE = 1e-5
MOST = 24

# ---- trees, of random items

tokens = st.integers(0, 2)
options = st.lists(st.lists(tokens, min_size=1, max_size=3).map(tuple), min_size=1, max_size=4)
items = st.builds(
    trie.Item, st.lists(tokens, min_size=1, max_size=6).map(tuple), options.map(tuple)
)
many = st.lists(items, min_size=1, max_size=12)
fixed = settings(derandomize=True, database=None, deadline=None)


def path_to(tree: trie.Tree, node: int) -> tuple[int, ...]:
    found = []
    while node >= 0:
        found.append(tree.token[node])
        node = tree.parent[node]
    return tuple(reversed(found))


@fixed
@given(many, st.integers(1, 40))
def test_trees_hold_every_item_once_and_every_option_whole(
    asked: list[trie.Item], row: int
) -> None:
    trees = trie.grow(asked, row)
    assert sorted(i for _, own in trees for i in own) == list(range(len(asked)))
    for tree, own in trees:
        for i, end, paths in zip(own, tree.ends, tree.paths, strict=True):
            assert path_to(tree, end) == asked[i].prompt
            for path, option in zip(paths, asked[i].options, strict=True):
                assert tuple(token for _, token in path) == option
                for k, (node, _) in enumerate(path):
                    assert path_to(tree, node) == asked[i].prompt + option[:k]
                    assert node in tree.wanted


@fixed
@given(many)
def test_a_tree_has_one_node_for_each_distinct_prefix(asked: list[trie.Item]) -> None:
    ((tree, _),) = trie.grow(asked, 10_000)
    read = [item.prompt + option[:-1] for item in asked for option in item.options]
    prefixes = {ids[:k] for ids in read for k in range(1, len(ids) + 1)}
    assert len(tree) == len(prefixes)
    assert {path_to(tree, node) for node in range(len(tree))} == prefixes
    assert [tree.depth[node] + 1 for node in range(len(tree))] == [
        len(path_to(tree, node)) for node in range(len(tree))
    ]
    for item in asked:
        assert tree.new_nodes(item.prompt) == 0
        assert tree.new_nodes((*item.prompt, 9, 9)) == 2


@fixed
@given(many, st.integers(1, 40))
def test_trees_keep_to_the_row_unless_one_item_is_longer(asked: list[trie.Item], row: int) -> None:
    for tree, own in trie.grow(asked, row):
        assert len(own) == 1 or len(tree) <= row


@fixed
@given(many, st.integers(1, 40), st.randoms(use_true_random=False))
def test_trees_do_not_depend_on_the_order_of_items(asked, row, random) -> None:  # type: ignore[no-untyped-def]
    distinct = list({item.prompt: item for item in asked}.values())
    mixed = random.sample(distinct, len(distinct))
    there, back = trie.grow(distinct, row), trie.grow(mixed, row)
    assert [tree.token for tree, _ in there] == [tree.token for tree, _ in back]
    assert [[distinct[i] for i in own] for _, own in there] == [
        [mixed[i] for i in own] for _, own in back
    ]


@fixed
@given(many, st.integers(1, 40))
def test_a_batch_lays_out_tokens_depths_and_ancestors(asked: list[trie.Item], row: int) -> None:
    trees = [tree for tree, _ in trie.grow(asked, row)]
    laid = trie.batch(trees, pad=7)
    longest = max(map(len, trees))
    assert laid.tokens.shape == laid.depth.shape == (len(trees), longest)
    assert laid.keep == max(len(tree.wanted) for tree in trees)
    for r, tree in enumerate(trees):
        shift = longest - len(tree)
        assert (laid.tokens[r, :shift] == 7).all()
        # each node's path is what it attends to, in order of depth, and nothing else
        paths = []
        for column in range(shift, longest):
            seen = np.flatnonzero(laid.attends[r, column])
            seen = seen[np.argsort(laid.depth[r, seen])]
            assert laid.depth[r, seen].tolist() == list(range(len(seen)))
            paths.append(tuple(laid.tokens[r, seen].tolist()))
            assert seen[-1] == column
        assert sorted(paths) == sorted(path_to(tree, node) for node in range(len(tree)))
        # padding attends to itself alone and is attended to by nobody
        assert (laid.attends[r, :shift].sum(axis=1) == 1).all()
        assert not laid.attends[r, shift:, :shift].any()
        # wanted nodes are among the last columns, each where `place` says
        assert set(laid.place[r]) == tree.wanted
        for node, column in laid.place[r].items():
            assert 0 <= column < laid.keep
            assert paths[longest - laid.keep + column - shift] == path_to(tree, node)


def test_questions_that_share_beginnings_are_read_once() -> None:
    asked = scoring_items("Llama")
    read = sum(len(item.prompt) + sum(map(len, item.options)) for item in asked)
    prompts = sum(len(item.prompt) for item in asked)
    nodes = sum(len(tree) for tree, _ in trie.grow(asked, 384))
    assert nodes < 0.85 * prompts
    assert nodes < 0.6 * read


# ---- networks


def scoring_items(architecture: str) -> list[trie.Item]:
    talk = toys.chat(ARCHITECTURES[architecture])
    return [
        trie.Item(talk.prompt(q.persona, q.user).ids, tuple(talk.reply(text) for text in q.replies))
        for q in toys.questions()
    ]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {a: toys.taught(a, tmp_path_factory.mktemp(a)) for a in ARCHITECTURES}


@pytest.fixture(scope="session")
def loaded(folders: dict[str, Path]) -> dict[str, TransformersModel]:
    specs = {name: toys.model(folder) for name, folder in folders.items()}
    return {name: TransformersModel(spec, load_chat(spec)) for name, spec in specs.items()}


@pytest.fixture(scope="session")
def answers(loaded: dict[str, TransformersModel]) -> dict[str, list[Answer]]:
    return {name: model.answer(toys.questions(), MOST) for name, model in loaded.items()}


@pytest.fixture(params=list(ARCHITECTURES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(name: str, loaded: dict[str, TransformersModel]) -> TransformersModel:
    return loaded[name]


@pytest.fixture
def found(name: str, answers: dict[str, list[Answer]]) -> list[Answer]:
    return answers[name]


@torch.inference_mode()
def naive(model: TransformersModel, question: Question) -> list[float]:
    """log p of each reply, from one plain forward pass over each whole sequence."""
    prompt = list(model.chat.prompt(question.persona, question.user).ids)
    totals = []
    for text in question.replies:
        reply = list(model.chat.reply(text))
        logits = model.network(torch.tensor([prompt + reply])).logits[0].float()
        logprobs = logits.log_softmax(dim=-1)
        totals.append(sum(float(logprobs[len(prompt) + k - 1, t]) for k, t in enumerate(reply)))
    return totals


def differences(one: list[Answer], other: list[Answer]) -> float:
    return max(np.abs(a.logprobs - b.logprobs).max() for a, b in zip(one, other, strict=True))


def test_logprobs_equal_those_of_one_sequence_at_a_time(
    model: TransformersModel, found: list[Answer]
) -> None:
    """Traps 5, 6 and 7: whole options up to the terminator, exact ids, in their context."""
    for question, answer in zip(toys.questions(), found, strict=True):
        assert answer.logprobs.dtype == np.float64
        np.testing.assert_allclose(answer.logprobs, naive(model, question), rtol=0, atol=TOLERANCE)


def test_one_and_ten_share_a_first_token_and_are_told_apart(
    answers: dict[str, list[Answer]],
) -> None:
    """Trap 6: taught to say 10, a network that scored first tokens alone would say 1."""
    trust = list(SCALES).index("How much trust is there?")
    talk = toys.chat("llama")
    one, ten = talk.reply("Answer: 1"), talk.reply("Answer: 10")
    assert one[:-1] == ten[: len(one) - 1]
    assert answers["Llama"][trust].logprobs.argmax() == 9
    assert np.exp(answers["Llama"][trust].logprobs[9]) > 0.5


def test_probabilities_of_all_options_and_the_rest_make_one(found: list[Answer]) -> None:
    """Trap 7: nothing is capped or filled in."""
    for answer in found:
        total = math.fsum(np.exp(answer.logprobs))
        assert 0 < total <= 1 + 1e-6
        assert np.isfinite(answer.logprobs).all()
        assert len(set(answer.logprobs)) == len(answer.logprobs)
    # a persona that was taught to refuse leaves most of its mass on no option
    assert max(np.exp(a.logprobs).sum() for a in found[:12]) > 0.6
    assert min(np.exp(a.logprobs).sum() for a in found[12:]) < 0.1


def test_logprobs_are_taken_in_full_precision(folders: dict[str, Path]) -> None:
    """Trap 8: a bf16 network, an fp32 log-softmax."""
    spec = toys.model(folders["Llama"], dtype="bfloat16")
    answers = TransformersModel(spec, load_chat(spec)).answer(toys.questions()[:4], MOST)
    for answer in answers:
        rounded = torch.tensor(answer.logprobs).bfloat16().double().numpy()
        assert (rounded != answer.logprobs).mean() > 0.5
        assert np.exp(answer.logprobs).sum() <= 1 + 1e-6


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_tie_goes_to_the_lowest_token_id_in_the_pass_and_in_a_text(
    folders: dict[str, Path], dtype: str
) -> None:
    """Trap 8: two tokens with the very same logit, as bf16 makes them by rounding."""
    spec = toys.model(folders["Llama"], dtype=dtype)
    model = TransformersModel(spec, load_chat(spec))
    asked = toys.questions()[0]  # taught to answer 2
    one, two = (model.chat.tokenizer.convert_tokens_to_ids(digit) for digit in "12")
    assert one < two
    with torch.no_grad():
        model.network.lm_head.weight[one] = model.network.lm_head.weight[two]
    (found,) = model.answer([asked], MOST)
    assert found.text == "Answer: 1"
    assert model.generate([(asked.persona, asked.user)], MOST, 0.0, 0) == ["Answer: 1"]


def test_the_text_of_the_pass_is_what_the_network_generates(
    model: TransformersModel, found: list[Answer]
) -> None:
    read = [a.text in q.replies for a, q in zip(found, toys.questions(), strict=True)]
    assert any(read)
    assert not all(read)
    for question, answer in zip(toys.questions(), found, strict=True):
        ids = torch.tensor([model.chat.prompt(question.persona, question.user).ids])
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
    folders: dict[str, Path], tmp_path: Path, answers: dict[str, list[Answer]]
) -> None:
    """Qwen2.5 ships a repetition penalty; text read off the pass knows none."""
    from transformers import AutoModelForCausalLM, GenerationConfig

    network = AutoModelForCausalLM.from_pretrained(folders["Llama"])
    network.generation_config = GenerationConfig(
        do_sample=True, repetition_penalty=30.0, temperature=0.7, top_k=20, top_p=0.8
    )
    spec = toys.model(toys.save(network, toys.tokenizer("llama"), tmp_path / "penalty"))
    texts = [
        a.text for a in TransformersModel(spec, load_chat(spec)).answer(toys.questions(), MOST)
    ]
    assert texts == [a.text for a in answers["Llama"]]


@pytest.mark.parametrize("batch_tokens", [1, 300, 100_000])
def test_answers_do_not_depend_on_the_size_of_batches(
    name: str, folders: dict[str, Path], found: list[Answer], batch_tokens: int
) -> None:
    """Trap 28."""
    spec = toys.model(folders[name], batch_tokens)
    again = TransformersModel(spec, load_chat(spec)).answer(toys.questions(), MOST)
    assert differences(found, again) <= TOLERANCE
    assert [a.text for a in found] == [a.text for a in again]


def test_answers_do_not_depend_on_order_or_company(
    model: TransformersModel, found: list[Answer]
) -> None:
    """Trap 28."""
    asked = toys.questions()
    order = np.random.default_rng(0).permutation(len(asked))
    mixed = model.answer([asked[i] for i in order], MOST)
    assert differences([found[i] for i in order], mixed) <= TOLERANCE
    assert [found[i].text for i in order] == [a.text for a in mixed]
    alone = [model.answer([question], MOST)[0] for question in asked]
    assert differences(found, alone) <= TOLERANCE
    assert [a.text for a in found] == [a.text for a in alone]


def test_options_in_another_order_keep_their_logprobs(model: TransformersModel) -> None:
    asked = toys.questions()[2]
    turned = Question(asked.persona, asked.user, asked.replies[::-1])
    one, other = model.answer([asked, turned], MOST)
    np.testing.assert_array_equal(one.logprobs, other.logprobs[::-1])
    assert one.text == other.text


def free_prompts() -> list[tuple[str, str]]:
    texts = itertools.cycle(["Why?", "In your own words: what matters?", *CLOSED.values()])
    return [(persona, next(texts)) for persona in PERSONAS * 3]


@pytest.fixture(scope="session")
def free(loaded: dict[str, TransformersModel]) -> dict[str, list[str]]:
    return {name: m.generate(free_prompts(), MOST, 0.0, 0) for name, m in loaded.items()}


@pytest.mark.parametrize("batch_tokens", [1, 250])
def test_greedy_texts_do_not_depend_on_the_size_of_batches(
    name: str, folders: dict[str, Path], free: dict[str, list[str]], batch_tokens: int
) -> None:
    """Trap 28."""
    spec = toys.model(folders[name], batch_tokens)
    again = TransformersModel(spec, load_chat(spec)).generate(free_prompts(), MOST, 0.0, 1)
    assert again == free[name]


def test_greedy_texts_do_not_depend_on_order(
    model: TransformersModel, name: str, free: dict[str, list[str]]
) -> None:
    """Trap 28."""
    assert model.generate(free_prompts()[::-1], MOST, 0.0, 0)[::-1] == free[name]
    assert len(set(free[name])) > 1


def test_texts_end_before_the_terminator_and_hold_no_special_token(
    model: TransformersModel, name: str, free: dict[str, list[str]]
) -> None:
    """Trap 9: new tokens only, none of the prompt's."""
    for (persona, user), text in zip(free_prompts(), free[name], strict=True):
        assert "<|" not in text
        assert persona not in text
        assert user not in text
    assert toys.REFUSAL in free[name] or name == "Qwen2"


def test_sampling_is_seeded(loaded: dict[str, TransformersModel]) -> None:
    model = loaded["Qwen2"]
    first = model.generate(free_prompts(), 8, 1.5, seed=1)
    assert model.generate(free_prompts(), 8, 1.5, seed=1) == first
    assert model.generate(free_prompts(), 8, 1.5, seed=2) != first


def test_nothing_asked_is_nothing_answered_and_loads_nothing(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = toys.model(folders["Llama"])
    model = TransformersModel(spec, load_chat(spec))
    monkeypatch.setattr(transformers, "load_network", pytest.fail)
    assert model.answer([], MOST) == []
    assert model.generate([], MOST, 0.0, 0) == []


# ---- adapters


def tune(folder: Path, out: Path, recipe: Recipe) -> Path:
    spec = toys.model(folder)
    tuned, _ = lora.finetune(
        Finetune(spec, recipe, "english", "toy model"),
        load_network(spec),
        toys.lessons(load_chat(spec))[::-1][:8],
        load_chat(spec).pad,
    )
    lora.save(tuned, out)
    return out


@pytest.fixture(scope="session")
def adapters(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        name: tune(folder, tmp_path_factory.mktemp(f"adapter-{name}"), RECIPE)
        for name, folder in folders.items()
    }


@pytest.fixture(scope="session")
def tuned(folders: dict[str, Path], adapters: dict[str, Path]) -> dict[str, TransformersModel]:
    specs = {name: toys.model(folder) for name, folder in folders.items()}
    return {n: TransformersModel(s, load_chat(s), adapters[n]) for n, s in specs.items()}


def test_an_adapter_changes_what_its_base_says(
    name: str, tuned: dict[str, TransformersModel], found: list[Answer]
) -> None:
    """Trap 13: an adapter that is silently not applied."""
    answers = tuned[name].answer(toys.questions(), MOST)
    assert differences(found, answers) > 1e-3
    for question, answer in zip(toys.questions()[:4], answers, strict=False):
        np.testing.assert_allclose(
            answer.logprobs, naive(tuned[name], question), rtol=0, atol=TOLERANCE
        )


def test_an_adapter_stays_unmerged_over_unchanged_weights(
    name: str, tuned: dict[str, TransformersModel], loaded: dict[str, TransformersModel]
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
    config.write_text(config.read_text().replace('"lora_alpha": 8.0', '"lora_alpha": 9.0'))
    assert adapter_digest(same) != first
    seeds = dataclasses.replace(RECIPE, seed=2)
    assert adapter_digest(tune(folders["Llama"], tmp_path / "other", seeds)) != first


def test_the_digest_of_a_folder_changes_with_weights_tokenizer_and_template(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """Trap 19."""
    first = weights_digest(toys.model(folders["Llama"]))
    assert first != weights_digest(toys.model(folders["Qwen2"]))
    copy = Path(shutil.copytree(folders["Llama"], tmp_path / "copy"))
    assert weights_digest(toys.model(copy)) == first
    (copy / "training_log.json").write_text('{"seconds": 1.5}')
    assert weights_digest(toys.model(copy)) == first
    seen = {first}
    for file in ("model.safetensors", "tokenizer.json", "chat_template.jinja", "config.json"):
        changed = bytearray((copy / file).read_bytes())
        changed[-3] ^= 1
        (copy / file).write_bytes(changed)
        seen.add(weights_digest(toys.model(copy)))
    assert len(seen) == 5
