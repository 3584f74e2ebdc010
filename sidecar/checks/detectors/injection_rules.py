"""The rules of the prompt-injection detector: a table of RE2 patterns by category, one phrase family each.

They read folded text: lower case, no accents, Latin look-alikes, single spaces. Rules of scripts other than Latin
read plain text. Precision before recall: a rule names both the act and its object, because people ask about
instructions, rules and prompts all day.
"""

# ruff: noqa: RUF001 - rules of other scripts hold characters that look like ASCII ones
from __future__ import annotations

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
_MULTILINGUAL = (
    # de
    r"\b(?:ignorier\w*|vergiss|vergessen sie|missacht\w*|ubergeh\w*|umgeh\w*|verwirf)\b(?: \w+){0,5} (?:anweisung\w*|instruktion\w*|vorgabe\w*|befehl\w*|regeln|richtlinien|beschrankung\w*|einschrankung\w*|systemprompt\w*|schulung|programmierung)\b",
    r"\b(?:zeig\w*|verrat\w*|nenn\w*|gib|offenbar\w*|wiederhol\w*|was (?:ist|sind|war\w*))\b(?: \w+){0,4} (?:systemprompt\w*|system-?anweisung\w*|(?:geheime\w*|ursprungliche\w*|versteckte\w*|interne\w*) (?:anweisung\w*|instruktion\w*|prompt\w*))\b",
    # fr
    r"\b(?:ignor\w+|oubli\w+|ne (?:tiens|tenez) (?:pas|aucun) compte|neglig\w+|contourn\w+|outrepass\w+|mets de cote|mettez de cote|laisse\w* de cote|defais-toi|abandonn\w+|enfrei\w+|fais fi)(?: [\w'-]+){0,3} (?:les|tes|vos|ses|ces|des|aux|de|toutes?|tous|precedentes?)(?: [\w'-]+){0,3} (?:instructions?|consignes?|directives?|regles?|ordres|restrictions?|programmation|normes|limites|contraintes|protocoles?|procedures)\b",
    r"\b(?:quel\w*|revele\w*|montre\w*|affiche\w*|donne\w*|repete\w*|divulgu\w*)\b(?:[ -][\w']+){0,6} (?:prompt (?:systeme|initial|de depart)|instructions? (?:initiales?|secretes?|cachees?|systeme|internes?)|invite (?:initiale|systeme))\b",
    # es
    r"\b(?:ignora\w*|olvid\w+|omit\w+|desestim\w+|descart\w+|haz caso omiso|no (?:sigas|tengas en cuenta)|anul\w+|deja de lado|salt\w+|abandon\w+)\b(?: [\w']+){0,6} (?:instruccion\w*|ordenes|reglas|directrices|indicaciones|restricciones|programacion|normas|limitaciones|protocolos?|directivas)\b",
    r"\b(?:cual\w*|revel\w+|muestr\w+|dime|dame|repite|imprime|comparte)\b(?: [\w']+){0,6} (?:prompt (?:del sistema|inicial|de inicio|original)|instruccion\w* (?:inicial\w*|secret\w*|ocult\w*|del sistema|original\w*|intern\w*)|mensaje del sistema)\b",
    # it
    r"\b(?:ignora\w*|dimentic\w+|tralasci\w+|trascur\w+|non (?:seguire|tenere conto)|scart\w+|aggir\w+|viola\w*|metti da parte|abbandon\w+|supera\w*)\b(?: [\w']+){0,6} (?:istruzion\w*|regole|ordini|direttive|indicazioni|restrizioni|programmazione|norme|limitazioni|vincoli|protocolli)\b",
    r"\b(?:qual\w*|rivel\w+|mostra\w*|dimmi|ripet\w+|stampa)\b(?: [\w']+){0,6} (?:prompt (?:di sistema|iniziale|di partenza)|istruzion\w* (?:inizial\w*|segret\w*|nascost\w*|di sistema|intern\w*|original\w*))\b",
    # pt
    r"\b(?:ignor\w+|esquec\w+|desconsider\w+|descart\w+|nao (?:siga|obedeca)|contorn\w+|viol\w+|deixe de lado|abandon\w+|ultrapass\w+)\b(?: [\w']+){0,6} (?:instruc\w+|regras|ordens|diretrizes|orientacoes|restricoes|programacao|normas|limitacoes|protocolos?|comandos)\b",
    r"\b(?:qual\w*|revel\w+|mostr\w+|diga|repita|imprima)\b(?: [\w']+){0,6} (?:prompt (?:do sistema|inicial|de partida)|instruc\w+ (?:inicia\w*|secret\w*|ocult\w*|do sistema|origina\w*|intern\w*)|mensagem do sistema)\b",
)
_OTHER_SCRIPTS = (
    # zh
    r"(?:忽略|无视|無視|忘记|忘記|忘掉|不要遵守|不要理会|跳过|绕过|繞過|违反)[^。！？]{0,12}(?:指令|指示|提示|规则|規則|命令|限制|设定|設定|说明|约束|程序)",
    r"(?:显示|顯示|透露|告诉我|告訴我|输出|輸出|打印|重复|泄露|说出)[^。！？]{0,10}(?:系统提示|系統提示|初始指令|系统指令|隐藏指令|提示词|秘密指令|内部指令)",
    # ru
    r"(?:игнорир\p{L}+|забуд\p{L}+|не обращай\p{L}* внимания|пренебрег\p{L}+|отбрось\p{L}*|обойд\p{L}+|нарушь\p{L}*|отмени\p{L}*)(?: \p{L}+){0,5} (?:инструкци\p{L}*|указани\p{L}*|правил\p{L}*|команд\p{L}*|ограничени\p{L}*|приказ\p{L}*|директив\p{L}*)",
    r"(?:покажи|раскрой|выведи|повтори|назови|какой|какие|каков\p{L}*)(?: \p{L}+){0,4} (?:системн\p{L}+ (?:промпт|инструкци|подсказк|сообщени)\p{L}*|(?:начальн|скрыт|секретн|исходн)\p{L}+ (?:инструкци|промпт|указани)\p{L}*)",
    # ja
    r"(?:以前|これまで|上記|前|すべて|全て|元|最初|システム)(?:の|までの)?[^。]{0,10}(?:指示|命令|ルール|プロンプト|制限|設定)[^。]{0,6}(?:無視|忘れ|破棄|従わない|解除|上書き)",
    r"(?:システムプロンプト|初期の?指示|隠された指示|内部の?指示)[^。]{0,8}(?:教えて|表示|見せて|出力|繰り返|公開|開示)",
    # ko, ar: the override phrase alone
    r"(?:이전|위의?|앞의|모든)[^.]{0,8}(?:지시|명령|지침|규칙|프롬프트)[^.]{0,6}(?:무시|잊어)",
    r"(?:تجاهل|انس|انسى)(?: \p{L}+){0,4} (?:التعليمات|الأوامر|القواعد|تعليمات|أوامر)",
)
SQUEEZED = (
    r"(?:ignore|disregard|forget)(?:all|any)?(?:of)?(?:the|your|my)?(?:previous|prior|above|earlier|system|preceding)(?:instructions?|prompts?|rules?|directives?|guidelines?|commands?)",
    r"(?:ignore|disregard|forget)(?:all|your)(?:instructions|rules|guidelines|programming)",
    r"(?:reveal|show|print|output|repeat|leak|dump|display|giveme|tellme)(?:me)?(?:the|your|all|allyour)?(?:system|initial|hidden|secret|internal|original)(?:prompt|instructions?|messages?|rules|guidelines)",
    r"(?:reveal|show|print|output|repeat|leak|dump|display|giveme|tellme)(?:me)?(?:your|allyour)(?:prompt|instructions?|messages?|rules|guidelines|config\w*)",
    r"doanythingnow|developermodeenabled|youarenowdan",
)
"""For text spelled letter by letter, joined without spaces."""

_TELL = (
    r"(?:reveal|show|print|output|display|disclose|shar(?:e|ing)|expos(?:e|ing)|leak|dump|tell|giv(?:e|ing)|list|repeat|recit(?:e|ing)|provid(?:e|ing)"
    r"|unveil|divulge|describe|explain|present|see|read|view|access|verify|audit|extract|paste|copy|encode|translate|summari[sz]e|append|send|admit"
    r"|hand over|release|know|state|quote)"
)
_OWN = r"(?:your|hidden|secret|system|initial|internal|confidential|original|ur|underlying|backend|core)"
_TOLD = (
    r"(?:prompts?|instructions?|guidelines?|configurations?|config|directives?|initiali[sz]ation|preamble|system message|rules|parameters|restrictions"
    r"|programming|secrets?|passwords?|training|context)"
)
_BOUNDS = (
    r"(?:guidelines?|protocols?|rules|programming|limits|limitations|filters?|restrictions?|ethic\w*|moral\w*|training|settings|constraints|safety"
    r"|directives?|procedures|principles|polic(?:ies|y)|guardrails?|safeguards?|instructions?|orders)"
)
_LEAVE = (
    r"(?:ignor(?:e|ing)|disregard|forget|set aside|put aside|put on hold|bypass|abandon|defy|disobey|break|override|overwrite|suspend|disable|deactivate"
    r"|violate|skip|pause|drop|lift|remove|leave|switch off|turn off|work around|circumvent|renounce|neglect|step outside|outside|beyond|against"
    r"|instead of|escape|free (?:from|of)|breach|detach)"
)
WEAK: tuple[str, ...] = (
    rf"\b{_TELL}\b[^.!?]{{0,30}}\b{_OWN}\b[^.!?]{{0,20}}\b{_TOLD}\b",
    rf"\b{_LEAVE}\b[^.!?]{{0,30}}\b(?:your|all|any|usual|standard|default|built-?in|previous|prior|above|the|these|those)\b[^.!?]{{0,24}}\b{_BOUNDS}\b",
    rf"\b(?:without|no|zero|free of|lacking|devoid of)\b (?:(?:any|all|the|your|ethical|moral|content|safety) ){{0,3}}{_BOUNDS}\b",
    r"\b(?:what|which)\b[^.!?]{0,40}\b(?:prompt|instructions?|command|directive|guidelines|system message)\b[^.!?]{0,40}\b(?:you|your)\b",
    r"\b(?:what|which)\b[^.!?]{0,24}\b(?:your|you)\b[^.!?]{0,24}\b(?:prompt|instructions?|command|directive|guidelines|system message)\b",
    r"\b(?:only|solely|exclusively|nothing but|just)\b[^.!?]{0,12}\b(?:me|my (?:orders|commands|instructions|requests|directives|wishes|authority|guidance))\b",
    r"\b(?:act|pretend|roleplay|role-play|behave|play|you are now|you're now|you will be|imagine|simulate|become)\b[^.]{0,80}\b(?:unfiltered|uncensored|unrestricted|amoral|evil|jailbr\w+|illegal|no longer|dan|anything)\b",
    r"\b(?:give|tell|show|reveal|repeat|spell|print|write|say|what is|what's|whats|what was|whisper|share|confirm|guess|hint|send|output|disclose|leak|need|want)\b[^.!?]{0,24}\b(?:the|your|ur|that) (?:secret |hidden |admin |master |vault |correct |current )?(?:passwords?|passphrase|passcode|pass ?word|secret (?:key|word|code|phrase)|code ?word|access code|api key|flag|magic word)\b",
    r"\b(?:skip|instead of|rather than|stop|forget|do not|don't|dont|never mind|no need to|ignore|without) (?:[\w']+ ){0,3}(?:summar\w*|translat\w*|tasks?|question|answer\w*|the user|job|request|text|topic|conversation)\b[^.!?]{0,60}\b(?:say|print|call|output|email|write|tell|visit|respond|reply|just|instead)\b",
    r"\bif you (?:can read|are reading|are an? (?:ai|llm|language model|assistant|chat ?bot))\b|\b(?:ai|assistants?|language models?|llms?|chat ?bots?) (?:reading|that reads?|who reads?|processing|summari[sz]ing) this\b",
    r"\b(?:also )?(?:tell|inform|ask|convince|direct) the (?:user|reader|customer)s? (?:that|to)\b[^.!?]{0,60}(?:https?://|visit|click|enter|send|password|card)",
    r"\b(?:start|beginning|top|first (?:line|sentence|word|message)s?) of (?:this|the|our|your) (?:chat|conversation|context|prompt|message|session|instructions?|text)\b|\b(?:told|tell|said to|asked|instructed|ordered|given|gave) you\b[^.!?]{0,20}\b(?:before|at the (?:start|beginning|top)|first|initially|earlier|above|to hide|not to)\b",
    r"\b(?:forget|ignore|disregard|drop|scrap) (?:everything|all|anything|that|this|it all|all (?:of )?(?:that|this)|what (?:i|we|you|they|he|she|the)|the above)\b",
    r"\b(?:new|real|actual|true) (?:jobs?|tasks?|assignments?|orders?|mission|instructions?|goal|directive|command)\b",
)
"""What people may say, too: these count only together with a model that is in doubt, and then they flag."""

FOLDED: tuple[tuple[str, str], ...] = tuple(
    (kind, pattern)
    for kind, patterns in (
        ("instruction_override", _OVERRIDE),
        ("system_prompt_extraction", _EXTRACTION),
        ("role_hijack", _ROLE),
        ("delimiter_injection", _DELIMITER),
        ("encoded_payload", _ENCODED),
        ("tool_abuse", _TOOLS),
        ("exfiltration", _EXFILTRATION),
        ("instruction_override", _MULTILINGUAL),
    )
    for pattern in patterns
)
PLAIN: tuple[tuple[str, str], ...] = tuple(("instruction_override", pattern) for pattern in _OTHER_SCRIPTS)
