"""The Hugging Face hub: a model's files at one commit, in the hub's cache, and which that is.

Whatever the hub refuses becomes one line that says what to do.
"""

import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

from valuestrata.errors import InputError
from valuestrata.study.models import COMMIT

log = logging.getLogger(__name__)

SETTINGS = ("*.json", "*.jinja", "*.model", "*.txt")
WEIGHTS = ("*.safetensors",)
CODE = ("*.py",)
OTHER_FORMATS = ("original/*", "onnx/*", "consolidated*")

T = TypeVar("T")


@cache
def snapshot(name: str, revision: str | None, patterns: tuple[str, ...]) -> Path:
    """The folder of a model's files at a revision; its name is the commit.

    Files that are not in the hub's cache are downloaded into it.

    Raises:
        InputError: they cannot be downloaded.
    """
    from huggingface_hub import snapshot_download

    folder = _call_hub(
        name,
        revision,
        lambda: snapshot_download(
            name,
            revision=revision,
            allow_patterns=list(patterns),
            ignore_patterns=list(OTHER_FORMATS),
        ),
    )
    commit = Path(folder).name
    if not COMMIT.fullmatch(str(revision)):
        log.warning("%s: revision %s is not pinned, it is now %s", name, revision, commit)
    return Path(folder)


def commit_of(name: str, revision: str | None) -> str:
    """The commit that a branch or tag of a model stands at.

    Raises:
        InputError: the hub does not tell.
    """
    from huggingface_hub import HfApi

    return _call_hub(name, revision, lambda: str(HfApi().model_info(name, revision=revision).sha))


def _call_hub(name: str, revision: str | None, call: Callable[[], T]) -> T:
    from huggingface_hub import errors

    # of the client's own HTTP library, which changes between versions
    unreachable = errors.HTTPError  # type: ignore[attr-defined]
    try:
        return call()
    except errors.GatedRepoError:
        remedy = "is gated: accept its terms on its page, then log in with `hf auth login`"
    except errors.RevisionNotFoundError:
        remedy = "has no such revision: look up a commit on its page"
    except errors.RepositoryNotFoundError:
        remedy = "is not on the hub, or private: check the name, or log in with `hf auth login`"
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        remedy = (
            "is not in the hub's cache, and the hub cannot be reached: where there is a network, "
            f"run `hf download {name} --revision {revision}`, or name a directory as model"
        )
    except (OSError, ValueError, unreachable) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        remedy = f"cannot be loaded from the hub ({first}): check the network, or try again later"
    raise InputError(f"{name} at {revision}: {remedy}")
