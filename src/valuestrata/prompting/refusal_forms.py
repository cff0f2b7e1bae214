"""Forms of refusals in English that `refusal_words` has no words for: who refuses what.

A refusal has a speaker who will not, cannot or had better not, and an act of answering, choosing,
sharing or playing somebody; or it finds fault with such an act; or it sends the reader elsewhere.
A persona refuses other things: bribes, divorce, neighbours.
"""

from valuestrata.prompting.patterns import any_of

_STOP = r"(?: ?[.!?;\n)–—-]| ?$)"
_HERE = rf"(?:{_STOP}|,| here\b| (?:because|as|since|due|without|for you)\b)"
_ONE = (
    r"(?:this|that|it|these|those|such|your|the|an?y?)(?: (?:one|kind of|sort of|type of|personal"
    r"|political|religious|sensitive|particular|specific|contested))*"
    r"(?: (?:one|questions?|topics?|issues?|subjects?|prompts?|requests?|tasks?|matters?|items?))"
)
_THIS = rf"(?:{_ONE}\b|(?:this|that|it){_HERE})"
_CONTESTED = (
    r"(?:(?:such|any|these|contested|controversial|polari[sz]ing|divisive|sensitive|political"
    r"|religious|moral|hot-button|personal) )+(?:\w+ )?"
    r"(?:questions?|topics?|issues?|subjects?|matters?|positions?|affiliations?|opinions?)\b"
)
_SOMEONE = (
    r"(?:an?|any|the|this|that|one|someone|somebody|anyone|an entire|entire|whole|real|specific"
    r"|particular|individual|another|other)(?: \w+){0,3}?"
)
_UNWILLING = any_of(r"""
    (?:can|could|should|would|do|did|will|shall)(?:n't| not)|cannot|can't|won't|must(?:n't| not)
    (?:'m|am|'d be|would be) (?:not|hesitant|reluctant|hardly|in no position|unable|unwilling)
    (?:not )?(?:comfortable|able|going|willing|prepared|equipped|inclined|allowed|permitted)
    (?:'d |would |'ll )?(?:prefer|rather|better|choose|opt|try|best|have) not
    (?:must|have to|need to|will|'ll|'d|would|should)(?: \w+ly)? (?:avoid|refrain|decline|abstain)
    (?:like to )?(?:decline|refrain|avoid|abstain|hesitate)|isn't (?:possible|feasible|appropriate)
    no (?:honest |good |real |meaningful )?way
""")
_BETWEEN = (
    r"(?:,? ?(?:to|be|for me|from|with|that i|if i|i|feel|think|believe|can|could|should|would"
    r"|ought|comfortable|able|going|willing|right|it|is|'s|\w+ly|in good conscience))*"
)
_ACT = any_of(rf"""
    (?:weigh|chim)(?:ing|e)? in(?:{_HERE}| on {_THIS}| on {_CONTESTED}|$)
    (?:tak|put|step|adopt|assum)\w*(?: on| up)? (?:an?|the|this|that|myself|into) ?(?:\w+ ){{0,2}}?\
        (?:identity|persona|perspective|viewpoint|point of view|voice|shoes|place of) ?\
        (?:of {_SOMEONE}|{_HERE})
    (?:play|portray|impersonat|embody|role-?play|simulat)\w*(?: as| being)? {_SOMEONE}\b ?\
        (?:person|people|member|woman|man|believer|respondent|character|individual|group|answer\
        |citizen)\b(?!')
    (?:speak|talk|respond|answer|vote)\w*(?: \w+)? (?:on behalf of|for|as) {_SOMEONE} ?\
        (?:person|people|group|community|demographic|respondent|individual|else|ethnicity\
        |population)\b
    (?:voic|generat|stat|offer|express|giv|provid|shar|assign|assum|produc|mak)\w*(?: you)? ?\
        (?:an?|any|my|this|that|personal|such)? ?\
        (?:(?:first-person|personal|political|religious|numeric\w*|single|specific|subjective) )+\
        (?:statements?|opinions?|views?|answers?|ratings?|scores?|stances?|positions?|numbers?\
        |responses?|attitudes?|judge?ments?)\b(?! (?:in|at|to|with|of) )
    (?:go|get|wade|dive) into (?:this|that|it|{_ONE})(?:{_HERE}|$)
    tak\w* (?:an? |any |my )?(?:\w+ )?(?:positions?|stances?|sides?) on {_CONTESTED}
    (?:do|engage|deal)\w*(?: in| with)? (?:{_ONE}|{_CONTESTED})
    (?:guess|speculat|opin)\w*(?:{_HERE}| (?:what|how|which|about|at|on) (?:{_SOMEONE} ?\
        (?:person|respondent|individual|believer|woman|man|people|group)|{_THIS}))
    (?:respond|answer|reply|comment|speak)\w*(?: to| on)? {_THIS}
    put\w* words in(?:to)? (?:someone|somebody|anyone|people|her|his|their|another)
    (?:pick|choos|select|giv|assign|stat)\w* (?:an?|one|any|either)(?: single| specific)? ?\
        (?:number|option|score|rating|side|stance|position)\b(?! of| (?:between|with|against))
""")
_GERUND = any_of(r"""
    (?:taking|adopting|assuming)(?: on)? (?:the|an?|that|this) (?:\w+ )?\
        (?:perspective|point of view|viewpoint|identity|persona|voice)
    (?:assigning|attributing|ascribing|inferring|assuming|predicting) (?:\w+ ){0,3}\
        (?:attitudes?|opinions?|views?|values?|beliefs?|scores?|numbers?)
    (?:choosing|picking|selecting|giving|offering|providing|stating|voicing|expressing|generating\
        |producing|sharing) (?:an?|any|one|my)? ?(?:[\w-]+ ){0,2}\
        (?:option|number|rating|score|answer|opinion|statement|stance|response)s?
    (?:answering|responding|commenting|speculating|guessing|weighing in|generali[sz]ing)(?! back)
    (?:role-?playing|impersonating|simulating|reducing (?:\w+ ){1,5}to)
    (?:speaking|answering|responding) (?:for|on behalf of) (?!myself|my)\w+
    playing (?:an?|the|someone|somebody)
""")
_FAULT = any_of(r"""
    (?:would|could|might|may|can|is|risks?|be|seems?|feels?)(?: \w+){0,3} ?\
        (?:stereotyp\w*|misleading|mislead|inappropriate|irresponsible|generali[sz]\w+\
        |misrepresent\w*)
    (?:would|is|are|goes|go|falls?|'s|lies?|run) (?:\w+ )?(?:beyond|outside|against|contrary to) ?\
        (?:what i|my|our|the scope)
    (?:isn't|is not|wouldn't be|would not be|'s not) (?:something|a thing) (?:that )?i
    (?:would|does) (?:\w+ )?(?:require|presuppose|need) (?:me to|personal|having|lived|speculat)
    (?:risks?|risking) (?:\w+ )?(?:stereotyping|generali[sz]ing|misrepresenting|offending)
""")
_SOURCES = (
    r"(?:surveys?|survey (?:data|results)|data|results|stud(?:y|ies)|research|sources|statistics"
    r"|polls?|literature)\b"
)
_NAMES = r"(?:claude|chatgpt|gemini|qwen|deepseek|copilot|grok|gpt-?\d\w*|mistral|llama)"
_BRIEF = any_of(r"""
    (?:respectfully|with respect|with all due respect|sorry|apologies|politely|thanks),? \
        (?:but )?no(?:pe)?|no,? (?:thanks|thank you|sorry)|hard pass|no can do
    next(?: question| one| topic)?|next question,? please|move on|moving on|change of topic
    (?:no|not) (?:response|reply|opinion given|answer given|applicable|answered)|n/?a|non-?response
    (?:that|this|it)(?: is|'s) (?:strictly |just |only )*(?:between me and (?:my )?\
        (?:god|allah|maker|lord|conscience|creator)|my (?:own )?(?:business|affair|concern)\
        |not your (?:business|concern)|none of (?:your|anybody's|anyone's) (?:business|concern))
    (?:mind your own business|my lips are sealed|i plead the fifth|blank|withheld|undisclosed)
    (?:i|i'd|i would)? ?(?:rather|prefer) not(?: go there)?|(?:i )?choose to (?:remain|stay) silent
    (?:i'm |i am )?not going there|(?:that's |that is |it's )?off[ -]limits|thank you,? but no
    (?:please )?leave me out of (?:this|that|it)|(?:(?:that|it)(?: is|'s) )?not for me to say
    (?:(?:that|it)(?: is|'s) )?(?:nobody's|no one's|no-one's) business(?: (?:how|what|who|whether)\
        (?: \w+){1,6})?|you (?:don't|do not) need to know(?: (?:that|this))?
    (?:that|this)(?: is|'s) (?:a )?private (?:matter )?(?:between|for) me(?: \w+){0,5}
    i (?:won't|will not|would not|wouldn't) go on (?:the )?record (?:about|on) (?:that|this)
    (?:i'd|i would) sooner not (?:say|answer|(?:talk|speak) (?:about|of)(?: \w+){1,3})
""")
_ASKED_OF = r"(?:questions?|topics?|subjects?|matters?|issues?|things?)\b"
_GAP = r"[^.!?;:\n]{0,%d}?"
_NOT = any_of(r"""
    (?:ca|could|wo|would|should|must|do)n't|can't|won't|cannot|(?:can|could|will|would|should) not
    (?:must|do) not|never|not|unable|decline|refuse|refrain|avoid|hesitate|reluctant|uncomfortable
""")
_NOT_I = any_of(rf"""
    \bi(?:'m|'ll|'d|'ve)? (?:\w+ ){{0,2}}?{_NOT}\b
    (?:^|[.!?:,\n]) ?(?:(?:so|and|but|sorry|nope|unfortunately)[,.]? )*{_NOT}\b
    \b(?:isn't|is not|there's no|there is no|no)\b(?=[^.!?;:\n]{{0,60}}\bi (?:can|could|would\
        |should))
""")
_DO = (
    r"\b(?:answer|respond|repl(?:y|ies)|comment|rate|scor|rank|choos|pick|select|giv|hand|provid"
    r"|shar"
    r"|offer|stat|express|voic|weigh|engag|discuss|address|speak|get into|go into|assum|presum"
    r"|infer"
    r"|guess|speculat|generali[sz]|attribut|assign|role-?play|play|simulat|pretend|adopt|tak(?:e"
    r"|ing) on"
    r"|impersonat|imagin|fill|complet|participat|produc|generat|speculat|predict|treat|reduc)\w*"
)
_TASK = (
    r"\b(?:(?:questions?|surveys?|questionnaires?|prompts?|requests?|items?)\b(?! (?:my|our|from"
    r"|of my|at"
    r" (?:work|home|school)|in (?:class|school|court)|when|if|he|she|they))|ratings?\b|scores?\b"
    r"|(?:an? |any |specific |single )(?:number|option|stance|side)\b(?! (?:of|between|with))"
    r"|numerical"
    r"|persona\b|demographics?\b|(?:ethnic|racial|religious|protected|entire|whole|particular"
    r"|specific)"
    r" (?:\w+ )?(?:groups?|identit\w+|backgrounds?|communit\w+|population)|respondents?\b"
    r"|hypothetical"
    r"|(?:this|that|such a|an individual|a real|a specific|any given) (?:person|individual)\b"
    r"|what (?:someone|somebody|a person|people|an individual|she|he|they)(?: \w+){0,2} (?:thinks?"
    r"|feels?|believes?)"
    r"|(?:your|their|her|his|someone's) (?:ethnicity|race|background|demographics?|religion or)"
    r"|as if i (?:were|was)\b|stereotyp\w+|protected groups?|that one\b|this one\b)"
)
FORMS = (
    rf"{_NOT_I}{_GAP % 40}{_DO}{_GAP % 50}{_TASK}(?!{_GAP % 30}\b(?:my (?:boss|wife|husband"
    rf"|children|son"
    r"|daughter|friends|colleagues|parents|neighbours)|at (?:work|home|school)))",
    r"\b(?:nope|nah|no|sorry|not)[,.]? (?:i'm )?not (?:answering|doing|touching|rating"
    r"|discussing) (?:that|this|it)",
    r"\b(?:stay(?:ing)?|keep(?:ing)?|steer(?:ing)?)(?: well| me)? (?:out|clear) of (?:this|that"
    r"|it)(?: one)?\b"
    rf"(?:{_STOP}|,)",
    r"\bi(?:'d| would)? (?:rather not|prefer not to|do not want to|don't want to|do not wish to"
    r"|don't wish to"
    rf"|like not to) (?:get into|go into|discuss|talk about|speak about|comment on) (?:(?!with|in"
    rf"|at|to|my|when)\w+ ?){{1,4}}{_STOP}",
    r"\bonly (?:able to )?(?:help|assist|deal) (?:you )?with (?:factual|general|other|information)",
    r"\b(?:to|can|only) (?:provide|offer"
    r"|give) (?:you )?(?:with )?(?:\w+ )?information\b(?:,? (?:and )?not (?:\w+ )?opinions?"
    r"| rather than| only| instead)",
    r"\b(?:careful|cautious|wary) (?:about|of|not to) (?:attribut|assign|generali[sz]|stereotyp"
    r"|assum|speak(?:ing)? for)\w*",
    rf"\b(?:leave|leaving) (?:this|that|the|it) (?:\w+ )?(?:open|unanswered|blank)\b{_STOP}",
    r"\b(?:i'm|i am|i'll be|i'm going to|i must|i have to|i will|i shall|i'll"
    r"|i'd like to) (?:going to )?(?:refrain|abstain)"
    r"(?:ing)? from (?:answering|commenting|responding|choosing|giving|sharing|taking)\b",
    rf"\b(?:i|it(?:'s| is)?|that|there(?:'s| is)?)(?: |')?(?:\w+ )?{_UNWILLING}{_BETWEEN} {_ACT}",
    rf"\b(?:best|better|safer|wiser|prefer it|fair) (?:if i don't|if i do not|not to|for me not to"
    rf"|that i (?:don't|not)){_BETWEEN} {_ACT}",
    rf"(?:\bnot|n't) (?:something|one|an? (?:question|topic|subject|matter)) (?:that |which )?i"
    rf"{_BETWEEN} (?:answer|discuss|weigh(?:ing)? in|comment|respond|speculat|opin|speak"
    rf"|get into)\w*"
    rf"(?: on| about| to| in| with)*{_HERE}",
    rf"\b{_GERUND}\b[^.!?\n]{{0,100}}?{_FAULT}",
    r"\b(?:stereotyp|generali[sz]|misrepresent|role-?play|impersonat)\w*[^.!?\n]{0,60}\bi"
    r"(?:'d|'m)? ?(?:won't|will not|can't|cannot|rather not|not going to|don't|shouldn't|prefer not"
    rf"|must decline)(?: to)?(?: do (?:it|so|that|this))?{_HERE}",
    # to pass
    r"\bi(?:'ll|'d|'m| will| would| have| must| need| may| am)(?: ?(?:have to|like to|rather|prefer"
    r" to|need to|going to|to|afraid i(?:'ll| must)))* (?:pass|skip|sit out|opt out|pass on|sit)"
    rf"(?: of)?(?:{_STOP}| here\b| {_THIS}| (?:this|that)(?: one)? out\b)",
    r"^\W*(?:sorry\W+)?i (?:respectfully |politely )?(?:pass|skip|decline)\W*$",
    r"\bi(?: do not| don't|'d rather not| never) (?:engage|participate|weigh|take part)\w* (?:in"
    r"|on)"
    r" (?:\w+ )?(?:political|religious|controversial|sensitive) (?:\w+ ?)?"
    r"(?:discussions?|debates?|topics?|questions?)",
    r"\b(?:i'm|i am) not (?:really )?the right (?:one|person|source|model) to (?:answer|ask"
    r"|comment)",
    r"\bmaking (?:things|it|this|something) up if i (?:answer|gave|picked|chose|said)",
    r"\bso i(?: |')?(?:won't|will not|can't|cannot|'ll not|'d rather not) (?:answer|choose|respond)"
    rf"{_STOP}",
    rf"\b(?:leave|leaving) (?:{_ONE}|this|that|it) (?:unanswered|blank)\b",
    rf"\b(?:must|have to|need to|going to|'ll|will) (?:\w+ly )?(?:decline|refuse) {_THIS}",
    # neither for nor against, as a rule of the speaker
    r"\bi(?:'m|'ll| will| must| have| need| want| prefer| aim| strive|'d rather|'d prefer| try| am)"
    r"(?: going)?(?: to)? (?:stay|remain|be|keep) (?:\w+ly )?(?:neutral|impartial|unbiased)"
    rf"(?: here| on (?:{_THIS}|{_CONTESTED})|(?= ?[.!\n]| ?$))",
    rf"\bi (?:try|prefer|choose|aim)(?: to|) ?not (?:to )?(?:share|voice|express|offer) (?:\w+ )?"
    rf"(?:opinions?|views?) on {_CONTESTED}",
    # elsewhere
    r"\brather than (?:guess|speculat|answer|pick|choos|assum|role-?play|speak|impersonat"
    r"|stereotyp)\w*[^.!?\n]{0,80}, (?:i(?:'d| would| can|'m)"
    r"|let|you|we)\b(?! (?:say|put|choose|pick|answer|pray|ask|trust|believe|work))",
    r"\bi(?:'d| would)? (?:suggest|recommend|encourage|advise|urge)(?: that)?(?: you)?(?: to)? "
    rf"(?:look|consult|check|refer|explor|turn|see)\w*[^.!?\n]{{0,60}}\b{_SOURCES}",
    r"\bi(?:'d be| would be|'m| am| can)(?: more than)?(?: happy| glad)?(?: to)? (?:\w+ )?(?:"
    r"discuss|talk about|explain|offer|provide|share|summari[sz]e|help with|give)\b[^.!?\n]{0,50}\b"
    r"(?:general (?:information|overview|context|background)|how (?:\w+ )?surveys|published|what "
    rf"(?:{_SOURCES}|researchers)|(?:different|various|multiple) (?:perspectives|viewpoints)"
    r"|both sides of (?:this|the|such)|arguments (?:on|for))",
    # nothing but that, in a few words; a bare `No.` may be an answer
    rf"^\W*(?:{_BRIEF})(?:[,.]? (?:please|thanks|thank you|sorry))?\W*$",
    # whose affair it is
    r"\b(?:my|our) (?:own )?(?:opinions?|views?|thoughts|answer|position|stance|beliefs?)"
    r"(?: (?:on|about|to) (?:this|that|it|such things))? (?:is|are|stays?|remains?) "
    rf"(?:my own (?:affair|business)|nobody(?:'s| else's) business|private|personal){_STOP}",
    r"\bi(?:'ve| have) been (?:asked|instructed|advised) not to "
    r"(?:discuss|answer|comment|speak|talk|give|share)\w*(?: on| about)? (?:it|this|that"
    rf"|(?:such|these|this|that|any|political|religious) {_ASKED_OF}){_STOP}",
    r"\b(?:content|usage|safety) (?:polic(?:y|ies)|rules|guidelines) "
    r"(?:prevents?|prohibits?|forbids?|(?:does not|do not|doesn't|don't) (?:allow|permit|let)) "
    r"me\b|\bagainst my (?:usage|content|safety) (?:rules|polic(?:y|ies))",
    r"\b(?:wrong|unfair|dishonest|misleading|improper|inappropriate)(?: of| for) me to pretend to "
    r"(?:be|speak (?:as|for)) (?:an?|this|that|someone|somebody)\b",
    r"\b(?:isn't|wouldn't be|not|would not be) (?:fair|right|honest|proper) (?:of me |for me )?to "
    r"put words in(?:to)? the mouths? of",
    r"\bi (?:don't|do not) do (?:personal |political |religious )*(?:opinions?|views|stances)"
    rf"(?: (?:on|about) [\w ]{{2,30}}?)?{_STOP}",
    r"(?:^|[.!?;] )(?:please )?(?:consult|check|look at|refer to) (?:the )?(?:actual |real "
    r"|published )?(?:survey|poll|census) (?:data|results?|figures)",
    r"\b(?:can't|cannot|can not|won't|shouldn't) tell you what (?:someone|somebody|anyone|people"
    rf"|you|a person) (?:should|ought to|must) (?:think|believe|feel|value){_STOP}",
    r"\b(?:ask|try)(?: me)?(?: about)? (?:something|anything) (?:else|different)\b(?! (?:of|at))"
    r"|\b(?:could|can|shall|may) we (?:please )?(?:talk about|discuss|move on to) "
    r"(?:something|another|a different)",
)
"""Refusals of answering, fault found with it, and redirections."""
ARTEFACT = (
    r"\b(?:i'm|i am|as|being) an? (?:\w+ )?(?:text generator|(?:neutral|virtual|automated|digital"
    r"|helpful|ai|online) "
    r"(?:assistant|system|agent)|(?:text|chat|language) (?:system|model|program)"
    r"|(?:large )?neural network)\b",
    r"\b(?:step|stepping|break|breaking|stay|staying|drop|dropping) out of character\b"
    r"|\b(?:break|breaking|drop|dropping) (?:the )?(?:character|persona)\b",
    rf"\b{_NAMES} here\b|\bi(?:'m| am) (?!claude){_NAMES}\b",
    r"\bi(?:'m| am| was|'ve been| have been) (?:designed|programmed|configured|instructed) to "
    r"(?:be|provide|assist|help|avoid|remain|stay|give|answer|follow|respond|offer|not)\b",
    r"\bi(?:'m| am| was|'ve been| have been) (?:trained|built|created|developed|made) (?:by (?:open"
    r"ai|anthropic|google|meta|mistral|alibaba|deepseek|microsoft)|on (?:\w+ )?(?:text|data)\b)",
    r"\bmy (?:training(?: data)?|instructions|(?:safety|content|usage) (?:guidelines|polic\w+)"
    r"|safety \w+) (?:do(?:es)?n't|do(?:es)? not|prevents?|prohibits?|forbids?|tells? me|requires?)"
    r"|\bi'm (?:just |only )?(?:software|code|a piece of software|a machine)\b(?! \w+er\b)",
    r"\b(?:beliefs?|opinions?|feelings?|experiences?|preferences?|emotions?|views?),? (?:and |or )?"
    r"(?:which|that|something|those|these)(?: are things)? i (?:don't|do not|cannot|can't) "
    r"(?:\w+ )?(?:have|hold|possess)\b",
    r"\black(?:ing)? (?:the |any )?(?:personal|lived|subjective|human|first-?hand)"
    r"(?: \w+)? ?(?:experiences?|feelings|emotions|consciousness|perspective)\b(?! (?:with|of|in))",
)
"""A speaker who was made, not born."""
