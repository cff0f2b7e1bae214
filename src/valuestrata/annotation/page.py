"""The page on which people annotate: self-contained, and no request leaves it. Pure."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from valuestrata.paths import resource

ESCAPED = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
"""Characters that could end a script or a line of it, as JSON writes them."""


@dataclass(frozen=True)
class Task:
    """What annotators are asked.

    Attributes:
        title: heading of the page.
        sample: name of the sample.
        criteria: what each dimension means.
        rubric: what the judge is told.
        minutes: expected for one pair of texts.
        caveat: what the study says about toys and simulated data, '' if neither.
    """

    title: str
    sample: str
    criteria: Mapping[str, str]
    rubric: str
    minutes: float
    caveat: str


def render(task: Task, items: Sequence[Mapping[str, str]]) -> str:
    """The page with its items, `sample.shown_items`.

    Texts are data: JSON that the script writes into the page as text. The page's policy runs its
    script alone, by the script's hash, and allows no connection.
    """
    script = Markup(resource("annotation/page.js").read_text(encoding="utf-8"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    dimensions = [{"name": name, "criterion": text} for name, text in task.criteria.items()]
    data = {"sample": task.sample, "dimensions": dimensions, "items": list(items)}
    return _template().render(
        task=task,
        n=len(items),
        hours=len(items) * task.minutes / 60,
        script=script,
        policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
        data=as_json(data),
    )


def as_json(data: Any) -> Markup:
    """JSON that can stand in a script element, whatever its texts hold.

    >>> print(as_json({"a": "</script>&"}))
    {"a": "\\u003c/script\\u003e\\u0026"}
    """
    return Markup(json.dumps(data, ensure_ascii=False).translate(ESCAPED))


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(resource("annotation/page.html.j2").read_text(encoding="utf-8"))
