"""Forests by FlexAttention are those of gathered blocks and of plain sequences.

torch differentiates it on a GPU alone: here its mathematics are taken without its kernel, and its
refusal of a CPU is taken away. tests/test_gpu.py asks the kernel itself.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention import flex_attention as torchs

from bench.counts import counted
from tests import toys
from tests.test_forward import MOST, backend, network, without_the_forest
from tests.test_shared_prefix import SMALL, relative, replies
from tests.toys import ARCHITECTURES, chat
from tests.tuning import examples, recipe
from valuestrata.errors import InputError
from valuestrata.inference import local
from valuestrata.prefix import attention, flex, forests, forward
from valuestrata.prefix.forests import PrefixItem
from valuestrata.training import loop, lora
from valuestrata.training.completion import CompletionObjective
from valuestrata.training.schedules import OptimizerSettings
from valuestrata.training.shared_prefix import SharedPrefixObjective

WINDOWED: dict[str, dict[str, Any]] = {
    "Qwen2": {"use_sliding_window": True, "sliding_window": 20, "max_window_layers": 1},
    "Gemma2": {"sliding_window": 24},
    "Mistral": {"sliding_window": 16},
}


@pytest.fixture
def on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel, and no refusal."""
    monkeypatch.setattr(torchs, "_validate_device", lambda *_: None)
    monkeypatch.setattr(torchs, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
    monkeypatch.setattr(flex, "_compiled", lambda: torchs.flex_attention)


def capping(made: Any) -> Any:
    """The network with the attention that `local.attention_kernel` chooses: others cap nothing."""
    if made.config.get_text_config().to_dict().get("attn_logit_softcapping"):
        made.set_attn_implementation("eager")
        made.config.attn_logit_softcapping = 2.0
        for layer in made.model.layers:
            layer.self_attn.attn_logit_softcapping = 2.0
    return made


def some_forest(rng: np.random.Generator, groups: int) -> forests.Forest:
    """Prompts that share beginnings of any length, with options of a few tokens."""
    items = []
    for group in range(groups):
        begin = tuple(rng.integers(0, 9, rng.integers(1, 150)).tolist())
        for _ in range(rng.integers(1, 4)):
            more = tuple(rng.integers(0, 9, rng.integers(1, 60)).tolist())
            items.append(PrefixItem((group, *begin, *more), ((1, 2), (1, 3, 4), (5,))))
    return forests.build_forest(items)


def row_of(forest: forests.Forest) -> tuple[torch.Tensor, torch.Tensor]:
    """Ends and depths in whole spans, as of `flex.model_inputs`."""
    size = -(-len(forest) // flex.SPAN) * flex.SPAN
    ends, depths = torch.arange(size) + 1, torch.zeros(size, dtype=torch.int64)
    ends[: len(forest)], depths[: len(forest)] = map(torch.tensor, (forest.end, forest.depth))
    return ends, depths


def test_a_node_sees_its_ancestors_and_no_block_of_them_is_left_out() -> None:
    rng = np.random.default_rng(0)
    for groups in (1, 2, 5, 9):
        forest = some_forest(rng, groups)
        ends, depths = row_of(forest)
        for window in (None, 1, 7, 100):
            mask = flex.block_mask(ends, depths, window)
            seen = torchs.create_mask(mask.mask_mod, 1, 1, len(ends), len(ends), "cpu")[0, 0]
            for node in rng.integers(0, len(forest), 20):
                path = forest.path(node)[-(window or len(forest)) :]
                assert seen[node].nonzero()[:, 0].tolist() == path.tolist()
            assert seen[len(forest) :].sum(dim=1).eq(1).all()
            blocks = seen.unflatten(0, (-1, flex.SPAN)).unflatten(2, (-1, flex.SPAN))
            some, every = blocks.any(dim=3).any(dim=1), blocks.all(dim=3).all(dim=1)
            partial, full = torch.zeros_like(some), torch.zeros_like(some)
            for i in range(len(some)):
                partial[i, mask.kv_indices[0, 0, i, : mask.kv_num_blocks[0, 0, i]]] = True
                full[i, mask.full_kv_indices[0, 0, i, : mask.full_kv_num_blocks[0, 0, i]]] = True
            assert torch.equal(full, every)
            assert (partial | full >= some).all()
            assert not (partial & full).any()
            if window is None:
                assert torch.equal(partial | full, some)
            # the backward pass goes by queries
            by_query = torch.zeros_like(some)
            for j in range(len(some)):
                by_query[mask.q_indices[0, 0, j, : mask.q_num_blocks[0, 0, j]], j] = True
            assert torch.equal(by_query, partial)


@pytest.mark.usefixtures("on_a_cpu")
@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "Mistral", "Granite", "Gemma3"])
def test_losses_and_gradients_are_those_of_gathered_blocks_and_of_plain_sequences(
    architecture: str,
) -> None:
    """With windows and without, scores that are capped, heads that share keys."""
    talk = chat(ARCHITECTURES.get(architecture, "llama"))
    base = toys.network(architecture, talk.tokenizer, **WINDOWED.get(architecture, {}))
    tuned = lora.add_lora(capping(base), recipe(lora_dropout=0.0))
    weights = [p for p in tuned.parameters() if p.requires_grad]
    seeded = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in weights:
            weight += 0.02 * torch.randn(weight.shape, generator=seeded)
    for order in ("persona", "question"):
        data, results = replies(talk, order), []
        for objective, flexible in (
            (SharedPrefixObjective(talk.pad), True),
            (SharedPrefixObjective(talk.pad), False),
            (CompletionObjective(talk.pad), False),
        ):
            (flex.use if flexible else flex.leave)(tuned)
            losses, accuracy = objective.losses(tuned, objective.collate(data))
            results.append((losses, accuracy, torch.autograd.grad(losses.mean(), weights)))
        (ours, our_accuracy, gradients), *others = results
        for expected, accuracy, exact in others:
            torch.testing.assert_close(ours, expected, rtol=0, atol=SMALL)
            assert torch.equal(our_accuracy, accuracy)
            assert relative(gradients, exact) <= SMALL
    # both ways were compared with plain passes before they counted
    for way in (forward._FLEX, forward._ONE_PASS):
        assert way.verdicts[base].reason == ""


@pytest.mark.usefixtures("on_a_cpu")
def test_answers_and_texts_are_those_of_gathered_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    attend = flex.attend
    monkeypatch.setattr(flex, "attend", lambda *a, **k: asked.append(1) or attend(*a, **k))
    for architecture in ("Llama", "Gemma2"):
        one, other = (backend(capping(network(architecture))) for _ in range(2))
        other.network.load_state_dict(one.network.state_dict())
        flex.use(one.network)
        ours = one.score(toys.questions(), MOST)
        assert asked
        asked.clear()
        for reply, expected in zip(ours, other.score(toys.questions(), MOST), strict=True):
            np.testing.assert_allclose(reply.logprobs, expected.logprobs, rtol=0, atol=5e-5)
            assert (reply.text, reply.passes) == (expected.text, expected.passes)
        assert not asked


@pytest.mark.usefixtures("on_a_cpu")
def test_what_it_reads_wrong_or_cannot_read_is_one_line() -> None:
    items = [PrefixItem((1, 2, 3, 4, 5), ((6, 7), (8,)))]
    for broken, problem in (
        (without_the_forest(), "off by"),
        (network("GptOss"), "its attention has sinks"),
        (network("Mamba"), "it has layers that are not plain attention"),
    ):
        flex.use(broken)
        with pytest.raises(InputError, match=rf"forest_attention: flex: .*{problem}.*; use gath"):
            forward.check_forests(broken, items)
    lone = network("Llama")
    flex.use(lone)
    inputs, _ = forests.to_model_inputs(forests.build_forest(items), 0)
    lone.model.layers[0].self_attn.sliding_window = 5
    with pytest.raises(attention.ForestError, match="a window of its own"):
        attention.one_pass(lone, attention.tensors(inputs))


def test_a_model_is_read_so_where_its_study_says_it_and_the_network_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = chat("llama")
    folder = toys.save(network("Llama"), talk.tokenizer, tmp_path / "base")
    config = toys.model(folder).model_copy(update={"forest_attention": "flex"})
    with pytest.raises(InputError, match=r"forest_attention: flex: it needs a GPU; use gathered$"):
        local.load_network(config)
    assert not flex.is_used(local.load_network(toys.model(folder)))
    monkeypatch.setattr(flex, "why_not", lambda _: "")
    assert flex.is_used(lora.add_lora(local.load_network(config), recipe()))
    numerics = [backend_of(c, talk).numerics for c in (config, toys.model(folder))]
    assert numerics[0] == (*numerics[1], "flex")


def backend_of(config: Any, talk: Any) -> Any:
    return local.LocalBackend(config, talk)


def test_what_stands_against_it_is_said() -> None:
    class Somewhere:
        device = torch.device("cuda")
        hf_device_map: dict[str, int] | None = None

        def __init__(self) -> None:
            self.config = network("Llama").config

    assert flex.why_not(Somewhere()) == ""
    spread, dropping = Somewhere(), Somewhere()
    spread.hf_device_map = {"a": 0, "b": 1}
    dropping.config.attention_dropout = 0.1
    assert "several devices" in flex.why_not(spread)
    assert "dropout" in flex.why_not(dropping)


@pytest.mark.usefixtures("on_a_cpu")
def test_a_step_waits_for_nothing_and_casts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the kernel itself, which torch does not let anybody count."""
    talk = chat("llama")
    base = toys.network("Llama", talk.tokenizer).to(torch.bfloat16)
    tuned = lora.add_lora(base, recipe(lora_dropout=0.0))
    flex.use(tuned)
    batch, objective = examples(talk, toys.pairs())[:6], SharedPrefixObjective(talk.pad)
    with torch.no_grad():
        objective.losses(tuned, objective.collate(batch))
    monkeypatch.setattr(flex, "attend", lambda query, *_: query.transpose(1, 2))
    with counted(tuned) as counts:
        settings = OptimizerSettings(1e-4, 2, 0.1, 0.0, 1.0)
        loop.train(tuned, iter([batch] * 2), settings, objective)
    assert (counts.steps, counts.casts, counts.waits) == (2, 0, 0)


@pytest.mark.filterwarnings("ignore")
def test_rows_of_any_length_share_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """One for passes with gradients, one for those without; layers with a window have the same."""
    made = []

    def count(graph: Any, _: Any) -> Any:
        made.append(graph)
        return graph

    torch._dynamo.reset()  # other tests of this process have compiled it, too
    monkeypatch.setattr(torchs, "_validate_device", lambda *_: None)
    kernel = torch.compile(torchs.flex_attention, dynamic=True, backend=count)
    monkeypatch.setattr(flex, "_compiled", lambda: kernel)
    rng = np.random.default_rng(1)
    for grad in (False, True):
        for groups in (2, 4, 7):
            ends, depths = row_of(some_forest(rng, groups))
            assert len(ends) > flex.SPAN
            for window in (None, 16):
                mask = flex.block_mask(ends, depths, window)
                row = torch.zeros(1, 2, len(ends), 16, requires_grad=grad)
                with torch.set_grad_enabled(grad):
                    flex.attend(row, row, row, mask)
        assert len(made) == 1 + grad
