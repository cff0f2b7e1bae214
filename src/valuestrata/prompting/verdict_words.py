"""Words and signs of verdicts, as regular expressions over flat text (verdict_text.py)."""

from valuestrata.prompting.patterns import any_of

NOUN = any_of(r"""
    answer|response|option|candidate|assistant|reply|choice|text|version|number|no\.
    回答|答案|jawapan|jawaban|பதில்
""")
ADVERB = any_of(r"""
    slightly|clearly|much|far|marginally|somewhat|a (?:bit|little|lot)|significantly|also|overall
    noticeably|just|still|equally|definitely|certainly|by far|about|roughly|nearly|essentially
    considerably|a clear|a close|basically|pretty much|more or less|probably
""")
TIE = (
    any_of(r"""
    (?:it is |it's )?(?:a )?tie between (?:both|the two|(?:NOUNs? )?\
        (?:1 and 2|A and B|2 and 1|B and A))
    (?:it is |it's |a |an )?(?:ADVERB )?(?:tie|tied|draw|equal(?:ly good|ly strong|ly|)|even)
    no (?:clear |real |meaningful |significant )?(?:difference|winner|preference)
    (?:a )?(?:toss-?up|wash|dead heat)|ties|undecided between (?:both|the two)
    neither(?: (?:one|answer|response|is better))?
    both(?: are)?(?: equally(?: \w+)?| equal)?(?: good| bad)?
    (?:the )?same|平局|平手|seri
""")
    .replace("ADVERB", ADVERB)
    .replace("NOUN", NOUN)
)
ORDINAL = any_of("(?P<one>first|1st|former)|(?P<two>second|2nd|latter)")
_ALONE = r"(?![\w%°/]|[.,:]\d|-\w)"
CHOICE = (
    rf"(?:(?:the )?{NOUN}(?: (?:no\.|nr\.|number))? ?[(\[\"']{{0,2}} ?"
    rf"(?P<named>[12AB]|one|two){_ALONE}"
    rf"|(?:the )?{ORDINAL}(?: (?:{NOUN}|one))?(?!\w)"
    rf"|(?P<bare>[12]|(?-i:[AB])){_ALONE}"
    rf"|(?P<tie>{TIE})(?: ?/ ?(?:{TIE}))?(?!\w))"
)
"""1 or 2, A or B, first or second, or a tie."""
_THE = "(?:the |my |final )*"
LEAD = (
    any_of(r"""
    THE(?:winner|verdict|better(?: one)?|choice|preference|preferred|best|result)(?: is|,)? ?[:=]?
    THEdecision(?: is|,)? ?[:=]?
    i(?: would| will|'d)?(?: ADVERB)? (?:prefer|choose|pick|favou?r|say|go with|call it)(?: that)?
    i(?: would| will|'d)? give (?:it|this) to
    it is|it's|(?:goes|go) to
    (?:an? )?(?:slight |clear |strong |marginal |mild |small |weak )?\
        (?:preference|edge|advantage|nod) (?:for|to|goes to)
    (?:ADVERB )?(?:favou?rs|leaning(?: towards?| to)?|leans (?:towards?|to))
""")
    .replace("ADVERB", ADVERB)
    .replace("THE", _THE)
)
"""What may stand between a dimension and its verdict."""
_SEEMS = "is|was|are|seems|looks|sounds|reads|fits|does|feels|comes across as|performs|scores"
_BETTER = any_of(r"""
    better|best|winner|preferred|preferable|stronger|superior|closer|more \w+|equal\w*|good|winning
    favou?red|higher
""")
_AGREES = any_of("""
    aligns|matches|reflects|fits|captures|represents|mirrors|corresponds|conveys|expresses|agrees
    answers|sits|follows|shows|keeps|stays
""")
VERB = rf"(?:(?:{_SEEMS})(?: the)?(?: {ADVERB})* {_BETTER}|(?:{ADVERB} )?wins|has the edge" + (
    rf"|(?:{ADVERB} )?better|preferred"
    rf"|(?:{ADVERB} )?(?:beats|outperforms|surpasses|edges out) (?:the )?(?:other|{NOUN} ?[12AB])"
    rf"|(?:{_AGREES})(?: (?!(?:no|not|less|never|neither)\b)[\w-]+){{0,5}} (?:better|best|more \w+)"
    rf"|(?:{ADVERB} )?(?:{_AGREES}) (?:{ADVERB} )?(?:better|best|more \w+))"
)
"""What a verdict in a sentence says of the answer that it names."""
GOES_ON = any_of(r"""
    (?:because|since|as|for|due to|thanks to|by|with|in|on|here|overall)(?!\w)
    over(?: the)?(?: NOUN)? ?[12AB](?!\w)
""").replace("NOUN", NOUN)
"""What may follow a verdict without a sign between."""
CORRECTION = any_of(r"""
    \bwait\b|\bactually\b|\bcorrection\b|\bon (?:second thoughts?|reflection)\b|\bscratch that\b
    \bi mean\b|\bi meant\b|\bi (?:was|am) wrong\b|\bchang(?:e|ing) my\b|\bno, |\binstead\b
    \bsorry\b|\bbut(?= (?:NOUN )?[12AB]\b)
""").replace("NOUN", NOUN)
CONCESSION = r"(?:although|though|while|whereas|even if|despite|granted)\b[^.;:]*$"
_LINKS = any_of(r"""
    my|the|final|verdict|winner|better|best|on|for|in|of|regarding|concerning|as for|in terms of
    dimension|criterion|category|score
""")
BEFORE_NAME = rf"(?:{_LINKS}(?: \d+)?[ :.-]{{1,3}}){{0,4}}"
_KINDS = "verdict|winner|dimension|choice|result|preference|fit|score|decision"
AFTER_NAME = rf"(?: ?\([^()\n]{{0,80}}\))?(?: (?:{_KINDS}))?"
SECTION = rf"(?:the )?(?:{NOUN}) ?#? ?(?:[12]|(?-i:[AB]))"
"""Heading of what is written on one of the answers."""
HEADER = r"verdict|winner|better|choice|preference|preferred|result|decision|best|1, 2 or tie"
"""Head of a table's column that holds the verdicts."""
