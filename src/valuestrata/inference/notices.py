"""What libraries warn of while a tokenizer, weights or an adapter are loaded: never muted.

They stand in the log as ever, and are kept for the predictions, the report and its closing lines.
"""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

LOGGERS = ("transformers", "peft", "vllm", "compressed_tensors", "torchao")
ABOUT = re.compile(
    r"weight|checkpoint|tensor|adapter|lora|token|vocab|embedding|template|quanti|dtype|initializ",
    re.IGNORECASE,
)
"""What a warning is about that may change an answer; others stay in the log."""
OF_PROGRAMMERS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)
"""Warnings of what a later version of a library will do."""
LENGTH = 300
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class _Collector(logging.Handler):
    """A handler that keeps what warnings say, a line each, none twice."""

    def __init__(self, notes: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._notes = notes

    def emit(self, record: logging.LogRecord) -> None:
        self.keep(record.getMessage())

    def keep(self, text: str) -> None:
        line = " ".join(_COLOUR.sub("", text).split())
        line = line if len(line) <= LENGTH else f"{line[: LENGTH - 3]}..."
        if ABOUT.search(line) and line not in self._notes:
            self._notes.append(line)


@contextmanager
def collect_warnings(notes: list[str]) -> Iterator[None]:
    """Append to `notes` what libraries warn of within the block."""
    from transformers.utils.logging import warning_once

    warning_once.cache_clear()  # what was warned of at another load counts for this one, too
    collector = _Collector(notes)
    loggers = [logging.getLogger(name) for name in LOGGERS]
    for logger in loggers:
        logger.addHandler(collector)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            yield
    finally:
        for logger in loggers:
            logger.removeHandler(collector)
        for warning in caught:
            log.warning("%s", warning.message)
            if not issubclass(warning.category, OF_PROGRAMMERS):
                collector.keep(str(warning.message))
