"""Texts of a network of transformers': behind prompts, or where a forest's pass left the options.

They are written in batches over a cache whose room is set aside (prefix/decoding.py). A network
that this disturbs writes by its own loop, and one that padding or a cache disturbs writes each
token over all before it (prefix/forward.py).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from valuestrata.inference import runtime
from valuestrata.inference.chat import Chat, TokenizedPrompt
from valuestrata.inference.protocol import Sampling
from valuestrata.prefix import decoding, forests, forward, plain
from valuestrata.provenance import text_digest

DRAWN = 2**26
"""Random numbers of a batch that are drawn at once at most, for several steps."""


class TextWriter:
    """What writes texts.

    Args:
        network: with an adapter or without.
        chat: says which tokens end a text, and which fills up short rows.
        max_tokens: of a batch at most, those to be written among them.
        note: is told what disturbs the network, and what is done instead.
    """

    def __init__(
        self, network: Any, chat: Chat, max_tokens: int, note: Callable[[str, str], None]
    ) -> None:
        """Remember them."""
        self._network = network
        self._chat = chat
        self._max_tokens = max_tokens
        self._note = note
        self._stems: list[decoding.Stems] = []
        self._texts: list[list[int]] = []
        self._rooms: list[int] = []

    def batches(
        self, prompts: Sequence[forests.Tokens], max_new_tokens: int
    ) -> Iterator[list[int]]:
        """Positions of prompts by batch: of like lengths, of one where that is not right."""
        trusts = (self._decodes, self._writes_over_cache)
        is_padded = any(trust(prompts, max_new_tokens) for trust in trusts)
        split = plain.like_batches if is_padded else plain.batches
        return split(prompts, self._max_tokens, max_new_tokens)

    @torch.no_grad()
    def write(
        self,
        prompts: Sequence[forests.Tokens],
        max_new_tokens: int,
        noise: "GumbelNoise | None" = None,
    ) -> list[list[int]]:
        """What the network writes after each prompt of a batch, up to what ends it.

        Args:
            prompts: some that `batches` puts together.
            max_new_tokens: of a text at most.
            noise: makes the likeliest token a sample.
        """
        if not self._decodes(prompts, max_new_tokens):
            return self._generate(prompts, max_new_tokens, noise)
        network, chat, choose = self._network, self._chat, noise or decoding.greedy
        room = max_new_tokens - 1
        batch, logits = decoding.after_prompts(network, prompts, chat.pad, room)
        every = torch.arange(len(prompts), device=logits.device)
        batch.token = choose(logits, every, 0).to(batch.mask.device)
        first = batch.token.tolist()
        rest = decoding.write(network, batch, [room] * len(prompts), chat.ends, choose)
        return [[token, *more] for token, more in zip(first, rest, strict=True)]

    @torch.no_grad()
    def go_on(
        self,
        forest: forests.Forest,
        past: Any,
        nodes: Sequence[int],
        texts: Sequence[list[int]],
        max_new_tokens: int,
    ) -> None:
        """Take in texts that are to be lengthened by greedy decoding, at `finish` at the latest.

        Args:
            forest: that was read.
            past: keys and values of its nodes, one row; None after plain passes.
            nodes: of each text, the one behind which its last token stands.
            texts: tokens of each, at least one.
            max_new_tokens: of a text at most.
        """
        going = [
            (forest.path(node), text)
            for node, text in zip(nodes, texts, strict=True)
            if text[-1] not in self._chat.ends and len(text) < max_new_tokens
        ]
        whole = [(*forest.token[path].tolist(), text[-1]) for path, text in going]
        if not whole:
            return
        if past is None or not self._continues(whole, max_new_tokens):
            written = self._written_anew(whole, max_new_tokens - 1)
            for (_, text), tokens in zip(going, written, strict=True):
                text.extend(tokens[: max_new_tokens - len(text)])
            return
        for part in plain.like_batches(whole, self._max_tokens, max_new_tokens):
            paths, continued = zip(*(going[k] for k in part), strict=True)
            stems = decoding.stems(past, paths, [text[-1] for text in continued])
            self._wait_for_room(stems, max_new_tokens)
            self._stems.append(stems)
            self._texts += continued
            self._rooms += [max_new_tokens - len(text) for text in continued]

    def finish(self) -> None:
        """Lengthen the texts that wait."""
        if not self._stems:
            return
        network = self._network
        batch = decoding.after_stems(self._stems, max(self._rooms), network.device)
        self._stems.clear()
        written = decoding.write(network, batch, self._rooms, self._chat.ends)
        for text, tokens in zip(self._texts, written, strict=True):
            text.extend(tokens)
        self._texts.clear()
        self._rooms.clear()

    def _wait_for_room(self, stems: decoding.Stems, max_new_tokens: int) -> None:
        """Lengthen what waits, where together with more it would be too much for one batch."""
        waiting = [*(n for part in self._stems for n in part.lengths), *stems.lengths]
        if len(waiting) * (max(waiting) + max_new_tokens) > self._max_tokens:
            self.finish()

    def _written_anew(
        self, whole: Sequence[forests.Tokens], max_new_tokens: int
    ) -> list[list[int]]:
        """What follows behind whole sequences, which are read once more."""
        written: dict[int, list[int]] = {}
        for part in self.batches(whole, max_new_tokens):
            tokens = self.write([whole[k] for k in part], max_new_tokens)
            written |= dict(zip(part, tokens, strict=True))
        return [written[k] for k in range(len(whole))]

    def _generate(
        self,
        prompts: Sequence[forests.Tokens],
        max_new_tokens: int,
        noise: "GumbelNoise | None",
    ) -> list[list[int]]:
        """As `write`, by transformers' own loop."""
        longest = max(map(len, prompts))
        tokens = torch.full((len(prompts), longest), self._chat.pad)
        mask = torch.zeros_like(tokens)
        for row, ids in enumerate(prompts):
            tokens[row, longest - len(ids) :] = torch.tensor(ids)
            mask[row, longest - len(ids) :] = 1
        options = {} if noise is None else {"logits_processor": [noise.add_to]}
        out = self._network.generate(
            input_ids=tokens.to(self._network.device),
            attention_mask=mask.to(self._network.device),
            max_new_tokens=max_new_tokens,
            eos_token_id=sorted(self._chat.ends),
            pad_token_id=self._chat.pad,
            do_sample=False,
            use_cache=self._writes_over_cache(prompts, max_new_tokens),
            **options,
        )
        return [decoding.upto(ids, self._chat.ends) for ids in out[:, longest:].tolist()]

    def _decodes(self, prompts: Sequence[forests.Tokens], max_new_tokens: int) -> bool:
        """Whether texts may be written over a cache with room set aside."""
        reason = forward.check_decoding(self._network, prompts, max_new_tokens)
        self._note(reason, "texts are written by transformers' own loop")
        return not reason

    def _continues(self, prompts: Sequence[forests.Tokens], max_new_tokens: int) -> bool:
        """Whether texts may be written so over what a forest's pass left."""
        reason = forward.check_continuation(self._network, prompts, max_new_tokens)
        self._note(reason, "prompts whose texts leave the options are read once more")
        return not reason

    def _writes_over_cache(self, prompts: Sequence[forests.Tokens], max_new_tokens: int) -> bool:
        """Whether texts may be written in padded batches over the network's own cache."""
        reason = forward.check_generation(self._network, prompts, max_new_tokens)
        self._note(reason, "each token is written over all before it")
        return not reason


class GumbelNoise:
    """Gumbel noise, which makes the likeliest token a sample; each prompt has its own seed.

    Args:
        prompts: of a batch.
        sampling: temperature and seed.
    """

    def __init__(self, prompts: Sequence[TokenizedPrompt], sampling: Sampling) -> None:
        """One generator a prompt."""
        seeds = [text_digest([str(sampling.seed), prompt.digest]) for prompt in prompts]
        self._generators = [torch.Generator().manual_seed(int(seed[:15], 16)) for seed in seeds]
        self._sampling = sampling
        self._noise = torch.empty(0, 0, 0)
        self._taken = 0

    def __call__(self, logits: torch.Tensor, rows: torch.Tensor, _: int = 0) -> torch.Tensor:
        """The token drawn for each row [n] from its logits [n, V]; rows: numbers of prompts [n]."""
        return self._noisy(logits, rows).argmax(dim=-1)

    def add_to(self, _: Any, logits: torch.Tensor) -> torch.Tensor:
        """Logits of all prompts with noise [n, V], as transformers' own loop wants them."""
        return self._noisy(logits, torch.arange(len(logits), device=logits.device))

    def _noisy(self, logits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        if self._taken == self._noise.shape[1]:
            self._draw(rows.tolist(), logits)
        noise = self._noise[rows, self._taken]
        self._taken += 1
        return logits.float() / self._sampling.temperature + noise

    def _draw(self, rows: Sequence[int], logits: torch.Tensor) -> None:
        """Draw for the next steps of some prompts: the same numbers as step by step.

        All of them go to the logits' device together, so that not every token waits for its own.
        """
        n_prompts, vocabulary = len(self._generators), logits.shape[1]
        steps = max(1, DRAWN // (n_prompts * vocabulary))
        steps = min(steps, decoding.STEPS, self._sampling.max_new_tokens)
        self._noise = torch.empty(0, 0, 0)  # its memory goes before the next is copied
        waits = torch.ones(n_prompts, steps, vocabulary)
        for row in rows:
            waits[row].exponential_(generator=self._generators[row])
        noise = waits.log_().neg_()
        self._noise, self._taken = runtime.to_device_async(noise, logits.device), 0
