"""The Hugging Face hub: a model's files at one commit, in the hub's cache, and which that is.

Whatever the hub refuses becomes one line that says what to do.
"""

import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

from valuestrata.errors import InputError
from valuestrata.specs import COMMIT

log = logging.getLogger(__name__)

SETTINGS = ("*.json", "*.jinja", "*.model", "*.txt")
WEIGHTS = ("*.safetensors",)
CODE = ("*.py",)
OTHER_FORMATS = ("original/*", "onnx/*", "consolidated*")

T = TypeVar("T")


@cache
def snapshot(name: str, revision: str | None, wanted: tuple[str, ...]) -> Path:
    """The folder of a model's files at a revision; its name is the commit.

    Files come from the cache, and into it where they are absent.

    Raises:
        InputError: they cannot be had.
    """
    from huggingface_hub import snapshot_download

    folder = _asked(
        name,
        revision,
        lambda: snapshot_download(
            name,
            revision=revision,
            allow_patterns=list(wanted),
            ignore_patterns=list(OTHER_FORMATS),
        ),
    )
    found = Path(folder)
    if not COMMIT.fullmatch(str(revision)):
        log.warning("%s: revision %s is not pinned, it is now %s", name, revision, found.name)
    return found


def commit_of(name: str, revision: str | None) -> str:
    """The commit that a branch or tag of a model stands at.

    Raises:
        InputError: the hub does not tell.
    """
    from huggingface_hub import HfApi

    return _asked(name, revision, lambda: str(HfApi().model_info(name, revision=revision).sha))


def _asked(name: str, revision: str | None, ask: Callable[[], T]) -> T:
    from huggingface_hub import errors

    # of the client's own HTTP library, which changes between versions
    unreachable = errors.HTTPError  # type: ignore[attr-defined]
    try:
        return ask()
    except errors.GatedRepoError:
        remedy = "is gated: accept its terms on its page, then log in with `hf auth login`"
    except errors.RevisionNotFoundError:
        remedy = "has no such revision: look up a commit on its page"
    except errors.RepositoryNotFoundError:
        remedy = "is not on the hub, or private: check the name, or log in with `hf auth login`"
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        remedy = (
            "is not in the hub's cache, and the hub cannot be reached: where there is a network, "
            f"run `hf download {name} --revision {revision}`, or name a directory as weights"
        )
    except (OSError, ValueError, unreachable) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        remedy = f"cannot be had from the hub ({first}): check the network, or try again later"
    raise InputError(f"{name} at {revision}: {remedy}")
