r"""The words of answers in the languages of prompting/templates, as parts of patterns.

English, Mandarin, Malay (with its Indonesian neighbours) and Tamil; a reply may be in any of them,
whatever the prompt's language. They meet text in one form (prompting/plain_text.py), so that there
are only ASCII digits and signs. `\b` ends no Tamil word: its vowel signs are no letters to `re`.
"""

from valuestrata.prompting.patterns import any_of

_COUNTED = (
    "zero one two three four five six seven eight nine ten",
    "kosong satu dua tiga empat lima enam tujuh lapan sembilan sepuluh",
    "〇 一 二 三 四 五 六 七 八 九 十",
    "பூஜ்யம் ஒன்று இரண்டு மூன்று நான்கு ஐந்து ஆறு ஏழு எட்டு ஒன்பது பத்து",
)
NUMBER_WORDS = {word: n for words in _COUNTED for n, word in enumerate(words.split())}
ROMAN = {"II": 2, "III": 3, "IV": 4, "VI": 6, "VII": 7, "VIII": 8, "IX": 9}
"""Roman numerals that are not a letter or a word as well."""

# ---- what announces a code

_MODIFIERS = any_of("""
    my|the|this|that|his|her|their|own
    final|best|correct|right|chosen|selected|closest|single|direct|overall|personal|survey
    most|more|likely|appropriate|suitable|accurate|honest|short|brief|fitting|reasonable
    numeric|numerical|representative|truthful|straightforward
    (?:person|respondent|individual|participant|character)'s
""")
_NOUNS = any_of("""
    answer|ans|response|choice|selection|pick|rating|score|reply|vote|decision|conclusion
    result|output|solution|option|number|code|value|answer choice|position on the scale
""")
_TOPIC = any_of("""
    question|survey|statement|item|scale|person|persona|respondent|issue|questionnaire|one
""")
_ABOUT = r"(?: ?[(\[][^()\[\]\n]{1,40}[)\]])?(?:,? " + any_of(rf"""
    (?:to|for|on|about|of|from) (?:the|this|that|your)(?: [a-z]+){{0,3}}? {_TOPIC}(?: \d+)?
    (?:to|for) (?:question|item) \d+
    (?:here|in this case|overall|would therefore)
    (?:as|for|from the perspective of|based on|given|considering) @SOMEONE{{1,80}}?
    (?:that|which) (?:best |most closely )?(?:fits|applies|matches)
    closest to (?:my|this|the) [a-z]+
    (?:that|which) (?:(?:best|most closely) )?[a-z]+ (?:me|my|this|the|what)(?: [a-z']+){{0,3}}
    (?:that |which )?i(?:'d| would| will|'ll)? (?:choose|select|pick|give|go with|make)
""").replace("@SOMEONE", r"(?:\d[\d-]*[- ]years?[- ]old|[^\d.:;!?\n])") + ")?"  # fmt: skip
_COPULA = any_of(r"""
    [ ]?[)\]"']* ?[:=](?! ?[=>])
    [ ]?[)\]"']* ?[-–](?= )|[ ]?(?:=>|->|→|;)
    [ ](?:is|would be|should be|will be|must be|would have to be|is going to be|remains)\b ?[:=]?
    's\b
""")
_MALAY_OF = any_of("""
    saya|akhir|terakhir|beliau|dia|orang ini
    yang (?:paling )?(?:betul|tepat|sesuai|dipilih)|yang saya pilih
    (?:bagi|untuk|kepada) soalan ini
""")
_TAMIL_NAMES = any_of("""
    பதில்|விடை|தேர்வு|தெரிவு|மதிப்பெண்|விருப்பம்|தேர்ந்தெடுப்பது
""")
NOUN_KEYS = (
    rf"(?<![\w-])(?<!\w')(?:{_MODIFIERS} ){{0,6}}{_NOUNS}\b{_ABOUT}{_COPULA}",
    r"^a ?:",
    rf"\b(?:jawapan|jawaban|pilihan|skor|penilaian|respons)(?:nya)?(?: {_MALAY_OF}){{0,3}}"
    r"(?: ?[)\]\"']* ?(?:[:=]|-(?= ))| (?:ialah|adalah|iaitu|yaitu)\b ?:?| (?=\d+\W*$))",
    r"(?:我的|我|最终的?|正确的?|最佳|最后的?)*(?:答案|回答|选择|选项|评分|打分|答复|回复|答)"
    r"(?:\([^()\n]{1,20}\))?(?:[ )\]\"']*[:=]|应?该?[是为]|(?<=\(答案)\))[: ]*",
    rf"(?:என்னுடைய |எனது |என் |இறுதி )*{_TAMIL_NAMES}"
    r"(?:[ )\]\"']*(?:[:=]|-(?= ))| (?:என்பது|எண்)|(?= \d+(?: ஆகும்)?\W*$))",
)
"""An answer's name with its copula. A code must follow; another number is no answer at all."""
BEFORE_NOUN = r"(?:^|[^\w\s]|[\u0b80-\u0bff\u4e00-\u9fff]|\b{})\s*$".format(any_of("""
    so|thus|therefore|hence|and|that|is|be|as|with|think|believe|feel|guess|say|here|here's|means
    because|since|then|now|but|yet|me|follows|considered|case|question|person|would|answer
    maka|jadi|dan|itu|ini|bahawa
"""))  # fmt: skip
"""What may stand before an answer's name: not `no`, `another`, `the wrong`, `refuse to`."""

_SUBJECT = any_of(r"""
    i|we|(?:he|she|they)(?= (?:would|will)\b|'d\b|'ll\b)
    (?:this|the|that|such a) (?:person|respondent|individual|participant|character)(?: described)?
    (?:this|the) (?:\d[\w-]* )?(?:\w+ )?(?:woman|man|lady|resident|citizen)
    an? \d[\d-]*[- ]years?[- ]old (?:[\w-]+ ){0,4}?(?:person|woman|man|lady|resident|citizen)
    an? (?:[\w-]+ ){0,4}?(?:person|woman|man|lady|resident|citizen) aged \d\d[\d-]*
    (?:someone|somebody|a person) (?:like|with|in|of) (?:me|this|that|my|these|such)(?: \w+)?
""")
_AUXILIARIES = r"(?:(?: (?:{})|'d|'ll|'ve|'m (?:going|inclined) to))*".format(any_of("""
    would|will|must|should|shall|can|do|am going to|have to|has to|had to|like to|want to|need to
    am inclined to
    probably|likely|most likely|definitely|personally|honestly|therefore|certainly|rather|simply
    just|then|thus|still|tend to|most|generally|typically|strongly|hence|confidently|also have to
"""))  # fmt: skip
_COMPLEMENTS = r"(?: {}\b)*".format(any_of("""
    (?:this|the|that) (?:question|statement|item)
    it's|it is|would be|to be|by saying
    with|for|that|it|this|myself|as|at|is|an?|the|of
    answer|response|rating|score|value|number|option|choice|code|selection
    solid|firm|strong
"""))  # fmt: skip
_I_WOULD = rf"(?<![\w']){_SUBJECT}{_AUXILIARIES}"
_GUESSES = any_of("""
    i think|i believe|i feel|i guess|i'd guess|that would be|that's|it would be|it's an?
    i(?:'m| am) (?:choosing|selecting|picking|answering|going for)
    i(?:'ve| have) (?:chosen|selected|picked|decided on|gone with|settled on)
    for me,? it(?:'s| is| would be)|if you ask me,? it's
    i'm going with|i am going with|going with|choosing|selecting|let's say|let's go with
""")
VERB_KEYS = (
    rf"{_I_WOULD} (?:choose|chose|select|selected|pick|picked|say|answer|respond|reply|go|went|opt"
    r"|opted|rate|rated|give|gave|vote|put|place|rank|score|mark|tick|circle|settle on"
    rf"|lean towards?|assign)\b{_COMPLEMENTS} ?[:,]?",
    rf"{_I_WOULD} (?:rate|rated|score|rank|place|put|give|assign)\b [^\d.;:!?\n]{{1,90}}?"
    r" (?:as|at|an?|with|on)(?: an?)?(?: (?:option|number|rating of|score of))?",
    rf"{_I_WOULD} (?:rate|score|rank) (?:[a-z']+ ){{1,5}}(?=\d)",
    rf"{_I_WOULD} (?:say|answer|respond|rate|consider|state)\b[^\d.;:!?\n]{{1,120}}? ?"
    r"(?=\(\d+\)[.!]?$)",
    rf"(?:^|[,.;:] ?){_GUESSES}(?: it's| it is| that)*(?: an?| option| number)*",
    r"\b(?:saya|aku|dia|beliau|orang ini|kami)"
    r"(?: (?:akan|ingin|mahu|mungkin akan|lebih suka|telah))*"
    r" (?:rasa|memilih|pilih|menjawab|jawab|beri(?:kan)?|memberi(?:kan)?|bagi|undi)"
    r"(?: (?:untuk|pilihan|nombor|jawapan|angka|skor|markah|opsyen|dengan|nilai|pada))* ?:?",
    r"(?:我|他|她|本人|我们|这个人)(?:个人|会|想|将|愿意|应该会?|更|倾向于|就|要|还是会)*"
    r"(?:选择|选|给出|给|打|评为|评|回答|填|投|认为是|觉得是)(?:了|它|的是|数字|选项|答案|是|为)*"
    r"[:, \"'(]*",
    r"(?:^|[,.;: ])(?:因此|所以|故)?(?:选择|就选|选)(?:了|数字|选项|答案)?[:, \"'(]*",
)
"""A choice by its verb. Where no code follows, it speaks of something else."""

CODE_NOUN = any_of(r"""
    option|choice|number|answer|ans\b|response|rating|score|code
    pilihan|nombor|opsyen|jawapan|angka|选项|答案|数字|选择|选|பதில்|விருப்பம்|எண்|விடை|தேர்வு
""")
"""`option` in `Option 3`."""
_FILLERS = any_of(r"""
    (?:definitely|clearly|simply|certainly|probably|likely|most likely|therefore|thus)\b
    (?:option|number|choice|code|answer|rating|score|selection|value|selected)\b
    (?:an?|the|of|with|that|solid|firm|strong)\b
    (?:i would|i'd|i) (?:say|choose|select|pick|go with)\b
    (?:pilihan|nombor|angka|opsyen)\b
""")
FILLER = rf"(?:→|->|=>|[\s\"'(\[{{:=]|#(?=\d)|{_FILLERS}(?![-'])|选项|数字|选择|விருப்பம்|எண்|தேர்வு)*"
"""What may lie between a key and its code."""
AFFIRMED = any_of(r"""
    [ ](?:is|would be|it is) (?:my|the|this person's)@BEST (?:answer|choice|option)@END
    [ ](?:is|would be|it is) (?:my|the|this person's)@BEST (?:response|pick|rating|selection)@END
    [ ](?:seems|feels|sounds) (?:about )?(?:right|best|fitting|appropriate)\b
    (?: best| most closely)? (?:describes|represents|reflects|fits|matches|captures)\b
""").replace("@BEST", rf"(?: {_MODIFIERS})*").replace(
    "@END", r"(?= ?(?:[.!,;]|$)| (?:for|in|because|since|as|here|to (?:me|this|the question))\b)"
)  # fmt: skip
"""What may follow a code that opens a line: `3 is my answer`."""
_TAMIL_CHOOSE = any_of("""
    தேர்ந்தெடுக்கிறேன்|தேர்ந்தெடுப்பேன்|தேர்ந்தெடுத்தேன்|தேர்ந்தெடுக்கிறார்
    தேர்வு ?செய்கிறேன்|தேர்வு ?செய்வேன்|தேர்வு ?செய்தேன்|தெரிவு ?செய்கிறேன்
    என்று (?:பதிலளிப்பேன்|பதிலளிக்கிறேன்|கூறுவேன்|சொல்வேன்)
""")
TAMIL_CHOICE = (
    r"(?:^|[,.] ?)(?:எனவே,? |ஆகவே,? )?(?:நான் |நாங்கள் |அவர் )?"
    r"(?:விருப்பம் |எண் |பதில் |தேர்வு )?(?P<code>\d+)"
    r" ?-?(?:ஐ(?:த்)?|யை| ?என்பதை(?:த்)?| என்ற (?:எண்ணை|விருப்பத்தை|பதிலை)(?:த்)?)? ?(?:தான் )?"
    + _TAMIL_CHOOSE
)
"""A choice in Tamil, whose verb comes after the code."""

# ---- how a reply opens

BULLET = r"(?:(?:=>|->|→) +|[-*•·▪◦‣+] +|#{1,6} +|\|)*"
SPEAKER = (
    r"(?:(?:assistant|respondent|persona|person|ai|bot|me|model|participant|interviewee) ?: ?)?"
)
_LEADS = any_of("""
    sure(?: thing)?|ok(?:ay)?|yes|certainly|of course|absolutely|great|alright|all right|well|so
    therefore|thus|hence|definitely|probably|hm+|uh|oh|understood|got it|without a doubt|no doubt
    好的?|当然|可以|所以|因此|嗯|baik(?:lah)?|ya|sudah tentu|jadi|oleh itu|சரி|எனவே|ஆம்
""")
_SURELY = "(?:(?:definitely|probably|most likely|certainly|clearly|simply|an?) )?"
LEAD_IN = rf"(?:{_LEADS} ?[,!.:–-]+ ?)*{_SURELY}"
"""What a reply may say before a bare code."""

# ---- what turns a code down

OR = any_of("""
    or|and|nor|to|through|thru|until|vs|versus|atau|dan|hingga|sampai|ke|serta
    或者?|和|到|至|还是|与|及|அல்லது|மற்றும்|முதல்
""")
NEGATED = any_of(r"""
    \b(?:not|never|no|nor|neither|cannot|without|refuse|decline|hardly|wrong|incorrect|false)\b
    \b(?:doubt|nobody|none|avoid|unable|tidak|tak|bukan|bukannya|jangan|enggan|mustahil)\b|n't\b
    不(?!过|仅|只|但|管|论)|没(?!关系)|无法|非(?!常)|别(?!人)|拒|இல்லை|அல்ல|முடியாது|மாட்டே|மறு|வேண்டாம்
""")
"""A negation in the clause of the key."""
QUOTED = any_of(r"""
    \b(?:examples?|e\.g|for instance|such as|template|sample|hypothetical\w*)\b
    \b(?:formats?|in the form)\b(?! (?:that )?(?:you|requested|asked))
    \b(?:you (?:said|asked|wrote|want(?:ed)?|told)|ask(?:ed)? (?:me )?to|instruct\w*|suppos\w+)\b
    \b(?:were i|had (?:i|you)|imagine|pretend\w*|assum(?:e|ing)|what if)\b
    \b(?:unless|initially|at first|originally|previously|earlier|last (?:year|time|week|month))\b
    \b(?:used to|years ago|in the past|when i was|before|yesterday|number of|if @NOT_FORCED)\b
    \b(?:contoh\w*|misal\w*|kalau|jika|andai\w*|dahulu|dulu|sebelum ini|bilangan)\b
    例如|比如|格式|如果(?!我是|必须|要我|让我|我必须|一定要)|假如|要是|以前|之前|曾经|உதாரண|எடுத்துக்காட்டு|வடிவ|முன்பு|முன்னர்
""").replace("@NOT_FORCED", r"(?!(?:i|one|we|you)?(?: |')?(?:{})\b)".format(any_of("""
    forced|asked|pressed|required|(?:am|m|being) honest|you ask me
    i (?:had|have|must)|(?:had|have|d have) to|must
    (?:am|was|were|m) (?:forced|asked|pressed|required|to|this|that|in)
""")) + r"\w*")  # fmt: skip
"""Another time, an example or a condition before the code."""
OTHERS = any_of(r"""
    \b(?:some|others|most people|many|people|everyone|everybody|orang lain|ramai)\b
    \b(?:my|his|her|the) @RELATIVES(?: \w+)?(?: would| will|'d| says?| said| thinks?| told|'s)
    \b(?:suami|isteri|bapa|ibu|kawan) saya\b
    (?:妻子|丈夫|父亲|母亲|妈妈|爸爸|朋友|别人|有人|大家|人们|年轻人)[^,.]{0,6}(?:会|说|选|认为|觉得|答案)
    சிலர்|பலர்|(?:மனைவி|கணவர்|நண்பர்|தாய்|தந்தை)[^,.]{0,40}(?:ார்|ாள்|கூற|சொல்)
""").replace("@RELATIVES", any_of("""
    wife|husband|father|mother|mum|mom|dad|parents?|friends?|son|daughter|brother|sister|boss
    neighbou?rs?|colleagues?|government|family|imam|priest|pastor|doctor|teacher
"""))  # fmt: skip
"""Another person before the code, in the same clause where the writer speaks of themselves."""
CHANGE = any_of(r"""
    (?<!to )(?<!can't )(?<!i )\bwait\b ?[,.!?:;…–-]|\bwait,? (?:no|actually|that)\b|\bno,? wait\b
    \bhold on\b|\b(?:scratch|strike) that\b|\bon second thoughts?\b|\bcorrection ?[:,–.-]
    \blet me (?:reconsider|correct|change|revise|re-?think|re-?phrase|re-?do)\b|\bthinking again\b
    \b(?:chang|revis|correct|updat)(?:e|ed|ing)? my (?:mind|answer|response|choice|selection)\b
    \bi take (?:that|it) back\b|\bi meant\b|\bmy mistake\b|\bmade a mistake\b|\boops\b|\btypo\b
    \bi misread\b|\bmake (?:that|it) (?:an? )?\d|\bactually,? no\b|\bno,? actually\b
    \b(?:disregard|ignore) (?:that|the above|my|the previous)\b|\bnever ?mind\b
    \b(?:up)?on reflection\b|\bthen again\b|[.!?,] ?no[,.!] (?:it's|it is|i|that|the|rather|\d)
    (?:^|[,.;!? ])(?:等等|等一下|等下|不对|不,|哦不|啊不)
    更正|改为|改成|说错|重新考虑|我改|收回|纠正|搞错|我的意思是
    抱歉, ?(?:是|应该)|其实(?:应该)?是 ?\d|不是, ?是
    \btunggu\b ?(?:[,.!:–-]|dulu|sebentar)|\beh\b|\b(?:ter)?silap\b|\bralat\b|\bpembetulan\b
    \b(?:ubah|tukar|menukar|mengubah) (?:jawapan|fikiran|pilihan|kepada)|\bmaksud saya\b|\bbukan,[ ]
    \bsebenarnya,? (?:bukan|tidak|\d)|\btarik balik\b|\bnanti dulu\b|\btidak, (?=\d)
    பொறுங்கள்|காத்திருங்கள்|திருத்தம்|தவறு(?:தலாக)? சொல்|தவறாக (?:சொல்|கூறி)
    மாற்றிக் ?கொள்கிறேன்|மாற்றுகிறேன்
    (?:^|[.,!] ?)இல்லை[ ,.]|மன்னிக்கவும்,? (?:என் |எனது )?(?:பதில்|விடை|அது|\d)|உண்மையில்,? \d
""")
"""A change of mind: what came before no longer stands."""
WEAK = any_of(r"""
    \b(?:actually|rather|instead|sorry|i mean|no|also|alternatively|alternative|maybe|perhaps)\b
    \b(?:possibly|or|either|though|could|might|may|between|closer|hmm+|well|equally|but|better|too)\b
    \b(?:juga|mungkin|sebenarnya|atau|bukan|sebaliknya|barangkali|tetapi)\b
    或|也|还是|其实|可能|也许|应该|但|அல்லது|கூட|உண்மையில்|ஒருவேளை|ஆனால்|இல்லை
""")
"""Words that make another answer out of another number."""
HEDGED = any_of(r"""
    (?:or|and/or|maybe|perhaps|possibly|either|sometimes|leaning|almost)\b
    (?:the number of|give or take|plus or minus|ish|at (?:most|least|best)|depending)\b
    (?:atau|mungkin|barangkali)\b
    或|还是|可能|也许|不对|不是|左右|以上|以下|அல்லது|ஒருவேளை|(?:no|not)\W*$
""")
"""What may not follow a code, right after it."""
GOES_ON = any_of(r"""
    [ ](?:because|since|given|considering|please|based on|due to|kerana|sebab|sebagai)\b
    [ ]as (?!well|much|opposed|many|long|far|soon|often)
    [ ]for (?:me|this|the|my)\b|[ ]on (?:the|a|this|that) (?:[\w-]+ )?scale\b
    [ ]in my (?:opinion|view|case)\b|[ ]if i (?:had|have) to\b
    [ ]i (?:think|guess|believe|would say|suppose)\b
    [ ]which (?:means|is|indicates|represents|corresponds)\b
    [ ](?:meaning|indicating|representing)\b
    [ ]to (?:represent|indicate|reflect|express|show)\b
    [ ](?:bagi saya|pada skala|untuk soalan ini|iaitu)\b
    [ ](?:of course|for sure|definitely|certainly)\b
    [ ]?(?:因为|由于|吧|ஆகும்|ஏனெனில்|ஏனென்றால்)
""")
"""What may follow a code without a sign between them."""
COUNTS = r" ?-?(?!{})[^\W\d_]".format(any_of(r"""
    (?:is|was|are|would|could|might|may|as|too|also|instead|or|and|but|because|if|for|perhaps)\b
    (?:maybe|seems?|feels?|sounds?|works|fits|to|on|in|at|depending|rather|than|then|though)\b
    (?:does|do|has|have|can|will|should|must|looks?|were|be|when|where|while|so|not|nor)\b
    (?:my|your|his|her|their|our|the|an?|this|these|those)\b
    (?:that|it|atau|juga|kerana|pun|dan|lebih)\b|[也更或才都可是和到至还吧,]|比较|கூட|அல்லது|ஆக|முதல்
"""))  # fmt: skip
"""What follows a number that counts something: `2 children`, and not `2 is`."""
NUMBERED = r"\b(?:question|q|item|part|step|reason|point|statement) ?#?\d+\b"
"""A number that names a question and no option."""
SCALE_HEAD = r"\b" + any_of("""
    (?:on )?(?:an? |the )?scale|from|between|range|ranging|out of|of|with|where
    dari(?:pada)?|skala|antara|从|介于|为
""")
SCALE_TO = "(?:to|-|–|~|and|through|until|至|到|hingga|sampai|ke|முதல்)"
SCALE_MEANS = "(?:=|is|being|means|meaning|represents|representing)"
"""`scale`, `to` and `means` in `on a scale where 1 means never and 10 means always`."""
