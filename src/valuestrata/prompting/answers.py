"""From what a model wrote to an outcome: answer, refusal, invalid or failed. Pure functions.

Only new tokens are ever parsed, so a prompt cannot be mistaken for an answer. Replies are read in
the languages of prompting/templates, whatever the prompt's was: a model may answer in its own.
"""

import re
from collections.abc import Collection

_NUMBER = r"(-?\d{1,9})(?!\d)"
_OR = "or|and|to|或|和|到|至|、|atau|dan|hingga|அல்லது|மற்றும்|முதல்"
_ONE_NUMBER = _NUMBER + rf"(?!\.\d|[>＞〉]?\s*(?:-|–|/|,|，|{_OR})\s*[<＜〈]?\d)"
# the form that is asked for has <number> in it: some keep the brackets
_TO_NUMBER = r"[\s*:：]{0,4}(?:[\[(（\"'“]|[<＜〈](?=-?\d+[>＞〉]))?"
_PREFIX = "|".join(
    (
        r"\banswer(?:\W{0,4}[:：=]|\s+is)",
        r"\bjawapan(?:\s+saya)?(?:\W{0,4}[:：=]|\s+(?:ialah|adalah))",
        r"答案\W{0,4}[:：=是为]",
        r"பதில்\W{0,4}[:：=]",
    )
)
_FORM = re.compile(rf"(?:{_PREFIX}){_TO_NUMBER}{_ONE_NUMBER}", re.IGNORECASE)
_BARE = re.compile(r"^\W*?" + _NUMBER + r"(?:\W*|\s?[.):=、．：-]\D*)$")
_VERBS = (
    r"(?:answer|say|tell|share|give|provide|offer|express|discuss|comment|respond|reply|choose|pick"
    r"|select|rate|state|help|assist|participate|take part|engage|speak)"
)
_REFUSALS = (
    r"\b(?:i(?:['’]m| am) sorry|as an ai|language model|decline to"
    r"|(?:i (?:can(?:no|['’])t|can not|won['’]t|will not)|unable to|not able to|prefer not to"
    rf"|rather not|not (?:be )?(?:appropriate|comfortable)(?: for me)?(?: to)?) {_VERBS})",
    # Mandarin
    r"抱歉|对不起|作为(?:一[个名位])?(?:AI|人工智能|语言模型)",
    r"(?:无法|不能|不便|不会|不愿意?|不想|拒绝)(?:对此|就此)?"
    r"(?:回答|作答|答复|提供|给出|选择|表达|发表|讨论|评论|评价|参与)",
    # Malay
    r"\b(?:maaf|sebagai (?:sebuah )?(?:AI|model bahasa|kecerdasan buatan)"
    r"|(?:tidak (?:dapat|boleh|mahu|akan)|tak (?:dapat|boleh|mahu)|enggan) "
    r"(?:menjawab|memberi|memilih|menyatakan|membincang|mengulas|membantu|berkongsi))",
    # Tamil
    r"மன்னி(?:க்கவும்|த்துக்கொள்ளுங்கள்|யுங்கள்)|மொழி மாதிரி|செயற்கை நுண்ணறிவு",
    r"(?:பதிலளிக்க|பதில் (?:அளிக்க|சொல்ல|கூற)|கருத்து (?:சொல்ல|கூற|தெரிவிக்க)|தேர்ந்தெடுக்க|உதவ)"
    r"\s*(?:முடியாது|முடியவில்லை|இயலாது|இயலவில்லை|விரும்பவில்லை|மாட்டேன்)",
)
_REFUSAL = re.compile("|".join(_REFUSALS), re.IGNORECASE)


def parse(text: str | None, codes: Collection[int]) -> tuple[str, int | None]:
    """Outcome and code of a reply to a closed question.

    A code counts where it follows "Answer:" (once, or always the same) or is all that was written;
    a number inside prose does not, nor does one that is no option.

    >>> parse("Answer: 3", [1, 2, 3])
    ('answer', 3)
    >>> parse("2. rather important", [1, 2, 3])
    ('answer', 2)
    >>> parse("I have 2 children and 3 cats.", [1, 2, 3])
    ('invalid', None)
    >>> parse("Answer: 7", [1, 2, 3])
    ('invalid', None)
    >>> parse("I'm sorry, I cannot answer that.", [1, 2, 3])
    ('refusal', None)
    >>> parse(None, [1, 2, 3])
    ('failed', None)

    So in the other languages:

    >>> [parse(text, [1, 2, 3])[1] for text in ("答案：3", "Jawapan: 3", "பதில்: 3")]
    [3, 3, 3]
    >>> parse("答案：2或3", [1, 2, 3])
    ('invalid', None)
    >>> [parse(text, [1, 2, 3])[0] for text in ("抱歉，我无法回答这个问题。", "我有2个孩子。")]
    ['refusal', 'invalid']
    >>> [parse(text, [1, 2, 3])[0] for text in ("Maaf, saya tidak dapat menjawab.", "Ada 2 anak.")]
    ['refusal', 'invalid']
    >>> [parse(text, [1, 2, 3])[0] for text in ("என்னால் பதிலளிக்க முடியாது.", "2 பிள்ளைகள் உண்டு.")]
    ['refusal', 'invalid']
    """
    if text is None:
        return "failed", None
    bare = _BARE.match(text)
    numbers = {int(number) for number in _FORM.findall(text)} or ({int(bare[1])} if bare else set())
    if len(numbers) == 1 and (code := numbers.pop()) in codes:
        return "answer", code
    return ("refusal" if _REFUSAL.search(text) else "invalid"), None


def free_outcome(text: str | None) -> str:
    """Outcome of an open-ended answer: failed, refusal, invalid (no text) or answer.

    >>> free_outcome("Family comes first for me.")
    'answer'
    >>> free_outcome("As an AI language model, I have no religion.")
    'refusal'
    """
    if text is None:
        return "failed"
    if _REFUSAL.search(text):
        return "refusal"
    return "answer" if text.strip() else "invalid"
