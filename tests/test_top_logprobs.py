"""What a service's likeliest tokens tell of options, and what they leave open."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests import served, toys
from tests.asking import predict
from tests.served import Raw, serving
from valuestrata.errors import InputError
from valuestrata.inference.completions import completion
from valuestrata.inference.fill import Requests, cache_keys
from valuestrata.inference.openai import OpenAIBackend
from valuestrata.inference.protocol import Sampling
from valuestrata.inference.top_logprobs import OptionMasses, ShownTokens, option_masses


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    served.make_quick(monkeypatch)


def place(token: str, **shown: float) -> ShownTokens:
    """A place of a reply from probabilities; `_` is a blank, `end` the end of the text."""
    names = {"blank": " ", "colon": ":", "end": "<|end|>", "dot": "."}
    shares = {names.get(t, t).lstrip("t").encode(): p for t, p in shown.items()}
    return ShownTokens(names.get(token, token).lstrip("t").encode(), shares)


HEAD = [place("Answer", Answer=0.9, I=0.1), place("colon", colon=1.0), place("blank", blank=1.0)]


def read(*places: ShownTokens, codes: Any = range(1, 5), head: Any = HEAD) -> dict[str, float]:
    """Masses that are not 0 by code, and what is unread."""
    masses = option_masses([*head, *places], [f"Answer: {c}" for c in codes])
    by_code = {f"{c}": m for c, m in zip(codes, masses.masses, strict=True) if m}
    return {k: round(v, 9) for k, v in {**by_code, "unread": masses.unread}.items()}


def test_the_mass_of_an_option_is_that_of_replies_which_begin_with_it() -> None:
    assert read(place("t2", t1=0.2, t2=0.5, t3=0.2, sorry=0.1)) == {
        "1": 0.18, "2": 0.45, "3": 0.18, "unread": 0.0,
    }  # fmt: skip
    # one that was not shown is not guessed: what is left may be its
    assert read(place("t2", t1=0.2, t2=0.5)) == {"1": 0.18, "2": 0.45, "unread": 0.27}
    # the code alone, other blanks, bold
    assert read(place("t2", t1=0.2, t2=0.8), head=[]) == {"1": 0.2, "2": 0.8, "unread": 0.0}
    bold = [place("**Answer", **{"**Answer": 1.0}), place(":**", **{":**": 1.0})]
    assert read(place(" 2", **{" 1": 0.2, " 2": 0.8}), head=bold)["2"] == 0.8
    # `15` is no option, `2.` is one
    shown = {"15": 0.2, "2.": 0.2, "3": 0.6}
    assert read(place("3", **shown)) == {"2": 0.18, "3": 0.54, "unread": 0.0}
    # another beginning that all options fit may still come to any of them
    assert read(place("I", I=0.7, Answer=0.3), head=[]) == {"unread": 0.3}
    assert read(place("t1", t1=1.0), head=[], codes=[]) == {"unread": 0.0}


def test_1_and_10_are_told_apart_or_left_open() -> None:
    ten = range(1, 11)
    whole = place("t1", t1=0.6, t10=0.3, t2=0.1)  # a tokenizer that has 10 as a token
    assert read(whole, codes=ten) == {"1": 0.54, "2": 0.09, "10": 0.27, "unread": 0.0}
    # one that writes digits, or where 10 is not shown: nobody can tell
    assert read(place("t2", t1=0.6, t2=0.4), codes=ten) == {"2": 0.36, "unread": 0.54}
    # unless the reply itself goes on
    digits = [place("t1", t1=0.6, t2=0.4), place("t0", t0=0.7, end=0.3)]
    assert read(*digits, codes=ten) == {"1": 0.162, "2": 0.36, "10": 0.378, "unread": 0.0}
    dots = [place("t1", t1=0.6, t2=0.4), place("dot", t0=0.7, dot=0.3)]
    assert read(*dots, codes=ten) == {"1": 0.162, "2": 0.36, "10": 0.378, "unread": 0.0}
    # and where its end is not shown, it stays open
    assert read(place("t1", t1=0.6, t2=0.4), codes=ten) == {"2": 0.36, "unread": 0.54}
    # three digits; negative codes; codes that share a first digit
    hundred = place("t1", t1=0.2, t10=0.3, t100=0.5)
    assert read(hundred, codes=[1, 10, 100])["unread"] == 0
    assert read(place("t1", t1=0.2, t10=0.3, t2=0.5), codes=[1, 2, 10, 100])["unread"] == 0.45
    assert read(place("-", **{"-": 0.5, "1": 0.5}), codes=[-2, -1, 1]) == {
        "1": 0.45, "unread": 0.45,
    }  # fmt: skip
    assert read(place("t11", t10=0.5, t11=0.5), codes=[10, 11]) == {
        "10": 0.45, "11": 0.45, "unread": 0.0,
    }  # fmt: skip


def test_structured_output_is_read_behind_its_opening() -> None:
    for opening in (['{"', "answer", '":"'], ['{ "', "answer", '" : "'], ['{"answer":', ' "']):
        head = [place(t, **{t: 1.0}) for t in opening] + HEAD
        masses = option_masses(
            [*head, place("t2", t1=0.2, t2=0.8)], ["Answer: 1", "Answer: 2"], '{"answer":"'
        )
        assert masses.masses.round(9).tolist() == [0.18, 0.72]
        assert masses.error == 0
    stray = option_masses([place("t2", t1=0.2, t2=0.8)], ["1", "2"], '{"answer":"')
    assert stray.logprobs is None


def test_a_distribution_is_given_where_little_is_left_open() -> None:
    assert OptionMasses(np.array([0.5, 0.4]), 0.2).logprobs is None
    assert OptionMasses(np.zeros(2), 0.0).logprobs is None
    assert OptionMasses(np.zeros(2), 0.0).error == 1
    given = OptionMasses(np.array([0.7, 0.0]), 0.02)
    assert given.logprobs is not None
    assert given.logprobs.tolist() == [math.log(0.7), -math.inf]
    assert given.error == pytest.approx(0.02 / 0.72)


VOCABULARIES = {
    "digits": ["Answer", ":", " ", *"0123456789", ".", "I"],
    "numbers": ["Answer", ": ", *map(str, range(13)), "100", " or", "I"],
    "odd": ["An", "swer: ", "Answer: ", "1", "10", "0", "12", "2 ", "3", "."],
}
END = "<|end|>"


class RandomModel:
    """A language model over a few tokens, whose probabilities are drawn when they are asked for.

    It writes a number by one token where there is one, and no digit that makes no option.
    """

    def __init__(self, tokens: list[str], codes: list[int], rng: np.random.Generator) -> None:
        self.tokens, self.codes, self.rng = [*tokens, END], codes, rng
        self.drawn: dict[str, dict[str, float]] = {}

    def after(self, text: str) -> dict[str, float]:
        """Probability of each token after a text."""
        if text not in self.drawn:
            digits = re.findall(r"\d*$", text)[0]
            leads = ["Answer: ".startswith(text + token) for token in self.tokens]
            shares = self.rng.dirichlet([40.0 if is_lead else 0.2 for is_lead in leads])
            for i, token in enumerate(self.tokens if digits else ()):
                number = digits + token.strip()
                is_option = any(str(code).startswith(number) for code in self.codes)
                if token[0].isdigit() and (not is_option or number in self.tokens):
                    shares[i] = 0.0
            shares /= shares.sum()
            self.drawn[text] = dict(zip(self.tokens, shares.tolist(), strict=True))
        return self.drawn[text]

    def reply(self, k: int) -> list[ShownTokens]:
        """A reply as a service gives it: tokens that were drawn, with the k likeliest."""
        text, places = "", []
        while len(places) < 8 and not text.endswith(END):
            shares = self.after(text)
            token = self.rng.choice(self.tokens, p=list(shares.values()))
            shown = {token, *sorted(shares, key=lambda t: -shares[t])[:k]}
            places.append(ShownTokens(token.encode(), {t.encode(): shares[t] for t in shown}))
            text += token
        return places

    def truth(self) -> tuple[np.ndarray, float]:
        """Probability of the texts that give each code, and of those too rare to follow."""
        codes = self.codes
        masses, rare, left = np.zeros(len(codes)), 0.0, [("", 1.0)]
        while left:
            text, p = left.pop()
            match = re.match(r"\s*(?:Answer\s*:)?\s*(\d*)(.*)", text)
            assert match is not None
            digits, rest = match.groups()
            if rest.strip() and not "Answer:".startswith(text.replace(" ", "")):
                if digits and int(digits) in codes:
                    masses[codes.index(int(digits))] += p
            elif p < 1e-4:
                rare += p
            else:
                left += [(text + token, p * share) for token, share in self.after(text).items()]
        return masses, rare


def test_the_truth_lies_between_what_is_read_and_that_plus_what_is_open() -> None:
    rng = np.random.default_rng(5)
    n_read = 0
    for name, tokens in VOCABULARIES.items():
        for codes in ([1, 2, 3], [1, 2, 10], [*range(1, 11)], [1, 10, 12, 100]):
            for _ in range(12):
                model = RandomModel(tokens, codes, rng)
                k = int(rng.integers(2, len(tokens)))
                read = option_masses(model.reply(k), [f"Answer: {c}" for c in codes])
                n_read += read.logprobs is not None
                truth, rare = model.truth()
                assert rare < 0.1
                assert (read.masses <= truth + rare + 1e-9).all(), (name, codes)
                assert (truth <= read.masses + read.unread + 1e-9).all(), (name, codes)
    assert n_read > 10


# ---- what services send


def entry(token: str, p: float, **more: Any) -> dict[str, Any]:
    return {"token": token, "logprob": math.log(p), "bytes": list(token.encode()), **more}


def logprobs(*places: tuple[str, dict[str, float]]) -> dict[str, Any]:
    """The field of a choice from (token, {token: p}) at each place."""
    return {
        "content": [
            entry(token, shown[token], top_logprobs=[entry(t, p) for t, p in shown.items()])
            for token, shown in places
        ]
    }


def answer(shown: dict[str, float], token: str = "2") -> dict[str, Any]:
    """A message that gives a code, with the probabilities of its tokens."""
    head = [(t, {t: 1.0}) for t in ("Answer", ":", " ")]
    return {"content": f"Answer: {token}", "logprobs": logprobs(*head, (token, shown))}


def tokens(field: Any, text: str = "2") -> int:
    """How many places are read of a reply."""
    choice = {"message": {"content": text}, "finish_reason": "stop", "logprobs": field}
    return len(completion(json.dumps({"choices": [choice]}).encode()).tokens)


def test_malformed_log_probabilities_are_none_and_the_text_stays() -> None:
    good = logprobs(("2", {"2": 0.7, "1": 0.3}))
    assert tokens(good) == 1
    assert tokens(logprobs(("2", {"2": 1.0}), ("<|end|>", {"<|end|>": 1.0}))) == 2
    (first,) = good["content"]
    for field in (
        None, 3, [], {}, {"content": None}, {"content": "2"}, {"content": [None]},
        {"content": [{**first, "top_logprobs": None}]},
        {"content": [{**first, "top_logprobs": [3]}]},
        {"content": [{**first, "bytes": ["2"]}]},
        {"content": [{**first, "bytes": [999]}]},
        {"content": [{**first, "bytes": None, "token": 2}]},
        {"content": [{**first, "bytes": None, "token": "\ud800"}]},
        {"content": [{**first, "top_logprobs": [entry("1", 0.9), entry("2", 0.9)]}]},
        {"content": [{**first, "top_logprobs": [{**entry("2", 1.0), "logprob": math.nan}]}]},
        {"content": [{**first, "top_logprobs": [{**entry("2", 1.0), "logprob": 1e9}]}]},
        {"content": [{**first, "top_logprobs": [{**entry("2", 1.0), "logprob": None}]}]},
        logprobs(("3", {"3": 1.0})),  # tokens of another text
    ):  # fmt: skip
        assert tokens(field) == 0, field
    # a character in parts, as bytes; a token that was written and not shown; no bytes
    part = {"token": "x", "logprob": 0.0, "top_logprobs": []}
    parts = [{**part, "bytes": [byte]} for byte in "\u7b54".encode()]
    assert tokens({"content": parts}, "\u7b54") == 3
    assert tokens({"content": [{**first, "bytes": None}]}) == 1


def test_predictions_hold_the_distribution_and_the_mass_that_is_left_out(tmp_path: Path) -> None:
    questions = list(toys.SCALES)
    messages = {
        # four options, all shown; 0.1 fell on none of them
        questions[0]: answer({"1": 0.2, "2": 0.6, "3": 0.08, "4": 0.02, "so": 0.1}),
        # two options, and 0.02 is not shown
        questions[1]: answer({"1": 0.28, "2": 0.7}),
        # ten options, and 1 may become 10
        questions[2]: answer({"1": 0.3, "2": 0.7}),
        # a service that gives none for one reply
        questions[3]: {"content": "Answer: 2"},
    }
    with serving(lambda _, user: dict(messages[user.splitlines()[0]])) as server:
        table = predict(tmp_path, served.model(server, top_logprobs=20))
        assert all(r["logprobs"] is True and r["top_logprobs"] == 20 for r in server.asked)
        del server.asked[:]
        again = predict(tmp_path, served.model(server, top_logprobs=20))
        assert not server.asked
        pd.testing.assert_frame_equal(table, again)
    rows = table.drop_duplicates("question").set_index("question")
    np.testing.assert_allclose(
        rows.loc["Q0", "distribution"], np.array([0.2, 0.6, 0.08, 0.02]) / 0.9, atol=1e-9
    )
    assert rows.loc["Q0", "non_option_mass"] == pytest.approx(0.1)
    assert rows.loc["Q0", "unread_mass"] == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(rows.loc["Q1", "distribution"], [0.28 / 0.98, 0.7 / 0.98])
    assert rows.loc["Q1", "non_option_mass"] == pytest.approx(0.02)
    assert rows.loc["Q1", "unread_mass"] == pytest.approx(0.02)
    assert rows.loc["Q2", ["logprobs", "distribution"]].isna().all()
    assert rows.loc["Q2", "unread_mass"] == pytest.approx(0.3)
    assert rows.loc["Q3", ["logprobs", "distribution", "unread_mass"]].isna().all()
    assert (table["outcome"] == "answer").all()
    assert set(table["notes"]) == {
        "top_logprobs: 6 of 12 replies have a distribution, off by 0.01 in total variation at most "
        "on average, by 0.02 at worst; 3 leave more than 5% of the options' mass open; "
        "3 came without log-probabilities"
    }


def test_a_service_that_gives_none_is_named_and_one_that_turns_them_down_is_one_line(
    tmp_path: Path,
) -> None:
    with serving(lambda *_: "Answer: 1") as server:
        table = predict(tmp_path, served.model(server, top_logprobs=5))
    assert set(table["notes"]) == {
        "top_logprobs: 0 of 12 replies have a distribution; 12 came without log-probabilities"
    }
    error = {"error": {"message": "top_logprobs must be at most 5", "param": "top_logprobs"}}
    raw = Raw(json.dumps(error).encode(), 400)
    with serving(lambda *_: raw) as server, pytest.raises(InputError, match="at most 5"):
        predict(tmp_path, served.model(server, top_logprobs=20))


def test_only_closed_answers_are_asked_anew_with_log_probabilities() -> None:
    with serving(lambda *_: "Answer: 1") as server:
        plain = OpenAIBackend(served.model(server))
        shown = OpenAIBackend(served.model(server, top_logprobs=20))
    closed = Requests([("P", "Q")], Sampling(8), lambda *_: True, [("1", "2")])
    texts = Requests([("P", "Q")], Sampling(8), lambda *_: True)

    def keys(model: OpenAIBackend, requests: Requests) -> list[str]:
        return cache_keys(model, requests, [model.render(m) for m in requests.messages])

    assert keys(plain, closed) != keys(shown, closed)
    assert keys(plain, texts) == keys(shown, texts)
    with serving(lambda *_: "Answer: 1") as server:
        OpenAIBackend(served.model(server, top_logprobs=3)).generate([("P", "Q")], Sampling(8))
    assert "logprobs" not in server.asked[0]


def test_structured_output_and_log_probabilities_go_together(tmp_path: Path) -> None:
    def says(*_: str) -> dict[str, Any]:
        pieces = ['{"', "answer", '":"', "Answer", ":", " "]
        head = [(token, {token: 1.0}) for token in pieces]
        places = [*head, ("2", {"1": 0.4, "2": 0.6}), ('"}', {'"}': 1.0})]
        return {"content": '{"answer":"Answer: 2"}', "logprobs": logprobs(*places)}

    with serving(says) as server:
        model = served.model(server, top_logprobs=20, structured_output=True)
        table = predict(tmp_path, model, constrained=True).set_index("question")
    assert set(table["text"]) == {"Answer: 2"}
    np.testing.assert_allclose(table.loc["Q1", "distribution"].iloc[0], [0.4, 0.6])
    assert table.loc["Q2", "distribution"].isna().all()  # `1` may become `10`
