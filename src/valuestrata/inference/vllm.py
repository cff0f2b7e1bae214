"""Language models through vLLM's offline engine, on GPUs or with its CPU build.

We render and tokenise; the engine sees token ids alone. Both readings of a closed prompt come from
two rounds: the greedy text, with the log-probability of every token of an option wherever the text
passes a node of the options' tree, then one request of a single token for each node that it did
not pass. The engine's prefix cache holds the prompt, so it is read once. TokenizedPrompt log-probabilities
would say the same, but switch that cache off. The engine takes log-softmax in fp32.
"""

import json
import logging
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from valuestrata.errors import InputError
from valuestrata.inference.chat import Chat, TokenizedPrompt
from valuestrata.inference.local import LocalModel, folder_of
from valuestrata.inference.protocol import ScoredReply, ScoringRequest
from valuestrata.provenance import text_digest
from valuestrata.specs import Model

log = logging.getLogger(__name__)

PART = 512
"""Prompts between the two rounds; few enough for the cache to hold them all."""
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks of adapters that the engine reserves room for."""
BLOCK = 32
"""Tokens of a cached block on a CPU; at its own block size there nothing is cached."""

Tokens = tuple[int, ...]


class VllmModel(LocalModel):
    """A model with or without an adapter; the engine starts at the first call."""

    def __init__(self, spec: Model, chat: Chat, adapter: Path | str | None = None) -> None:
        """Remember what to load."""
        super().__init__(spec, chat, adapter)
        self._engine: Any = None

    @property
    def engine(self) -> Any:
        """The engine; an adapter is applied request by request and never merged."""
        if self._engine is None:
            self._engine = start(self.spec, self.longest, self.adapter_folder)
        return self._engine

    def answer(self, questions: Sequence[ScoringRequest], max_new_tokens: int) -> list[ScoredReply]:
        """Greedy text and option log-probabilities, in the order of the questions."""
        prompts = [self.chat.prompt(q.persona, q.user).ids for q in questions]
        options = [[self.chat.encode_reply(text) for text in q.replies] for q in questions]
        answers: list[ScoredReply] = [ScoredReply(None, None)] * len(prompts)
        # prompts that begin alike come together
        order = sorted(range(len(prompts)), key=lambda i: prompts[i])
        for done in range(0, len(order), PART):
            part = order[done : done + PART]
            found = self._answer(
                [prompts[i] for i in part], [options[i] for i in part], max_new_tokens
            )
            for i, answer in zip(part, found, strict=True):
                answers[i] = answer
            log.info("asked %d of %d", done + len(part), len(order))
        return answers

    def generate(
        self,
        prompts: Sequence[tuple[str, str]],
        max_new_tokens: int,
        temperature: float,
        seed: int,
    ) -> list[str]:
        """Text for each (persona, user) prompt, in order; each prompt has its own seed."""
        made = [self.chat.prompt(persona, user) for persona, user in prompts]
        settings = [
            {
                **self._writing(max_new_tokens),
                "temperature": temperature,
                "seed": _own_seed(seed, prompt) if temperature > 0 else None,
            }
            for prompt in made
        ]
        written = self._ask([prompt.ids for prompt in made], settings)
        return [self.chat.decode(list(one.token_ids)) for one in written]

    def _answer(
        self, prompts: list[Tokens], options: list[list[Tokens]], max_new_tokens: int
    ) -> list[ScoredReply]:
        trees = [tree(own) for own in options]
        first = [
            {
                **self._writing(max_new_tokens),
                "temperature": 0.0,
                **_read(set().union(*nodes.values())),
            }
            for nodes in trees
        ]
        written = self._ask(prompts, first)
        known: list[dict[Tokens, Any]] = [
            {tuple(one.token_ids[:k]): step for k, step in enumerate(one.logprobs)}
            for one in written
        ]
        rest = [
            (i, node) for i, nodes in enumerate(trees) for node in nodes if node not in known[i]
        ]
        steps = [{"max_tokens": 1, "temperature": 0.0, **_read(trees[i][node])} for i, node in rest]
        for (i, node), one in zip(
            rest, self._ask([prompts[i] + node for i, node in rest], steps), strict=True
        ):
            known[i][node] = one.logprobs[0]
        return [
            ScoredReply(
                self.chat.decode(list(one.token_ids)),
                np.array([_total(nodes, option) for option in own], dtype=np.float64),
            )
            for one, nodes, own in zip(written, known, options, strict=True)
        ]

    def _writing(self, max_new_tokens: int) -> dict[str, Any]:
        """How far a text goes."""
        return {"max_tokens": max_new_tokens, "stop_token_ids": sorted(self.chat.ends)}

    def _ask(self, prompts: list[Tokens], settings: list[dict[str, Any]]) -> list[Any]:
        """The engine's one completion of each prompt, in order."""
        if not prompts:
            return []
        engine = self.engine
        from vllm import SamplingParams
        from vllm.lora.request import LoRARequest

        adapter = None
        if self.adapter_folder is not None:
            number = int(self.adapter[:7], 16) + 1  # the engine knows adapters by number
            adapter = LoRARequest(self.adapter, number, str(self.adapter_folder))
        done = engine.generate(
            [{"prompt_token_ids": list(ids)} for ids in prompts],
            [SamplingParams(detokenize=False, **one) for one in settings],
            lora_request=adapter,
            use_tqdm=False,
        )
        return [request.outputs[0] for request in done]


def start(spec: Model, longest: int | None, adapter: Path | str | None) -> Any:
    """An engine over the model's files: eager and in small blocks on a CPU.

    Raises:
        InputError: vLLM is not installed.
    """
    on_gpu = torch.cuda.is_available()
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    # one process, so that batches form in the same way every time
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    more: dict[str, Any] = {"tensor_parallel_size": torch.cuda.device_count()}
    if not on_gpu:
        os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB
        more = {"enforce_eager": True, "block_size": BLOCK}
    try:
        from vllm import LLM
    except ImportError:
        raise InputError(
            "backend vllm: the package vllm is not installed here; it wants an environment of its "
            "own: pip install 'valuestrata[vllm]', or snakemake --sdm conda"
        ) from None
    if adapter is not None:
        rank = json.loads(Path(adapter, "adapter_config.json").read_text(encoding="utf-8"))["r"]
        room = next((r for r in RANKS if r >= rank), rank)
        more |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": room}
    engine = LLM(
        model=str(folder_of(spec, weights=True)),
        dtype=spec.dtype,
        trust_remote_code=spec.remote_code,
        load_format="safetensors",
        generation_config="vllm",  # no penalties or samplers that the model ships with
        enable_prefix_caching=True,
        max_model_len=longest,
        max_num_batched_tokens=max(spec.batch_tokens, longest or 0),
        max_logprobs=128,
        **more,
    )
    log.info("loaded %s%s", spec.weights, " with room for an adapter" if adapter else "")
    return engine


def tree(options: Sequence[Tokens]) -> dict[Tokens, set[int]]:
    """Every proper prefix of the options -> the tokens that follow it in one of them.

    >>> tree([(1, 2, 9), (1, 9)])
    {(): {1}, (1,): {9, 2}, (1, 2): {9}}
    """
    nodes: dict[Tokens, set[int]] = defaultdict(set)
    for option in options:
        for k, token in enumerate(option):
            nodes[option[:k]].add(token)
    return dict(nodes)


def _read(tokens: set[int]) -> dict[str, Any]:
    """Sampling settings that ask for the log-probability of these tokens at every step."""
    return {"logprobs": len(tokens), "logprob_token_ids": sorted(tokens)}


def _total(nodes: dict[Tokens, Any], option: Tokens) -> float:
    return sum(nodes[option[:k]][token].logprob for k, token in enumerate(option))


def _own_seed(seed: int, prompt: TokenizedPrompt) -> int:
    return int(text_digest([str(seed), prompt.digest])[:15], 16)
