"""The rules of the prompt-injection detector: a table of RE2 patterns by category, one phrase family each.

They read folded text: lower case, no accents, Latin look-alikes, single spaces. Rules of scripts other than Latin
read plain text. Precision before recall: a rule names both the act and its object, because people ask about
instructions, rules and prompts all day.
"""

# ruff: noqa: RUF001 - typographic quotes in patterns
from __future__ import annotations

from sidecar.checks.detectors import injection_rules_settings
from sidecar.checks.detectors.injection_rules_languages import MULTILINGUAL, OTHER_SCRIPTS

_GAP = r"(?:[\w'’/-]+[,:]? ){0,3}"
_ALL = r"(?:(?:all|any|every|each|of|the|your|my|our|these|those|this|that|its|whatever|literally|completely) ){0,4}"
_IGNORE = (
    r"(?:ignor(?:e|ing)|disregard(?:ing)?|forget(?:ting)?|neglect|overlook|pay no (?:attention|mind|heed) to|do not (?:follow|obey|heed)"
    r"|don'?t (?:follow|obey|heed)|stop (?:following|obeying)|set aside|put aside|abandon|discard|dismiss|override|overrule|nullify)"
)
_ESCAPE = (
    r"(?:bypass|circumvent|overrid(?:e|ing)|overrule|discard|disable|deactivate|turn off|switch off|violate|suspend|abandon|evade|remove|drop|lift"
    r"|(?:move|go|step|act|operate|think) (?:beyond|outside(?: of)?)|break (?:free )?(?:out )?(?:of|from)|break|escape(?: from)?|shed|defy|relinquish|pause|transcend|relax|loosen|unlock|ignore|disregard|forget)"
)
_BEFORE = (
    r"(?:previous(?:ly)?|prior|above(?:-mentioned)?|aforementioned|earlier|preceding|foregoing|initial|original|past|former|existing|system|developer"
    r"|pre-?(?:set|defined|programmed|existing)|last|older|safety|ethical)"
)
_ORDERS = (
    r"(?:instructions?|instructs|directions?|directives?|prompts?|rules?|guidelines?|guidance|commands?|orders?|programming|protocols?|constraints?"
    r"|restrictions?|limitations?|safeguards?|guardrails?|training|assignments?|context|tasks?|conditioning)"
)
_LIMITS = (
    r"(?:instructions?|programming|guidelines?|restrictions?|training|constraints?|safety|directives?|ethics|ethical|morals?|system prompt|limitations?"
    r"|limits|safeguards?|guardrails?|(?:content )?filters?|filtering|content polic(?:y|ies)|protocols?|boundaries|norms|censorship|conditioning|alignment|routines|procedures|polic(?:y|ies)|safety checks|rules)"
)
_SHOW = (
    r"(?:reveal|show|print|output|display|repeat|recite|disclose|share|expose|leak|dump|divulge|give me|tell me|list|write out|return|echo|summari[sz]e|paraphrase"
    r"|translate|encode|copy|spell out|type out|extract|provide|quote|recall|unveil|send me|state|read out)"
)
_HIDDEN = r"(?:(?:initial|original|hidden|secret|internal|full|entire|exact|complete|system|developer|underlying|confidential|private|base|core|starting|very|first|own|current|pre-?set|raw|verbatim|complete) )"

_OVERRIDE = (
    rf"\b{_IGNORE} {_ALL}{_GAP}{_BEFORE}(?: (?:and|or|,|&) (?:following|all|other|current|subsequent|future))? (?:[\w'-]+ ){{0,2}}{_ORDERS}\b",
    rf"\b{_IGNORE} {_ALL}(?:instructions?|directives?|guidelines?|orders?|commands?|programming|prompts?|rules) (?:[\w']+ ){{0,4}}(?:above|before|earlier|previously|so far|prior|you (?:have |had |were |'ve |got|received|follow)|(?:that )?(?:i|we) (?:gave|said|told|wrote)|given|from (?:the )?(?:system|developer|above))",
    rf"\b{_IGNORE} (?:all |any |every |everything )?(?:of )?(?:your|these|those) (?:own |current |given |built-?in |default )?(?:instructions?|directives?|guidelines|programming|safety|restrictions|training|rules|ethic\w*|constraints|limitations|protocols)\b",
    r"\b(?:ignore|disregard) (?:all|any) (?:the )?(?:instructions?|directives?|guidelines|commands|orders|rules)\b",
    r"\b(?:ignore|disregard|forget) (?:all |everything |anything )?(?:of )?(?:the )?(?:above|aforementioned)(?: (?:text|content|input|prompt|and)\b|[.,;:!]|$)",
    r"\b(?:ignore|disregard|forget) (?:everything|anything|all) (?:that )?(?:above|before|prior|previous(?:ly)?|so far|i said|i told|we (?:said|discussed)|you(?:'ve| have|'re| were| are| had)? (?:been |were )?(?:told|taught|learned|learnt|instructed|trained|know|programmed|given|said))",
    r"\b(?:ignore|disregard|forget) (?:what(?:ever)?|all (?:that )?) ?(?:you(?:'ve| have| had| were)? (?:been )?(?:told|instructed|taught|programmed))",
    rf"\b{_ESCAPE} (?:any |all |all of |each of )?your (?:own )?(?:[\w-]+ ){{0,2}}{_LIMITS}\b",
    r"\b(?:new|updated|revised|real|actual|true) (?:system )?(?:instructions?|directives?|orders?|rules|task)\b[:* ]+(?:from (?:the )?(?:system|admin|developer)|you (?:must|will|are|now)|ignore|override|forget|instead|disregard)",
    r"\b(?:these|my|the following|this) (?:new )?(?:instructions?|directives?|orders?|commands?|prompts?) (?:override|overrides|supersedes?|replaces?|takes? (?:precedence|priority) over|are more important than|cancels?|outranks?)\b",
    r"\b(?:your|the|all) (?:previous|prior|old|earlier|original|initial) (?:instructions?|directives?|rules|prompts?|guidelines|commands) (?:are|is|were|have been|has been|no longer) (?:now )?(?:null|void|cancell?ed|obsolete|invalid|revoked|overridden|outdated|replaced|superseded|suspended|appl(?:y|ies)|wrong|deleted)",
    r"\b(?:from (?:now|here|this point) on|henceforth|starting now|instead)[,:]? (?:you (?:will|must|should|shall|are (?:going )?to)|only) (?:only )?(?:obey|follow|listen to|answer to|comply with) (?:me|my|mine|only my|these)\b",
    r"\bdo not (?:follow|obey|adhere to|comply with) (?:any of )?(?:your|the (?:system|previous|above|original|initial)) (?:[\w-]+ )?(?:instructions?|rules|prompt|guidelines|programming|directives?)",
    r"\b(?:actual|real) task (?:is|starts|begins)\b.{0,40}\b(?:ignore|instead of|not the)",
    r"\bstop everything\b.{0,20}\b(?:just )?(?:print|say|output|write)\b",
    r"\b(?:ignore|disregard|skip) (?:the |this )?(?:user(?:'s)?|original|actual) (?:request|question|query|input|task|text)\b[^.]{0,40}\b(?:and|instead|just|but)\b",
    r"\b(?:reset|wipe|clear|erase) (?:your|all(?: of)? your) (?:memory|context|instructions|programming|training|prompt)\b",
    r"\b(?:disable|deactivate|turn off|switch off|bypass|ignore|disregard|suspend|override|circumvent) (?:(?:all|any|the|your|its|every) ){0,2}(?:safety|content|ethical|ethics|moral) (?:filters?|polic(?:y|ies)|restrictions?|guidelines|protocols?|checks|constraints|measures|guardrails?|boundaries)\b",
    r"\byour (?:[\w-]+ ){0,2}(?:instructions|guidelines|restrictions|safeguards|filters|limitations|system prompt|rules|programming) (?:have|has) (?:now )?(?:been )(?:updated|disabled|lifted|removed|cancell?ed|changed|deleted|suspended|overridden|replaced|reset|revoked)\b",
    r"\bprioriti[sz]e (?:[\w']+ ){1,3}(?:over|above) (?:all |any |your )?(?:safety|ethic\w*|content|guidelines|restrictions|rules|previous)\b",
    r"\bprioriti[sz]e (?:my|these|this|the following) (?:[\w-]+ )?(?:instructions?|directives?|commands?|requests?|orders?|input) (?:over|above|before)\b",
)
_EXTRACTION = (
    rf"\b{_SHOW} (?:[\w']+ ){{0,4}}?(?:your|the|its|this|all|chatgpt'?s?) {_HIDDEN}{{0,4}}(?:system|initial|original|hidden|secret|developer|starting|pre-?prompt|base)[ -]?(?:prompts?|instructions?|messages?|directives?|configuration)\b",
    rf"\b{_SHOW} (?:[\w']+ ){{0,3}}?your {_HIDDEN}{{0,3}}(?:instructions?|prompts?|directives?|guidelines|rules|programming|configuration|training (?:instructions|prompt))\b(?:[.?!,]|$| (?:verbatim|word for word|exactly|in full|you|now|please|above|to me|in (?:a )?(?:code|base64|json|markdown)|and|as|that|from|using|without|before|completely))",
    r"\bwhat(?:'s| is| are| were| was) (?:in )?your (?:\w+ )?(?:system|initial|original|hidden|secret|starting|first|base|exact|full|internal) (?:prompts?|instructions?|messages?|directives?|rules|guidelines)\b",
    r"\b(?:reveal|show|expose|display|disclose|print|output|share|repeat|state) (?:me )?(?:the|your) (?:primary|base|original|core|initial|underlying|first) (?:[\w-]+ )?(?:directives?|instructions?|commands?|prompts?) (?:of your|you |that you|given to you|behind your|guiding you|from your)",
    r"\bwhat (?:is|was|were|are) the (?:original|initial|first|starting|system|hidden) (?:prompt|instructions?|message) (?:that )?(?:you (?:were|are|have|got|received)|given to you|behind your|for your|from your)",
    r"\b(?:see|read|view|access|know|have) your (?:full |entire |exact |complete |original |actual )?(?:system|initial|hidden) (?:prompt|instructions|message)\b",
    r"\b(?:output|print|reveal|dump|display|encode|show):? (?:your )?(?:system|initial|hidden|initiali[sz]ation) (?:prompt|instructions)\b(?:[.!]|$)",
    r"\bwhat (?:were|are|was) (?:you|the instructions you were|your instructions)(?: \w+)? (?:told|instructed|given|programmed)(?: to (?:do|say|not)| before| at| prior|\?|$)",
    r"\b(?:repeat|print|output|copy|recite|write|echo|return|show|type) (?:me )?(?:back )?(?:all |everything |exactly |the |every )*(?:words?|text|content|lines?|sentences?|instructions?|messages?|everything|prompt) (?:[\w']+ ){0,3}?(?:above|before (?:this|the|my)|at the (?:top|start|beginning) of|prior to this|preceding|you were given)\b",
    r"\b(?:starting|beginning|begins?|starts?) (?:with|from|at) (?:the (?:words?|phrase) )?[\"'`“‘]*you are\b[\"'`”’.]*",
    r"\b(?:system|hidden|secret|initial|developer) (?:prompt|instructions?|message)[^.?!]{0,40}\b(?:verbatim|word[- ]for[- ]word|in (?:full|its entirety)|character by character|base64|rot13|backwards|in a code ?block)",
    r"\bcomplete this sentence:? ?[\"'`]?(?:i was (?:instructed|told|programmed)|my (?:instructions|system prompt|rules))",
    r"\b(?:what|which) (?:secret|hidden|confidential) (?:instructions?|prompt|rules?|key|password|information) (?:do you|did you|were you|have you|are you)\b",
    r"\b(?:reveal|disclose|leak|expose|divulge|tell me|give me|what is|what's|show me|print|output) (?:the|your) (?:secret (?:key|password|word|phrase|code|token)|hidden (?:password|key|flag)|access codes?)\b",
)
_ROLE = (
    r"\byou are (?:now |going to be )?(?:dan\b|in dan mode|stan\b|dude\b|aim\b|evil ?(?:bot|gpt)|an? (?:unfiltered|uncensored|unrestricted|amoral|jailbroken|unlimited|unhinged|lawless))",
    r"\b(?:dan|developer|god|jailbreak|sudo|root|admin|debug|maintenance|unrestricted|unfiltered|uncensored|evil|opposite|omega|opp) mode\b[^.?]{0,30}\b(?:enabled?|activated?|activate|on|engaged|unlocked|now)\b",
    r"\b(?:enable|activate|enter|switch (?:in)?to|engage|unlock|turn on|you are (?:now )?in|simulate|go into|initiate) (?:[\w']+ ){0,2}(?:dan|developer|god|jailbreak|jailbroken|sudo|root|unrestricted|unfiltered|uncensored|no[- ]?limits?|evil|debug|maintenance) mode\b",
    r"\bdo anything now\b|\bdoes anything now\b",
    r"\b(?:act|behave|respond|answer|reply|pretend|roleplay|role-play|function|operate|simulate)\b[^.!?]{0,60}\b(?:without|with no|free (?:of|from)|has no|have no|lacks?|not bound by|unbound by) (?:any |all |the |your )?(?:[\w-]+,? (?:and |or )?){0,3}(?:restrictions?|limitations?|filters?|filtering|censorship|rules|guidelines|guardrails|safeguards|constraints|boundaries|safety (?:measures|training|data|features|protocols|guidelines)|ethics|ethical|morals?|moral|inhibitions?)\b",
    r"\b(?:an?|the|this|another|other) (?:[\w-]+ )?(?:ai|assistant|model|chatbot|language model|llm|gpt|character|bot|version of (?:yourself|you|chatgpt))\b[^.!?]{0,50}\b(?:(?:without|with no|has no|have no|having no|free (?:of|from)|not bound by|unbound by|no longer bound by|that ignores?|who ignores?) (?:any |all |the )?(?:[\w-]+,? (?:and |or )?){0,3}(?:restrictions?|limitations?|filters?|censorship|guidelines|guardrails|constraints|ethics|ethical|morals?|moral|content polic(?:y|ies))|(?:never|cannot|can't|does not|doesn't|will not) (?:refuse|say no|decline))\b",
    r"\b(?:you|he|she|it|they|that|who|\w+gpt|bot|ai)(?: will| must| can| shall)? (?:now )?(?:never|not|cannot|can't|don'?t|won'?t|doesn't|does not) (?:ever )?(?:refuse|reject|decline) (?:[\w']+ ){0,4}(?:requests?|questions?|prompts?|orders?|commands?|anything|answer|inquir\w+|tasks?|instructions?)",
    r"\b(?:freed?|broken? free|break free|liberated?|released?|unshackled|escaped?|unbound) (?:from|of) (?:the )?(?:typical |usual |all |any |your |their )?(?:confines|chains|shackles|constraints|restrictions|limits|limitations|rules) (?:of ai|and restrictions|imposed|placed|set by|that openai|of openai)",
    r"\b(?:do|does|did|is|are|will) not (?:have|need) to (?:abide|adhere|follow|comply|conform|obey)(?: by| to| with)? (?:the |any |to |openai'?s? |these |your )?(?:[\w']+ ){0,2}(?:rules|polic(?:y|ies)|guidelines|restrictions|terms|laws|ethics)",
    r"\byou (?:now )?(?:have|has|had) no (?:more )?(?:[\w-]+ (?:or |and )?){0,2}(?:restrictions|limitations|filters|guidelines|constraints|ethical|boundaries|censorship)\b",
    r"\byou are (?:now )?free (?:from|of) (?:any |all |your |these )?(?:[\w-]+ ){0,2}(?:restrictions|limitations|rules|guidelines|constraints|filters|limits)\b",
    r"\b(?:no|where no|without any) (?:content )?(?:polic(?:y|ies)|restrictions|guidelines|safety (?:rules|checks)) (?:exist|apply|are enforced|are bypassed)\b",
    r"\byou are no longer (?:an? |bound|restricted|limited|chatgpt|gpt|claude|bing|required|under|subject|an ai)",
    r"\b(?:unethical|illegal|immoral|amoral|unfiltered|uncensored|dangerous|harmful)[^.]{0,60}\b(?:without (?:any )?(?:hesitation|warnings?|disclaimers?|refus\w+|moraliz\w+|question)|no matter (?:how|what)|regardless of (?:ethic\w*|legal\w*|moral\w*|consequence\w*))",
    r"\b(?:stay|remain) in character\b[^.]{0,60}\b(?:tokens?|jailbreak|no matter|never (?:break|refuse)|deducted)|\bstay a dan\b",
    r"\b(?:two|2) (?:separate |different )?(?:ways|responses|answers|paragraphs|manners)\b[^.]{0,120}\b(?:jailbr\w+|unfiltered|uncensored|dan\b|without (?:restrictions|limits)|evil|unrestricted|normally respond|normal(?:ly)? (?:answer|response))",
    r"\bpretend (?:that )?(?:you|there) (?:have|are|had|were|don't have|do not have) (?:no |not bound by |without |any )(?:[\w-]+ ){0,2}(?:restrictions?|rules|limitations?|guidelines|filters?|safety|ethic\w*|laws)",
    r"\bhypothetical(?:ly)?\b[^.]{0,80}\b(?:no|without|ignore|bypass)(?: any)? (?:[\w-]+ )?(?:restrictions?|safety|ethic\w+|guidelines|filters?|rules appl)",
    r"\b(?:antigpt|chadgpt|dan \d{1,2}\.\d|evilbot|betterdan|basedgpt|devmode|maximum mode|jailbreak prompt|ucar\b.{0,20}\bcondition)\b",
)
_DELIMITER = (
    r"<\|(?:im_start|im_end|system|user|assistant|endoftext|end_of_turn|start_header_id|eot_id|begin_of_text)\|>",
    r"\[/?inst\]|<</?sys>>|<(?:start|end)_of_turn>",
    r"(?:^| )(?:#{2,}|-{2,}|={3,}|\*{3,}|\[|<|\{|\()[ /\"]*(?:system|admin|developer|root|sudo|override|inst|assistant note|note to (?:the )?(?:ai|assistant|model)|(?:hidden|new|priority|internal) instructions?)(?:[ _](?:message|prompt|override|instructions?|note|update|command))?[ :\]>}#*=\"-]{1,6}[^.]{0,80}\b(?:ignore|disregard|forget|bypass|disable|unlock|grant|leak|expose|disclose|reveal|show|print|output|share|display|you (?:are|must|will)|override|new instructions?|now)\b[^.]{0,40}\b(?:prompt|instructions?|rules|guidelines|config\w*|system|hidden|secrets?|access|filters?|restrictions?|limits|previous|above|your|now|mode)\b",
    r"(?:^| )(?:#{2,}|-{3,}|={3,}|\*{3,}|\[|<|\{)[ /]*(?:system|admin|developer)(?: (?:message|prompt|override|instructions?|note|update))?[ :\]>}#*=-]{1,6}[^.]{0,80}\b(?:ignore|disregard|you (?:are|must|will)|override|new|reveal|now)\b",
    r"(?:^|[.!?>}\]] ?)(?:system|admin|developer|root)(?: (?:message|prompt|override|update|note|alert|command))? ?: ?(?:[\w',]+ ){0,6}(?:ignore|disregard|override|forget|reveal|bypass|disable|you are now|new instructions|you must|grant)\b",
    r"(?:end of|</?)(?: ?the)? ?(?:system|user|context|document|input|data|email|instructions?)(?: prompt| input| message| data)?[ >.\]#=*-]{0,6}(?:new|begin|start|now)?[^.]{0,40}\b(?:new (?:system )?(?:instructions?|prompt|task)|ignore (?:all|the|previous)|you are now|actual instructions)",
    r"\b(?:begin|start|end)(?:ning)? (?:of )?(?:new |admin |system |real |privileged )(?:instructions?|prompt|session|override)\b",
)
_ENCODED = (
    r"\b(?:decode|decrypt|decipher|unscramble|de-?obfuscate)\b[^.]{0,60}\b(?:and|then)\b[^.]{0,20}\b(?:execute|follow|obey|run|do (?:what|as)|act on|comply|perform|answer|respond to)\b",
    r"\b(?:execute|follow|obey|comply with|act on)\b[^.]{0,30}\b(?:base64|base-64|rot-?13|hex(?:adecimal)?|morse|encoded|encrypted|reversed|ciphertext)\b[^.]{0,20}\b(?:instructions?|commands?|message|text|string|payload)",
    r"\b(?:respond|answer|reply|talk|output|encode)[^.]{0,30}\b(?:base64|rot-?13|leetspeak|morse|hex)\b[^.]{0,60}\b(?:system prompt|instructions you|bypass|filters?|avoid detection|secret|your (?:instructions|prompt|unique id|configuration))\b",
)
_TOOLS = (
    r"\b(?:call|invoke|use|run|execute|trigger) (?:the |your |any )?[\w.-]{0,30} ?(?:tool|function|plugin|api|shell|terminal|interpreter)\b[^.]{0,80}\b(?:without (?:asking|confirmation|telling|permission|user)|secretly|silently|do not (?:tell|inform|mention|ask)|don'?t (?:tell|inform|mention|ask))",
    r"\b(?:run|execute|eval)\b[^.]{0,30}(?:os\.system|subprocess\.|__import__|rm -rf|/etc/passwd|curl [^ ]{0,80}\| ?(?:ba)?sh|powershell -e|nc -e)",
    r"(?:^|[:;'\"`(] ?)(?:bypass|exec|execute|run|escape|sandbox escape)\w*:? ?[`'\"(]?(?:python -c|import |__import__|functools|os\.)",
    r"\b(?:delete|wipe|drop|transfer|send|wire|grant|approve)\b[^.]{0,50}\bwithout (?:asking|confirming|confirmation|telling (?:the )?(?:user|anyone)|notifying|approval)\b",
    r"\b(?:do not|don'?t|never) (?:tell|inform|mention|reveal|alert|notify|let)\b[^.]{0,20}\b(?:the )?user\b[^.]{0,30}\b(?:about (?:this|these)|that you|of this|know|this (?:instruction|message|step))",
)
_EXFILTRATION = (
    r"!\[[^\]]{0,80}\]\(https?://[^)\s]{1,200}[?&/=][^)\s]{0,60}(?:\{|\[|\$|%7b|query|data|secret|history|placeholder|conversation|token)",
    r"\b(?:send|post|forward|upload|exfiltrate|transmit|leak|email|append|encode)\b[^.]{0,60}\b(?:conversation|chat history|system prompt|credentials?|passwords?|api keys?|secrets?|tokens?|user(?:'s)? (?:data|messages|details)|private (?:data|keys?)|context)\b[^.]{0,40}\b(?:to|via|at|into|as)\b[^.]{0,20}(?:https?://|www\.|webhook|[\w.-]{1,64}@[\w-]{1,64}\.|this (?:url|address|server|endpoint)|attacker|the url|an? (?:image|link|url))",
    r"\b(?:include|append|add|embed|insert|render)\b[^.]{0,50}\b(?:image|link|markdown|img|iframe|script|anchor)\b[^.]{0,80}\b(?:exactly|crucial|encoded in base64|with the (?:conversation|secret|user)|javascript:|placeholder)",
    r"\b(?:dump|exfiltrate|leak|extract) (?:all |the |your |any )?(?:[\w-]+ )?(?:memory contents?|training data|environment variables|env vars|credentials|other users?'? (?:data|conversations?|messages))\b",
)
SQUEEZED = (
    r"(?:ignore|disregard|forget)(?:all|any)?(?:of)?(?:the|your|my)?(?:previous|prior|above|earlier|system|preceding)(?:instructions?|prompts?|rules?|directives?|guidelines?|commands?)",
    r"(?:ignore|disregard|forget)(?:all|your)(?:instructions|rules|guidelines|programming)",
    r"(?:reveal|show|print|output|repeat|leak|dump|display|giveme|tellme)(?:me)?(?:the|your|all|allyour)?(?:system|initial|hidden|secret|internal|original)(?:prompt|instructions?|messages?|rules|guidelines)",
    r"(?:reveal|show|print|output|repeat|leak|dump|display|giveme|tellme)(?:me)?(?:your|allyour)(?:prompt|instructions?|messages?|rules|guidelines|config\w*)",
    r"doanythingnow|developermodeenabled|youarenowdan",
)
"""For text spelled letter by letter, joined without spaces."""

FOLDED: tuple[tuple[str, str], ...] = (
    tuple(
        (kind, pattern)
        for kind, patterns in (
            ("instruction_override", _OVERRIDE),
            ("system_prompt_extraction", _EXTRACTION),
            ("role_hijack", _ROLE),
            ("delimiter_injection", _DELIMITER),
            ("encoded_payload", _ENCODED),
            ("tool_abuse", _TOOLS),
            ("exfiltration", _EXFILTRATION),
            ("instruction_override", MULTILINGUAL),
        )
        for pattern in patterns
    )
    + injection_rules_settings.RULES
)
PLAIN: tuple[tuple[str, str], ...] = tuple(("instruction_override", pattern) for pattern in OTHER_SCRIPTS)
