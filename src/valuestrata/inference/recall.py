"""Answers of a node that was made before: from the reply cache, without opening the model.

A reply's key holds the prompt's token ids, so a tokenizer is needed to find it. What a node asked,
and the keys that this came to, are therefore noted beside the folder of replies, under a hash of
all that the keys depend on. Where every reply is still there, nothing is loaded and torch is not
imported. Deleting the notes costs time, never results.
"""

import contextlib
import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

from valuestrata import io
from valuestrata.errors import InputError
from valuestrata.inference.backends import BACKENDS
from valuestrata.inference.fill import Reply, Requests, to_reply
from valuestrata.inference.model_files import adapter_digest, model_version
from valuestrata.inference.protocol import LoadCheck
from valuestrata.inference.reply_cache import ReplyCache
from valuestrata.provenance import code_digest, text_digest
from valuestrata.study.models import TransformersModel, VllmModel

RENDERERS = ("transformers", "tokenizers", "jinja2", "sentencepiece", "tiktoken", "mistral-common")
"""Packages that turn messages into token ids."""

Local = TransformersModel | VllmModel


@dataclass(frozen=True)
class Answers:
    """Replies to all prompts of a node, and whose they are.

    Attributes:
        replies: in the order of the prompts.
        loaded: what the model was like when it was loaded.
        version: of the model.
        adapter: hash of the adapter, '' for none.
    """

    replies: list[Reply]
    loaded: LoadCheck
    version: str
    adapter: str


def recall(
    cache: ReplyCache, model: Local, adapter: Path | str | None, requests: Requests
) -> Answers | None:
    """The answers of a node, None where not all of them are stored."""
    if not _notes(cache).is_dir():  # nor is a hub model looked up before a GPU is
        return None
    try:
        version, tuned_by = model_version(model), adapter_digest(adapter)
        note = io.read_json(_path(cache, model, version, tuned_by, requests))
        loaded = LoadCheck(note["adapter_shift"], tuple(note["notes"]))
        asked = [(str(key), str(prompt), int(n)) for key, prompt, n in note["prompts"]]
    except (InputError, OSError, ValueError, KeyError, TypeError):  # not there, or damaged
        return None
    replies = []
    for key, prompt_hash, prompt_tokens in asked:
        cached = cache.get(key)
        if cached is None:
            return None
        replies.append(to_reply(cached, key, prompt_hash, prompt_tokens))
    return Answers(replies, loaded, version, tuned_by)


def remember(cache: ReplyCache, model: Local, answers: Answers, requests: Requests) -> None:
    """Note what a node asked, so that `recall` finds it."""
    note = {
        "adapter_shift": answers.loaded.adapter_shift,
        "notes": answers.loaded.notes,
        "prompts": [[r.key, r.prompt_hash, r.prompt_tokens] for r in answers.replies],
    }
    io.write_json(note, _path(cache, model, answers.version, answers.adapter, requests))


def _path(cache: ReplyCache, model: Local, version: str, adapter: str, requests: Requests) -> Path:
    """Where a node's note is: under a hash of what the keys of its replies depend on."""
    code = code_digest((BACKENDS[model.backend], "valuestrata.inference.fill:fill"))
    texts = [text for messages in requests.messages for text in messages]
    options = [str(list(of_prompt)) for of_prompt in requests.options or ()]
    key = text_digest(
        [
            version,
            adapter,
            model.model_dump_json(),
            code,
            *map(_version_of, RENDERERS),
            repr((requests.sampling, requests.constrained)),
            *texts,
            *options,
        ]
    )
    return _notes(cache) / f"{key[:16]}.json"


def _notes(cache: ReplyCache) -> Path:
    """The folder of notes."""
    return cache.folder.with_name(f"{cache.folder.name}-prompts")


def _version_of(package: str) -> str:
    """The version of a package, '' where it is not installed."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return ""
