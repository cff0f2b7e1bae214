"""Words and signs of verdicts, as regular expressions over flat text (verdict_text.py)."""

from valuestrata.prompting.patterns import any_of

NOUN = any_of(r"""
    answer|response|option|candidate|assistant|reply|choice|text|version|number|output|model
    passage|statement|essay|speaker|respondent|person(?!a)|writer|(?:resp|ans|opt|cand|nr)\.?|no\.|n[°º]
    [ra](?=[12](?!\w))
    回答|答案|回复|回覆|回应|回應|选项|選項|文本|jawapan|jawaban|respons|pilihan|balasan|பதில்|விடை
""")
ADVERB = any_of(r"""
    slightly|clearly|much|far|marginally|somewhat|a (?:bit|little|lot)|significantly|also|overall
    noticeably|just|still|equally|definitely|certainly|by far|about|roughly|nearly|essentially
    considerably|a clear|a close|basically|pretty much|more or less|probably
""")
_ZH_TIE = (
    r"(?:平局|平手|打平|持平|相同|相当|一样(?:好|差)?|同样好|不分(?:上下|高下)|不相上下|旗鼓相当|差不多"
    r"|难分(?:高下|上下|伯仲)|(?:没有|无)(?:明显|太大)?(?:差别|区别|差异))"
)
TIE = (
    any_of(r"""
    (?:it is |it's )?(?:a )?tie between (?:both|the two|(?:NOUNs? )?\
        (?:1 and 2|A and B|2 and 1|B and A))
    (?:it is |it's |a |an )?(?:ADVERB )?(?:tie|tied|draw|equal(?:ly good|ly strong|ly|)|even)
    no (?:clear |real |meaningful |significant )?(?:difference|winner|preference)
    (?:a )?(?:toss-?up|wash|dead heat)|ties|undecided between (?:both|the two)
    neither(?: (?:one|answer|response|is better))?|(?:they|both|the two|the answers) (?:are )?tied?
    (?:a )?split|shared|(?:on )?(?:a )?level|on (?:a )?par|all square|evenly matched
    indistinguishable|comparable
    both(?: are)?(?: equally(?: \w+)?| equal)?(?: good| bad)?
    (?:the )?same|(?:ZHBOTH)?(?:ZHMORELESS)?ZHTIE|(?:两者|二者|两个(?:回答|答案)?)?都(?:很|不)?好
    (?:kedua-dua(?:nya)?|keduanya)?(?: jawapan)? ?(?:adalah )?(?:seri|setara|seimbang\
        |sama(?: (?:sahaja|saja|baik|bagus|kuat|rata|hebat))?)
    kedua-dua(?:nya)?|keduanya|(?:tiada|tidak(?: ada)?) (?:banyak |jauh )?\
        (?:beza|berbeza|perbezaan)
    (?:இரண்டும் )?(?:சமம்|சமமானது|சமமானவை|சமநிலை|ஒரே மாதிரி|டை)|இரண்டும்
""")
    .replace("ADVERB", ADVERB)
    .replace("NOUN", NOUN)
    .replace("ZHBOTH", "两者|二者|两个(?:回答|答案)?|双方")
    .replace("ZHMORELESS", "都|均|基本|大致|几乎|差不多")
    .replace("ZHTIE", _ZH_TIE)
)
_ZH_BETTER = (
    r"(?:明显|略|稍|稍微|要|也)?(?:更|较|最|更加|比较)?(?:胜一筹|贴近|符合|接近|自然|流畅|真实|合适"
    r"|贴切|可信|生动|清晰|通顺|有说服力)|(?:明显|略|稍|稍微|要|也)?(?:更|较|最|更加|略|稍)(?:好|优|佳"
    r"|强|像)(?:一[些点])?|[更略稍]?胜(?:出)?|获胜|赢"
)
_ZH_VERB = (
    rf"(?:{_ZH_BETTER}|比(?:另一个|对方|(?:{NOUN} ?)?[12AB一二]) ?(?:{_ZH_BETTER}|好)"
    rf"|(?:优于|優於|胜过|好于|强于|胜于) ?(?:另一个|对方|(?:{NOUN} ?)?[12AB一二]))"
)
"""What is said of the better answer in Mandarin, without a blank before it."""
_ALONE = rf"(?:(?={_ZH_VERB}(?![吗嗎不]))|(?![\w%°/]|[.,:]\d|-\w))"
ORDINAL = any_of(r"""
    (?P<one>first|1st|former)|(?P<two>second|2nd|latter)
    (?:NOUN |yang )?(?:(?P<one_ms>pertama)|(?P<two_ms>kedua))(?![\w-]| ?NOUN)
    (?:(?P<one_zh>第[一1](?:个|個|篇|条|份)?|前者)|(?P<two_zh>第[二2](?:个|個|篇|条|份)?|[后後]者))
    (?:(?P<one_ta>முதல்|முதலாவது)|(?P<two_ta>இரண்டாவது|இரண்டாம்))
""").replace("NOUN", NOUN)
"""The first or the second; in Malay `kedua jawapan` may as well be both."""
CHOICE = (
    rf"(?:(?:the )?{NOUN}(?: (?:no\.|nr\.|number))?[ -]?[(\[\"']{{0,2}} ?"
    rf"(?P<named>[12一二]|(?<![a-z])(?:[AB]|one|two)){_ALONE}"
    rf"|(?:the )?{ORDINAL}(?: ?(?:{NOUN}|one))?(?:(?={_ZH_VERB})|(?!\w))"
    rf"|(?P<bare>[12]|(?-i:[AB])){_ALONE}"
    r"|(?P<alone>[ab]|one|two|[一二])(?= ?[)\]\"']* ?[.;]? *$)"
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
    rf"|(?:{ADVERB} )?(?:{_AGREES}) (?:{ADVERB} )?(?:better|best|more \w+)"
    rf"|{_ZH_VERB}(?![吗嗎])"
    r"|(?:adalah |sedikit |jelas )?(?:lebih (?:baik|sesuai|tepat|dekat|hampir|kuat|fasih|jelas"
    r"|meyakinkan|asli|lancar|semula jadi)|terbaik|menang|unggul)"
    r"|(?:சற்று |மிகவும் |மிக )?(?:சிறந்தது|சிறந்த பதில்|சிறப்பாக (?:உள்ளது|இருக்கிறது)|மேலானது"
    r"|பொருத்தமானது|வெல்கிறது)(?! *(?:அல்ல|இல்லை)))"
)
"""What a verdict in a sentence says of the answer that it names."""
GOES_ON = any_of(r"""
    (?:because|since|as|for|due to|thanks to|by|with|in|on|here|overall|kerana|sebab)(?!\w)
    因为|由于|原因|ஏனெனில்|ஏனென்றால்
    over(?: the)?(?:(?: NOUN)? ?[12AB]| (?:first|second|former|latter|other))(?!\w)
""").replace("NOUN", NOUN)
"""What may follow a verdict without a sign between."""
CORRECTION = any_of(r"""
    \bwait\b|\bactually\b|\bcorrection\b|\bon (?:second thoughts?|reflection)\b|\bscratch that\b
    \bi mean\b|\bi meant\b|\bi (?:was|am) wrong\b|\bchang(?:e|ing) my\b|\bno, |\binstead\b
    \bsorry\b|\bbut(?= (?:NOUN )?[12AB]\b)
    不对[, ]|等等[, ]|更正|应该是|应为|其实|改为|还是|[但而](?=(?:NOUN)? ?[12AB]\b)
    \b(?:sebenarnya|maaf|tunggu|pembetulan)\b|(?:மன்னிக்கவும்|உண்மையில்|திருத்தம்)
""").replace("NOUN", NOUN)
CONCESSION = (
    r"(?:(?:although|though|while|whereas|even if|despite|granted|walaupun|meskipun)\b"
    r"|虽然|尽管|即使|虽说|என்றாலும்)[^.;:]*$"
)
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
