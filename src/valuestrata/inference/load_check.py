"""The canary of a run: what its model was like when it was loaded.

It is measured at every load, on the run's first prompt, before anything is asked
(inference/fill.py). It is kept beside the folder of cached replies, so that a run whose replies
are all cached says it without loading anything.
"""

from valuestrata import io
from valuestrata.inference.fill import Requests, asked_of
from valuestrata.inference.protocol import Backend, LoadCheck
from valuestrata.inference.reply_cache import ReplyCache
from valuestrata.provenance import text_digest


def load_check(cache: ReplyCache, model: Backend, requests: Requests) -> LoadCheck:
    """How far the adapter moves the logits, and what was doubtful; remembered or measured.

    Raises:
        InputError: the model cannot be loaded, its logits are no numbers, or its adapter changes
            nothing.
    """
    if not requests.messages:
        return LoadCheck()
    prompt = model.render(requests.messages[0])
    key = text_digest([*asked_of(model), prompt.digest])[:16]
    path = cache.folder.with_name(f"{cache.folder.name}-loads") / f"{key}.json"
    if path.is_file():
        kept = io.read_json(path)
        return LoadCheck(kept["adapter_shift"], tuple(kept["notes"]))
    check = model.check_load(requests.messages[0])
    io.write_json({"adapter_shift": check.adapter_shift, "notes": check.notes}, path)
    return check
