"""Data inside the page: compressed, and read by the browser when it is asked for. Pure."""

import base64
import gzip
import json
import re
from collections.abc import Callable
from typing import Any

from markupsafe import Markup


def pack(content: Any) -> str:
    """JSON of lists, mappings, numbers and text, gzipped, as base64; same content, same text."""
    return pack_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")))


def pack_text(text: str) -> str:
    """A text, gzipped, as base64."""
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def as_script(name: str, packed: str) -> Markup:
    """An inert element of the page that holds packed data; base64 has nothing to escape."""
    element = '<script type="application/gzip" id="data-{}">{}</script>'
    return Markup(element).format(name, packed)


def repacked(page: str, prefix: str, change: Callable[[Any], Any]) -> str:
    """A page whose packed JSON with names that begin with `prefix` is changed."""

    def replace(match: re.Match[str]) -> str:
        content = json.loads(gzip.decompress(base64.b64decode(match[2])))
        return f"{match[1]}{pack(change(content))}{match[3]}"

    name = re.escape(f'<script type="application/gzip" id="data-{prefix}')
    return re.sub(rf'({name}[^"]*">)([^<]*)(</script>)', replace, page)
