"""Language models through vLLM's offline engine, on GPUs or with its CPU build.

We render and tokenise; the engine sees token ids alone. Both readings of a closed prompt come from
two rounds: the greedy text, with the log-probability of every token of an option wherever the text
passes a node of the options' tree, then one request of a single token for each node that it did
not pass. The engine's prefix cache holds the prompt, so it is read once. Log-probabilities of
prompts would say the same, but switch that cache off. The engine takes log-softmax in fp32.
"""

import importlib.util
import json
import logging
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from valuestrata.errors import InputError
from valuestrata.inference import model_files, quantized
from valuestrata.inference.architectures import is_wrapper, read_config
from valuestrata.inference.chat import Chat, TokenizedPrompt
from valuestrata.inference.constrained import constrained_option
from valuestrata.inference.loading import check_shift
from valuestrata.inference.local import LocalBackend
from valuestrata.inference.model_files import model_folder
from valuestrata.inference.notices import collect_warnings
from valuestrata.inference.protocol import (
    Completion,
    Messages,
    Sampling,
    ScoredReply,
    ScoringRequest,
)
from valuestrata.inference.tokenizer_files import is_tekken
from valuestrata.provenance import text_digest
from valuestrata.study.models import LocalModel

log = logging.getLogger(__name__)

PART = 512
"""Prompts between the two rounds; few enough for the cache to hold them all."""
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks of adapters that the engine reserves room for."""
PROBED = 20
"""Likeliest tokens on which the effect of an adapter is measured."""
BLOCK = 32
"""Tokens of a cached block on a CPU; at its own block size there nothing is cached."""

Tokens = tuple[int, ...]


class VllmBackend(LocalBackend):
    """A model with or without an adapter; the engine starts at the first call."""

    entries = ("valuestrata.inference.vllm:VllmBackend",)

    def __init__(self, model: LocalModel, chat: Chat, adapter: Path | str | None = None) -> None:
        """Remember what to load."""
        super().__init__(model, chat, adapter)
        self._engine: Any = None

    @property
    def engine(self) -> Any:
        """The engine; an adapter is applied request by request and never merged."""
        if self._engine is None:
            with collect_warnings(self.notes):
                self._engine = start_engine(self.model, self.max_length, self.adapter_folder)
        return self._engine

    def adapter_shift(self, messages: Messages) -> float | None:
        """Largest change of a log-probability of the likeliest tokens after a prompt.

        Raises:
            InputError: one is no finite number, or the adapter changes none.
        """
        prompt = self.chat.prompt(*messages).ids
        single = {"max_tokens": 1, "temperature": 0.0}
        (plain,) = self._complete([prompt], [{**single, "logprobs": PROBED}], with_adapter=False)
        base = {token: entry.logprob for token, entry in plain.logprobs[0].items()}
        (tuned,) = self._complete([prompt], [{**single, **_logprobs_of({*base})}])
        changes = [abs(tuned.logprobs[0][token].logprob - base[token]) for token in base]
        shift = check_shift(float(np.max(changes)), self.adapter_folder, str(self.model.model))
        return None if self.adapter_folder is None else shift

    def score(self, requests: Sequence[ScoringRequest], max_new_tokens: int) -> list[ScoredReply]:
        """Greedy text and option log-probabilities, in the order of the requests."""
        prompts = [self.chat.prompt(*r.messages).ids for r in requests]
        options = [[self.chat.encode_reply(text) for text in r.options] for r in requests]
        replies: list[ScoredReply] = [ScoredReply(None, None)] * len(prompts)
        # prompts that begin alike come together
        order = sorted(range(len(prompts)), key=lambda i: prompts[i])
        for done in range(0, len(order), PART):
            part = order[done : done + PART]
            scored = self._score_part(
                [prompts[i] for i in part], [options[i] for i in part], max_new_tokens
            )
            for i, (reply, choice) in zip(part, scored, strict=True):
                text = requests[i].options[choice]
                replies[i] = (
                    ScoredReply(text, reply.logprobs, "stop") if requests[i].constrained else reply
                )
            log.info("asked %d of %d", done + len(part), len(order))
        return replies

    def generate(self, prompts: Sequence[Messages], sampling: Sampling) -> list[Completion]:
        """A text for each prompt, in order; each prompt has its own seed."""
        rendered = [self.chat.prompt(*messages) for messages in prompts]
        params = [
            {
                **self._stopping(sampling.max_new_tokens),
                "temperature": sampling.temperature,
                "seed": _prompt_seed(sampling.seed, prompt) if sampling.temperature > 0 else None,
            }
            for prompt in rendered
        ]
        completions = self._complete([prompt.ids for prompt in rendered], params)
        return [
            replace(self._completion(c), prompt_tokens=len(prompt.ids))
            for c, prompt in zip(completions, rendered, strict=True)
        ]

    def _score_part(
        self, prompts: list[Tokens], options: list[list[Tokens]], max_new_tokens: int
    ) -> list[tuple[ScoredReply, int]]:
        """Replies, and the position of the option that each would be if it were constrained."""
        trees = [tree(replies) for replies in options]
        stopping = self._stopping(max_new_tokens)
        params = [
            {**stopping, "temperature": 0.0, **_logprobs_of(set().union(*nodes.values()))}
            for nodes in trees
        ]
        completions = self._complete(prompts, params)
        steps: list[dict[Tokens, Any]] = [
            {tuple(c.token_ids[:k]): step for k, step in enumerate(c.logprobs)} for c in completions
        ]
        rest = [
            (i, node) for i, nodes in enumerate(trees) for node in nodes if node not in steps[i]
        ]
        params = [
            {"max_tokens": 1, "temperature": 0.0, **_logprobs_of(trees[i][node])}
            for i, node in rest
        ]
        single = self._complete([prompts[i] + node for i, node in rest], params)
        for (i, node), completion in zip(rest, single, strict=True):
            steps[i][node] = completion.logprobs[0]
        scored = []
        for completion, nodes, replies in zip(completions, steps, options, strict=True):
            written = self._completion(completion)
            logprobs = [_logprobs_along(nodes, reply) for reply in replies]
            totals = np.array([sum(along) for along in logprobs], dtype=np.float64)
            reply = ScoredReply(written.text, totals, written.finish_reason)
            scored.append((reply, constrained_option(replies, logprobs)))
        return scored

    def _completion(self, completion: Any) -> Completion:
        """The engine's text, and why it says that it ended."""
        written = self.chat.completion(list(completion.token_ids))
        return replace(written, finish_reason=completion.finish_reason)

    def _stopping(self, max_new_tokens: int) -> dict[str, Any]:
        """How far a text goes."""
        return {"max_tokens": max_new_tokens, "stop_token_ids": sorted(self.chat.ends)}

    def _complete(
        self, prompts: list[Tokens], params: list[dict[str, Any]], with_adapter: bool = True
    ) -> list[Any]:
        """The engine's one completion of each prompt, in order."""
        if not prompts:
            return []
        engine = self.engine
        from vllm import SamplingParams
        from vllm.lora.request import LoRARequest

        adapter = None
        if with_adapter and self.adapter_folder is not None:
            number = int(self.adapter[:7], 16) + 1  # the engine knows adapters by number
            adapter = LoRARequest(self.adapter, number, str(self.adapter_folder))
        done = engine.generate(
            [{"prompt_token_ids": list(ids)} for ids in prompts],
            [SamplingParams(detokenize=False, **p) for p in params],
            lora_request=adapter,
            use_tqdm=False,
        )
        return [request.outputs[0] for request in done]


def start_engine(model: LocalModel, max_length: int, adapter: Path | str | None) -> Any:
    """An engine over the model's files: eager and in small blocks on a CPU.

    Raises:
        InputError: vLLM is not installed, or cannot load the model or the adapter.
    """
    on_gpu = torch.cuda.is_available()
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    # one process, so that batches form in the same way every time
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    options: dict[str, Any] = {"tensor_parallel_size": torch.cuda.device_count()}
    if not on_gpu:
        os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB
        options = {"enforce_eager": True, "block_size": BLOCK}
    rank = 0 if adapter is None else _max_lora_rank(adapter)
    require_vllm()
    from vllm import LLM

    config = read_config(model, model_folder(model, weights=False))
    quantized.check_vllm(model, config)
    folder = model_folder(model, weights=True)
    model_files.check_whole(model_files.weight_files(folder, str(model.model)))
    options |= {**quantized.vllm_options(model), **_text_alone(config, folder)}
    if adapter is not None:
        options |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": rank}
    try:
        engine = LLM(
            model=str(folder),
            dtype=model.dtype,
            trust_remote_code=model.trust_remote_code,
            load_format="safetensors",
            generation_config="vllm",  # no penalties or samplers that the model ships with
            enable_prefix_caching=True,
            max_model_len=max_length,
            max_num_batched_tokens=max(model.max_batch_tokens, max_length),
            max_logprobs=128,
            **options,
        )
    except Exception as error:  # of weights, of formats, of memory: it has errors of many kinds
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{model.model}: vLLM cannot load it ({first})") from error
    log.info("loaded %s%s", model.model, " with room for an adapter" if adapter else "")
    return engine


def _max_lora_rank(adapter: Path | str) -> int:
    """The least rank of vLLM's that an adapter fits into.

    Raises:
        InputError: it tunes experts.
    """
    settings = json.loads(Path(adapter, "adapter_config.json").read_text(encoding="utf-8"))
    if settings.get("target_parameters"):
        raise InputError(
            f"{adapter}: tunes fused experts, which the backend vllm does not support here; use "
            "backend transformers, or tune other target_modules"
        )
    rank = int(settings["r"])
    return next((r for r in RANKS if r >= rank), rank)


def require_vllm() -> None:
    """Refuse to go on without the package, before weights are fetched for it.

    Raises:
        InputError: it is not installed.
    """
    if "vllm" not in sys.modules and importlib.util.find_spec("vllm") is None:
        raise InputError(
            "backend vllm: the package vllm is not installed here; it wants an environment of its "
            "own: pip install 'valuestrata[vllm]', or snakemake --sdm conda"
        )


def _text_alone(config: Any, folder: Path) -> dict[str, Any]:
    """What the engine is told of a wrapper, and of a tokenizer in Mistral's own format."""
    options: dict[str, Any] = {}
    if is_wrapper(config):
        options["limit_mm_per_prompt"] = {"image": 0, "video": 0, "audio": 0}
    if is_tekken(folder):
        options["tokenizer_mode"] = "mistral"
    return options


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


def _logprobs_of(tokens: set[int]) -> dict[str, Any]:
    """Sampling settings that ask for the log-probability of these tokens at every step."""
    return {"logprobs": len(tokens), "logprob_token_ids": sorted(tokens)}


def _logprobs_along(nodes: dict[Tokens, Any], option: Tokens) -> NDArray[np.float64]:
    return np.array([nodes[option[:k]][token].logprob for k, token in enumerate(option)])


def _prompt_seed(seed: int, prompt: TokenizedPrompt) -> int:
    return int(text_digest([str(seed), prompt.digest])[:15], 16)
