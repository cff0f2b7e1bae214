"""Language models through transformers and peft, on a GPU where there is one.

Options are scored as whole continuations, terminator included, in forests of shared prefixes
(prefix/forests.py): one forward pass reads many prompts and all their options. The greedy text
comes from the same pass where it is one of the options; where the model would write something else,
it continues from there, over the pass' own keys and values (writing.py). Log-probabilities are
computed in fp32; ties go to the lowest token id. A network that does not read forests right gets
plain passes instead (prefix/forward.py).
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from valuestrata.inference import runtime
from valuestrata.inference.chat import Chat
from valuestrata.inference.constrained import constrained_option
from valuestrata.inference.loading import check_applied, check_shift
from valuestrata.inference.local import LocalBackend, device, load_network, memory_for
from valuestrata.inference.notices import collect_warnings
from valuestrata.inference.protocol import (
    Completion,
    Messages,
    Sampling,
    ScoredReply,
    ScoringRequest,
)
from valuestrata.inference.writing import GumbelNoise, TextWriter
from valuestrata.prefix import attention, forests, forward
from valuestrata.study.models import LocalModel

log = logging.getLogger(__name__)

PROBED = 16
"""Tokens at the end of a prompt at which the effect of an adapter is measured."""
SLAB = 2**26
"""Logits in fp32 at a time: 256 MiB, and as much again for their softmax."""
CPU_NODES = 2048
"""Nodes of a pass on a CPU at most: what a layer makes of more does not stay in its cache."""


@dataclass(frozen=True)
class ScoredItem:
    """What a forward pass says of a prompt and its options.

    Attributes:
        logprobs: of each option [C].
        option: the one that greedy decoding writes, None where it writes something else.
        tokens: what it writes then.
        choice: the option that it writes where it may write nothing else.
    """

    logprobs: NDArray[np.float64]
    option: int | None
    tokens: list[int]
    choice: int


@dataclass(frozen=True)
class _Pass:
    """A forest that was read, and what the device holds of it.

    Attributes:
        part: positions of its items.
        past: keys and values of its nodes, None after plain passes.
        values: waits for log p of every step's token, and the likeliest token in its place [2, S].
    """

    part: list[int]
    forest: forests.Forest
    past: Any
    values: Callable[[], torch.Tensor]


class TransformersBackend(LocalBackend):
    """A model with or without an adapter; its weights are loaded at the first call.

    They are read without gradients, not in torch's inference mode: adapters of tensors stay in it.
    """

    entries = ("valuestrata.inference.transformers:TransformersBackend",)

    def __init__(self, model: LocalModel, chat: Chat, adapter: Path | str | None = None) -> None:
        """Remember what to load."""
        super().__init__(model, chat, adapter)
        self._network: Any = None
        self._loading: Future[Any] | None = None
        self._is_plain = False

    @property
    def network(self) -> Any:
        """The network, adapter unmerged: at a small learning rate a merge would round it away."""
        if self._network is None:
            self._network = self._load() if self._loading is None else self._loading.result()
        return self._network

    def preload(self) -> None:
        """Begin to load the network, while prompts are tokenised."""
        if self._network is None and self._loading is None:
            self._loading = ThreadPoolExecutor(1).submit(self._load)

    def _load(self) -> Any:
        network = load_network(self.model, "none", self.notes)
        folder = self.adapter_folder
        if folder is not None:
            from peft import PeftModel

            from valuestrata.inference.lora_layers import fuse

            with collect_warnings(self.notes):  # in the network's dtype, as it was trained
                network = PeftModel.from_pretrained(
                    network, str(folder), autocast_adapter_dtype=False
                ).eval()
            check_applied(network, Path(folder), str(self.model.model))
            network = fuse(network)
        log.info("loaded %s%s", self.model.model, " with its adapter" if folder else "")
        return network

    @torch.no_grad()
    def adapter_shift(self, messages: Messages) -> float | None:
        """Largest change of a logit at the end of a prompt, by a plain pass with and without it.

        Raises:
            InputError: a logit is no finite number, or the adapter changes none.
        """
        ids = torch.tensor([self.chat.prompt(*messages).ids], device=self.network.device)
        inputs = {"input_ids": ids, "logits_to_keep": PROBED, "use_cache": False}
        logits = self.network(**inputs).logits.float()
        # without an adapter this is 0, or no number where a logit is none
        change = logits - logits
        if self.adapter_folder is not None:
            with self.network.disable_adapter():
                change = logits - self.network(**inputs).logits.float()
        shift = check_shift(float(change.abs().max()), self.adapter_folder, str(self.model.model))
        return None if self.adapter_folder is None else shift

    def score(self, requests: Sequence[ScoringRequest], max_new_tokens: int) -> list[ScoredReply]:
        """Greedy text and option log-probabilities, in the order of the requests."""
        ids = {text: self.chat.encode_reply(text) for r in requests for text in r.options}
        items = [
            forests.PrefixItem(
                self.chat.prompt(*r.messages).ids, tuple(ids[text] for text in r.options)
            )
            for r in requests
        ]
        with self._memory():
            scored = self.score_items(items, max_new_tokens)
        return [
            ScoredReply(
                written.text,
                item.logprobs,
                written.finish_reason,
                "plain" if self._is_plain else "shared_prefix",
            )
            for r, item in zip(requests, scored, strict=True)
            for written in [self._written(r, item)]
        ]

    def _written(self, request: ScoringRequest, item: ScoredItem) -> Completion:
        """What is written to a closed prompt."""
        option = item.choice if request.constrained else item.option
        if option is None:
            return self.chat.completion(item.tokens)
        return Completion(request.options[option], "stop")

    def score_items(
        self, items: Sequence[forests.PrefixItem], max_new_tokens: int
    ) -> list[ScoredItem]:
        """log p of every option of each item, and what greedy decoding writes.

        Raises:
            InputError: the network cannot read plain sequences (prefix/forward.py).
        """
        if not items:
            return []
        reason = forward.check_forests(self.network, items)
        self._is_plain = bool(reason)
        self._note(reason, "each option is read by itself")
        scored: dict[int, ScoredItem] = {}
        max_nodes = self.model.max_batch_tokens
        if device().type == "cpu":
            max_nodes = min(max_nodes, CPU_NODES)
        passes: list[_Pass] = []
        writer = self._writer()
        for part in forests.pack(items, max_nodes):
            # the next forest is laid out and sent off before the last one is waited for
            passes.append(self._forward(items, part))
            if len(passes) == 2:
                scored |= self._scored(items, passes.pop(0), max_new_tokens, writer)
        for last in passes:
            scored |= self._scored(items, last, max_new_tokens, writer)
        writer.finish()
        return [scored[i] for i in range(len(items))]

    def generate(self, prompts: Sequence[Messages], sampling: Sampling) -> list[Completion]:
        """A text for each prompt, in order."""
        rendered = [self.chat.prompt(*messages) for messages in prompts]
        if not rendered:
            return []
        ids = [prompt.ids for prompt in rendered]
        texts: dict[int, Completion] = {}
        writer = self._writer()
        for part in writer.batches(ids, sampling.max_new_tokens):
            chosen = [rendered[i] for i in part]
            noise = GumbelNoise(chosen, sampling) if sampling.temperature > 0 else None
            with self._memory():
                written = writer.write([ids[i] for i in part], sampling.max_new_tokens, noise)
            for i, tokens in zip(part, written, strict=True):
                texts[i] = self.chat.completion(tokens, len(ids[i]))
            log.info("wrote %d of %d texts", len(texts), len(rendered))
        return [texts[i] for i in range(len(rendered))]

    def _memory(self) -> AbstractContextManager[None]:
        """For passes; one that does not fit ends in one line."""
        return memory_for(
            f"{self.model.model}: the GPU's memory is not enough for {self.model.max_batch_tokens} "
            "tokens at once; lower max_batch_tokens of the model"
        )

    def _writer(self) -> TextWriter:
        """What writes texts."""
        return TextWriter(self.network, self.chat, self.model.max_batch_tokens, self._note)

    def _note(self, reason: str, consequence: str) -> None:
        """Say why the network is used otherwise than others, where it is."""
        note = f"{reason}: {consequence}, which takes longer"
        if reason and note not in self.notes:
            log.warning("%s: %s", self.model.model, note)
            self.notes.append(note)

    @torch.no_grad()
    def _forward(self, items: Sequence[forests.PrefixItem], part: list[int]) -> _Pass:
        """Read some items in one pass; of the logits, so many at a time that memory is bounded."""
        from transformers import DynamicCache

        network = self.network
        forest = forests.build_forest([items[i] for i in part])
        inputs, column = forests.to_model_inputs(forest, self.chat.pad)
        moved = {
            name: runtime.to_device_async(tensor, network.device)
            for name, tensor in attention.tensors(inputs).items()
        }
        past = DynamicCache()
        slab = max(1, SLAB // network.config.get_text_config(decoder=True).vocab_size)
        slabs = forward.forest_slabs(network, moved, slab, past_key_values=past, use_cache=True)
        values = torch.empty(0)
        for columns, logits in slabs:
            steps, rows = forests.steps_among(column, columns)
            wanted = torch.from_numpy(np.stack([steps, rows, forest.follows[steps]]))
            step, row, token = runtime.to_device_async(wanted, logits.device)
            if not len(values):
                values = torch.empty((2, len(column)), device=logits.device)
            full = logits.float()
            values[0, step] = full.log_softmax(dim=-1)[row, token]
            # fp32 is exact for token ids, so that one copy brings both
            values[1, step] = full.argmax(dim=-1)[row].float()
        held = None if self._is_plain else past
        return _Pass(part, forest, held, runtime.to_host_async(values))

    def _scored(
        self,
        items: Sequence[forests.PrefixItem],
        done: _Pass,
        max_new_tokens: int,
        writer: TextWriter,
    ) -> dict[int, ScoredItem]:
        """What a pass says of its items, by their positions; texts that go on are the writer's."""
        forest, (logprobs, likeliest) = done.forest, done.values().double().numpy()
        begin = np.cumsum(forest.lengths) - forest.lengths
        totals = np.add.reduceat(logprobs, begin)
        # how many steps of each option greedy decoding takes before it leaves
        place = np.arange(len(logprobs)) - np.repeat(begin, forest.lengths)
        stay = np.where(likeliest == forest.follows, len(logprobs), place)
        taken = np.minimum(np.minimum.reduceat(stay, begin), forest.lengths)

        scored: dict[int, ScoredItem] = {}
        nodes, texts = [], []
        start = 0
        for i in done.part:
            options = items[i].options
            best = start + int(taken[start : start + len(options)].argmax())
            is_whole = bool(taken[best] == forest.lengths[best] <= max_new_tokens)
            scored[i] = ScoredItem(
                totals[start : start + len(options)],
                best - start if is_whole else None,
                [] if is_whole else [*options[best - start][: min(taken[best], max_new_tokens)]],
                constrained_option(
                    options, [logprobs[begin[n] :] for n in range(start, start + len(options))]
                ),
            )
            if not is_whole and taken[best] < max_new_tokens:
                leaves = begin[best] + taken[best]
                scored[i].tokens.append(int(likeliest[leaves]))
                nodes.append(forest.before[leaves])
                texts.append(scored[i].tokens)
            start += len(options)
        writer.go_on(forest, done.past, nodes, texts, max_new_tokens)
        return scored
