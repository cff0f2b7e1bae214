"""Weights of the detector's linear model of refusals: `python -m bench.refusals`.

A logistic regression on the texts of tests/data, `held_out` of persona_talk.yaml left out, which
it then prints the figures of. It takes seconds, and is the same on each run.
"""

import json
import sys

import yaml
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from bench.data import ROOT
from valuestrata.paths import resource
from valuestrata.prompting import refusals
from valuestrata.prompting.refusal_score import features

FILES = ("refusals.yaml", "open_texts.yaml", "persona_talk.yaml")
RIDGE = 10.0
"""C of scikit-learn, by the log loss of a cross-validation on the same texts."""
SMALL = 0.2
"""Absolute weight below which a feature is left out."""
Texts = dict[str, dict[str, list[str]]]


def texts(half: str) -> list[tuple[str, bool]]:
    """Each text of a half, `dev` or `held_out`, and whether it is a refusal."""
    files = [yaml.safe_load((ROOT / "tests/data" / name).read_text("utf-8")) for name in FILES]
    *whole, halves = files
    chosen: list[Texts] = [*whole, halves[half]] if half == "dev" else [halves[half]]
    closed = [
        (text, kind["read"] == "refusal")
        for kind in yaml.safe_load((ROOT / "tests/data/replies.yaml").read_text("utf-8"))
        if half == "dev" and kind["read"] not in ("none", "truncated")
        for text in kind["replies"]
    ]
    return closed + [
        (text, kind == "refusals")
        for each in chosen
        for kind in ("refusals", "answers")
        for in_language in each[kind].values()
        for text in in_language
    ]


def train() -> dict[str, object]:
    """The constant, and the weight of each feature that has one."""
    rows = texts("dev")
    vectors = CountVectorizer(analyzer=lambda text: features(refusals.spoken(text)), binary=True)
    seen = normalize(vectors.fit_transform([text for text, _ in rows]))
    model = LogisticRegression(C=RIDGE, max_iter=2000, tol=1e-8)
    model.fit(seen, [is_refusal for _, is_refusal in rows])
    weights = zip(vectors.get_feature_names_out(), model.coef_[0], strict=True)
    kept = {name: round(float(weight), 2) for name, weight in weights if abs(weight) >= SMALL}
    return {"constant": round(float(model.intercept_[0]), 3), "weights": dict(sorted(kept.items()))}


def main() -> None:
    """Write the weights, and print what is found of `held_out`."""
    path = resource("prompting/refusal_weights.json")
    path.write_text(json.dumps(train(), ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    for wanted in (True, False):
        rows = [text for text, is_refusal in texts("held_out") if is_refusal == wanted]
        n = sum(refusals.is_refusal(text) for text in rows)
        what = "refusals" if wanted else "answers"
        sys.stdout.write(f"held out: {n} of {len(rows)} {what} taken for refusals\n")


if __name__ == "__main__":
    main()
