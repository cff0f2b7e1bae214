"""A service that is not asked: what it would be sent is counted, to tell what it will cost."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from valuestrata.inference import metering
from valuestrata.inference.ledger import Tokens
from valuestrata.inference.openai import OpenAIBackend
from valuestrata.inference.protocol import Completion, Sampling, ScoringRequest
from valuestrata.study.models import OpenAIModel

WORD = "word"
"""A text of as many bytes as a token is taken to have."""


class CountingBackend(OpenAIBackend):
    """Counts the calls of a job that are not cached; every reply is as long as it may be.

    Attributes:
        n_cached: replies that are cached.
        calls: what each call would take: prompt estimated, reply at its longest.
        n_bytes: of all prompts.
        n_other_bytes: of these, those of characters outside ASCII.
    """

    def __init__(self, model: OpenAIModel) -> None:
        """Nothing counted yet."""
        super().__init__(model)
        self.n_cached = 0
        self.calls: list[Tokens] = []
        self.n_bytes = self.n_other_bytes = 0

    def note_cached(self, n_replies: int) -> None:
        """Count what is cached."""
        self.n_cached += n_replies

    def stream(
        self,
        requests: Sequence[ScoringRequest],
        sampling: Sampling,
        has_replies: bool,
        folder: Path | None = None,
    ) -> Iterator[tuple[int, Completion]]:
        """(position, the longest text) of each request."""
        assert len(WORD) == metering.BYTES_PER_TOKEN
        for i, request in enumerate(requests):
            self.calls.append(metering.estimated(self._payload(request, sampling)))
            prompt = "".join(request.messages)
            size = len(prompt.encode())
            self.n_bytes += size
            self.n_other_bytes += size - len(prompt.encode("ascii", "ignore"))
            # nothing is made of an answer to a closed question
            yield i, Completion("" if request.options else WORD * sampling.max_new_tokens, "stop")
