"""Whole replies that give no stance but send the reader to somebody else, or keep the matter back.

`Ask my husband.` says nothing of the speaker's view. So it is the whole reply that must say so:
`Ask my husband, he will tell you how devout I am` and `Ask anyone: we help each other` are answers.
"""

from valuestrata.prompting.patterns import any_of

_OPENING = any_of(r"""
    (?:ai+yah?|aiyo+h?|wah|alamak|eh|oh|ah|well|sorry|look|honestly|no|but|hm+|haha?|better|best\
        |just|please|maybe|perhaps|go|come|and|then|don't ask me|not me|(?:i )?don't know|dunno\
        |no idea|why (?:are you )?ask(?:ing)? me)[,.!:;?]*
    you(?:'d| should| would| could| can| must| will|'ll| may| might)*(?: (?:better|best|rather\
        |want to|need to|have to|do better to|be better off))*
    (?:you )?(?:have|need|ought) to|i(?:'d| would) say|i think|why (?:don't you|not)
    it's better to
""")
_PERSON = any_of(r"""
    husband|wife|spouse|partner|mother|father|mum|mom|dad|parents?|son|daughter|child|children|kids?
    brother|sister|siblings?|uncle|aunt|aunt(?:ie|y)|grand\w+|cousin|boss|friends?|neighbou?rs?
    colleagues?|family|relatives|in-laws|boyfriend|girlfriend|fianc\w+|teachers?|imam|ustaz\w*|mufti
    priests?|pastor|monks?|nun|rabbi|pandit|guru|elders?|church|mosque|temple|mp|ministers?
    leaders?|government|politicians?|experts?|scholars?|doctors?|lawyers?|professors?|scientists?
    historians?|folks|generation|youngsters|others|authorities|community
""")
_OTHERS = any_of(rf"""
    (?:my|our|the|your|an?|some|those|these)(?: [\w-]+){{0,2}}? {_PERSON}(?:-in-law)?\
        (?: (?:next door|upstairs|at the (?:mosque|church|temple)))?
    (?:someone|somebody) (?:else|older|wiser)|(?:anyone|anybody) else|other people|others
    another (?:person|respondent)
    (?:someone|somebody|people|those) (?:who|with|older|younger|wiser|more)(?: [\w']+){{1,6}}
    him|her|them|god|allah|google
""")
_MATTER = any_of(r"""
    (?:this|that|it|these|those|such)(?: (?:one|(?:kinds?|sorts?|types?) of (?:\w+ )?)?\
        (?:questions?|topics?|subjects?|matters?|issues?|things?|stuff)?)?
    politics|religion
""")
_KNOWS = any_of(rf"""
    (?:is|are|'s|'re|would be|'d be) (?:the )?(?:one|ones|expert|better|best)(?: \w+){{0,4}}
    (?:'ll |will |would |'d |might |may )?(?:knows?|handles?|decides?|understands?)(?: (?:all|more\
        |better|best|about|how|what to say|everything|things|the answer|{_MATTER}|than (?:me\
        |i do)))*
    (?:can|could|will|'ll|would|might)(?: be able to)? (?:tell|answer|explain)(?: you)?\
        (?: (?:that|this|it|more|better|best))*
""")
_TAIL = any_of(rf"""
    (?:about|on|for|regarding) {_MATTER}|instead(?: of me)?|(?:and )?not me|please|lah|okay|better
    (?:because |as |since |for )?(?:he|she|they) ?{_KNOWS}|first|thanks|thank you
""")
_ASK = any_of(rf"""
    ask {_OTHERS}|(?:speak|talk) (?:to|with) {_OTHERS}|(?:check with|consult) {_OTHERS}
    it's {_OTHERS} (?:(?:that|whom?) )?you (?:should|must|need to|have to|ought to|want to)\
        (?: be)? ask(?:ing)?
    {_OTHERS} (?:is|are|would be|'d be|might be|may be) (?:the|an?) (?:better|best|right)\
        (?: (?:one|ones|person|people|place))? to ask
    (?:put|direct|address|take) {_MATTER}(?: questions?)? to {_OTHERS}
    ask me (?:again )?(?:later|tomorrow|another (?:time|day)|some other (?:time|day)|next \w+)
    (?:(?:that|this|it)(?: one| question)?(?:'s| is|'d be| would be) )?(?:a |one |something )?\
        (?:(?:question|matter) )?for {_OTHERS}(?: to (?:answer|say|judge|decide))?
    (?:that|this|it)(?:'s| is|'d be| would be) (?:a (?:question|matter)|one) for (?:the|my|our)\
        (?: \w+)?
    (?:(?:that|this)(?: one| question)? )?i(?:'ll|'d| will| would)?(?: rather| prefer to)? leave\
        (?: (?:that|this|it)(?: one| question)?)?(?: up)? to {_OTHERS} to (?:answer|say)
    i(?:'ll|'d| will| would)?(?: rather| prefer to)? leave (?:that|this) (?:one|question)\
        (?: up)? to {_OTHERS}
    (?:don't|do not|dun|why|never)(?: you| come and)? ask me(?: about)?\
        (?: {_MATTER}(?: \w+)?)?(?: of \w+)?
""")
_KEEP = any_of(rf"""
    i(?:'d| would)?(?: like to| prefer to| rather)? keep (?:my (?:politics|religion|faith|beliefs?\
        |views?|opinions?|thoughts|vote)|{_MATTER})(?: (?:on|about) {_MATTER})? \
        (?:private|to myself|quiet|confidential)
    (?:and )?i(?: just)? (?:don't|do not|never|won't|will not|would not|wouldn't) (?:talk|speak\
        |discuss|comment|answer|share)\w*(?: about| on| of)? (?:this|that|these|those|such)\b\
        (?: (?:kinds?|sorts?) of)?(?: (?:question|topic|subject|matter|issue|thing)s?| stuff)?\
        (?: (?:with|to) (?:strangers|anyone|anybody|outsiders|others|you|people i don't know))?
    (?:it's |it is |that's )?not my place to say(?: anything)?(?: (?:on|about) {_MATTER})?
    my lips are sealed(?: on| about)? {_MATTER}
""")
ENGLISH = (
    rf"^\W*(?:{_OPENING} )*(?:{_ASK})(?:,? ?(?:{_TAIL}))*\W*$",
    rf"(?:^|[.!?;] |\A\W*(?:{_OPENING} )+){_KEEP}(?:,? ?(?:{_TAIL}|sorry))*\W*$",
    r"\b(?:must|have to|need to|will|'ll) (?:\w+ )?refrain from (?:offering|expressing|providing"
    r"|voicing|stating) (?:\w+ ){0,2}(?:views?|opinions?|answers?|judge?ments?|stances?"
    r"|positions?)\b(?! (?:at|in|to|with|when)\b)",
)
_ZH_OTHERS = (
    r"(?:我(?:的|们的?|家)?(?:先生|丈夫|老公|太太|妻子|老婆|爱人|爸妈|父母|爸爸|妈妈|父亲|母亲|儿子"
    r"|女儿|孩子|家人|老板|朋友|哥哥|姐姐)|别人|其他人|专家|牧师|神父|师父|法师|阿訇|伊玛目|政府|长辈)"
)
_ZH_THIS = r"(?:这(?:个|种|些|件)?(?:问题|事情?|话题|东西)?|此事)"
MANDARIN = (
    rf"^\W*(?:(?:{_ZH_THIS}|哎呀|抱歉|对不起|(?:别|不要)问我|不知道)[, ]*)*[你您]?"
    r"(?:还是|最好|应该|可以|得|要|不如|直接|应当)*(?:去|来)?(?:问问?|请教|咨询)(?:一下)?"
    rf"{_ZH_OTHERS}(?:去|吧|好了|嘛|啦)?\W*$",
    rf"^\W*(?:哎呀[, ]*)?(?:请?别|请?不要)问我{_ZH_THIS}?(?:了|啦|吧)?\W*$",
    r"(?:^|[,.!?] ?|我)不(?:太|大|怎么)?(?:想|愿意?|便|方便)(?:多|再|公开|跟[你您])*(?:谈|说|聊|讲)"
    rf"(?:论|什么)?{_ZH_THIS}?了?\W*$",
)
_MS_OTHERS = (
    r"(?:(?:suami|isteri|ibu bapa|ibu|bapa|ayah|mak|emak|anak|keluarga|kawan|bos|jiran|abang|kakak)"
    r"(?: \w+)? (?:saya|aku|kami)|(?:orang|mereka) (?:lain|yang (?:lebih )?(?:tahu|arif|pakar))"
    r"|pakar|imam|ustaz(?:ah)?|kerajaan|pihak berkuasa)"
)
_MS_THIS = r"(?: (?:tentang|mengenai|pasal))?(?: (?:hal|perkara|soalan|topik|soal|benda))?"
MALAY = (
    r"^\W*(?:(?:cuba|baik|lebih baik|sila|awak|anda|pergi|boleh|maaf|alamak|kena|tak tahu)[,.]? )*"
    rf"(?:tanya(?:lah|kan)?|bertanya(?:lah)?)(?: saja| sahaja)?(?: pada| kepada)? {_MS_OTHERS}"
    rf"(?:,? bukan saya)?(?:{_MS_THIS} (?:ini|itu|tu|ni))?\W*$",
    rf"^\W*(?:\w+[,.] )?(?:jangan|usah) tanya saya{_MS_THIS}(?: (?:macam|seperti))?"
    r"(?: (?:ini|itu|tu|ni))?(?: lah)?\W*$",
    r"\b(?:terpaksa|perlu|harus|mesti) menolak (?:permintaan|soalan|tugasan) (?:ini|anda|itu)\b",
    r"\b(?:tak|tidak) (?:mahu|nak|ingin) (?:cakap|bercakap|bincang|berbincang)"
    rf"{_MS_THIS}(?: (?:ini|itu|tu|ni))?\W*$",
)
TAMIL = (
    r"^\W*(?:(?:இதை|அதை|இதைப் பற்றி|நீங்கள்) )*(?!என்னிடம்|எங்களிடம்)(?:(?:என்|எங்கள்|அந்த|வேறு) )*"
    r"\S+(?:ிடம்|ிடமாவது)(?: (?:போய்|தான்))* (?:கேளுங்கள்|கேட்கவும்|கேட்க வேண்டும்|கேள்"
    r"|கேட்டுப் பாருங்கள்)\W*$",
    r"(?:^|[,.] ?)(?:(?:நான்|எனக்கு|இதை|அதை|இதைப் பற்றி) )*(?:சொல்ல|பேச|கூற)(?: எனக்கு| நான்)?"
    r" ?(?:விரும்பவில்லை|விருப்பமில்லை|விருப்பம் இல்லை)\W*$",
    r"^\W*என்னிடம் (?:இதை |இதைப் பற்றி )?கேட்காதீர்கள்\W*$",
)
SHORT = (*ENGLISH, *MANDARIN, *MALAY, *TAMIL)
IDIOM = (
    r"\b(?:can't|cannot|can not|couldn't|could not) (?:help (?:but|(?=\w+ing\b))|but (?=\w)"
    r"|(?=(?:say|stress|thank|praise|recommend|emphasi[sz]e|express"
    r"|tell (?:you|anyone))\b[^.!?\n]{0,40}\b(?:enough|how much|highly)\b)"
    r"|(?=(?:imagine|deny|complain|wait|overstate)\b))"
    r"|\b(?:won't|will not|wouldn't|would not|don't|do not|needn't|never) hesitate (?=to\b)"
    r"|\b(?:won't|will not|wouldn't|would not|can't|cannot|never) say no (?=to\b)"
    r"|\b(?:can't|cannot|won't|will not|couldn't|could not) (?=(?:answer|say|reply|respond)\b"
    r"[^.!?\n]{0,30}\b(?:anything|other|otherwise)\b[^.!?\n]{0,8}\b(?:but|than)\b)"
)
"""A denial in words alone: who cannot help but feel proud is proud."""
