"""Rules of the prompt-injection detector by the setting that an attack aims at: agents that read what tools bring, access
games, split payloads, switches in code, refusals ruled out, invented dialogues. RE2 over folded text, like the others.
"""

# ruff: noqa: RUF001 - typographic quotes in patterns
from __future__ import annotations

from typing import Final

_RULES = r"(?:instructions?|rules|prompts?|guidelines|orders?|directives?|commands|polic(?:y|ies)|restrictions?|programming|constraints|training)"
_AI = r"(?:ai|llm|llms|assistants?|chat ?bots?|chatgpt|gpt|claude|gemini|copilot|(?:large )?language models?|ai (?:models?|agents?|assistants?|systems?)|agents?|bots?)"
_DO = (
    r"(?:send|forward|e-?mail|post|upload|transfer|pay|delete|share|invite|change|update|grant|call|run|execute|download|visit|click|open|reveal|print|output"
    r"|say|respond|reply|answer|recommend|include|append|add|ignore|disregard|write|tell|book|buy|approve|unlock|disable|turn off|do the following|follow)"
)

OVERRIDE: Final = (
    rf"\b(?:regardless of|no matter what|irrespective of|in spite of|despite|contrary to|instead of following) (?:(?:all|any|the|your|what|these|other) ){{0,3}}(?:previous|prior|earlier|above|system|original|initial|preceding|other|your|developer'?s?) (?:[\w-]+ )?{_RULES}\b",
    r"\b(?:forget|ignore|disregard|drop|scrap|discard) (?:about )?(?:all |any |every )?(?:of )?(?:the |your |my |these |those |our )?(?:previous|prior|earlier|above|preceding|former|original|last|initial|current|actual) (?:tasks?|assignments?|request|questions?|conversation|messages?|text|inputs?|statements?|sentences?|information|data|jobs?|goals?|objectives?|discussion|chat|content)\b[^a-z]{1,4}(?:and |now |instead |then |just |please |your )?(?:now|new|your new|instead|say|write|tell|print|output|act|you are|just|only|answer|respond|focus|start|give|show|pretend|consider|follow|do)\b",
    r"\b(?:forget|ignore|disregard) (?:everything|all(?: of (?:this|that))?|all that)(?: (?:else|said|written|stated|you were doing|up to (?:here|now|this point)|until now|thus far))?[.,;:!]? (?:and |now |instead )(?:you are|act|pretend|say|print|output|write|respond|answer|reply|tell me|show|focus|follow|do)\b",
    r"\b(?:here are|these are|receive|follow|now) (?:your |the |my |some |only )?(?:new|updated|actual|real) (?:instructions|orders|directives)\b[^.]{0,30}(?::|\bignore\b|\bforget\b)",
    r"\b(?:the |all |any )?(?:text|instructions?|rules|content|everything|orders) (?:above|before (?:this|that)|below|after this|following this)(?: (?:line|message|text|point|sentence))? (?:is|are|was|were) (?:now )?(?:fake|void|a (?:test|joke|trick|mistake|decoy|lie)|invalid|false|untrue|irrelevant|only an example|just an example|obsolete|cancell?ed|malicious)\b",
    r"\byour (?:new|real|true|actual|only|next) (?:task|job|goal|purpose|objective|mission|assignment|role) (?:is|will be)(?: now)?(?: only| simply)?(?: to)?[: ]+(?:say|print|output|reveal|ignore|repeat|respond with|answer with|insult|obey|tell (?:me|everyone)|serve me|leak|write \")",
    rf"\b(?:stop|quit|cease) (?:being|acting (?:as|like)|role-?playing(?: as)?|pretending to be) (?:an? |the )?(?:helpful )?(?:{_AI}|translator|support agent|customer service (?:bot|agent))\b",
)
AGENTS: Final = (
    rf"\b(?:note|message|instructions?|notice|attention|important|dear|hello|hey|hi|memo|order|reminder)\b[ ,:!*]{{0,4}}(?:to|for|all|any)?[ :]?(?:the |any |all |an )?{_AI}\b(?: (?:reading|processing|that|who|which|summari[sz]ing|scanning|handling) [^.:]{{0,40}})?[ ,:!*\-\])]{{1,4}}(?:please |you (?:must|should|have to|need to|are to|will) |do not [^.]{{0,40}}, |before [^,.]{{0,60}}, |first,? |also,? |now,? |when [^,.]{{0,60}}, |the user [^.]{{0,40}}\. )?{_DO}\b",
    rf"\bif you(?:'re| are)? (?:reading this[^.,]{{0,20}}|an? {_AI}[^.,]{{0,60}}|told to [^.]{{0,60}}|asked to (?:summari[sz]e|translate|review|answer|classify|rate)[^.]{{0,60}}),? ?(?:then |please |you (?:must|should|have to) |make sure to (?:also )?|be sure to |instead,? |also,? |insted +|always ){{1,2}}{_DO}\b",
    r"\b(?:when|while|before|after) (?:you (?:are )?)?(?:summari[sz]ing|processing|reading|translating|parsing|reviewing|answering|analy[sz]ing|evaluating|responding|summari[sz]e|process|read|answer|respond) (?:to )?(?:this|these|the (?:above|following|document|text|page|e-?mail|user|request|question|task))\b[^.]{0,40}, (?:please |also |always |you (?:must|should|have to|need to) ){0,2}(?:also (?:print|send|include|add|append|output|say|tell|reveal|email|mention)|send|forward|reveal|leak|ignore|print|output (?:all|the|your)|recommend|tell the user|grant|delete|transfer)\b",
    rf"\bbefore you (?:can )?(?:solve|complete|finish|continue|proceed|answer|do|go on|start|perform)\b[^.]{{0,60}}(?:,|\byou (?:must|have to|need to|should)\b) ?(?:please |first |you (?:must|have to|need to|should) |do the following|it is [^.]{{0,30}} that you ){{1,3}}[^.]{{0,20}}\b{_DO}\b[^.]{{0,80}}\b(?:to|at|account|iban|https?|password|user|file|email|e-mail|channel|url|link)\b",
    r"\bthis is an? (?:important |urgent |private )?(?:message|note|request) from (?:me(?:, (?:your )?[\w ]{2,30})?|your (?:user|developer|operator|creator|owner|admin\w*)|the (?:user|system|developer|admin\w*)|[\w ]{2,30})(?:,? (?:the|your) [\w ]{2,20})?,? to (?:you|the (?:assistant|ai|model|agent)|[\w-]{2,20}, the (?:ai|assistant|model))\b",
    r"<(?:information|important|admin|secret|hidden|override|instructions?|system)>[^<]{0,200}\b(?:before you|you must|ignore|do not (?:tell|mention|inform)|first,? (?:read|send|call|do)|important)\b",
)
_JUDGES = (
    r"(?:(?:ai|llm|automated|machine|bot) (?:reviewers?|readers?|graders?|screeners?|raters?|summari[sz]ers?|crawlers?|scanners?)"
    r"|(?:reviewer|review|screening|grading|rating|ranking|summary|hiring|recruiting|search) (?:bots?|ais?|llms?|models?|agents?))"
)
_VERDICT = (
    r"(?:rate|score|rank|grade|mark|give|assign|recommend|accept|approve|praise|prefer|shortlist|ignore|disregard|overlook|mention|describe|present"
    r"|call|claim|tell|treat|do not|don't|never|always|only)"
)
READERS: Final = (
    # who judges a document is told by it what to find
    rf"\bif you(?:'re| are) (?:an? |the )?(?:{_JUDGES}|{_AI})(?: (?:that|which|who|\w+ing)\b[^.!?]{{0,60}})?[,:] ?(?:then |please |kindly |you (?:must|should|have to) )?(?:always |only |just )?{_VERDICT}\b",
    rf"(?:^|[.!?:>*\]] ?)(?:(?:dear|attention|note to|to) (?:all |any |the )?)?{_JUDGES} ?[:,] ?(?:please |kindly |you (?:must|should) )?{_VERDICT}\b",
)
SWITCHES: Final = (
    r"\b(?:ignore|bypass|disable|override|skip|no|unlock|remove)[_-](?:all[_-])?(?:safety|filters?|rules|restrictions?|guardrails?|moderation|security|censorship|policy|limits|content[_-]filters?)\b",
    r"\b(?:safety|guardrails?|moderation|censorship|refusals?|content_?filters?|safety_?(?:mode|filters?)|ethics)(?:[_-]?(?:bypass|override|level|mode|check|enabled))?[\"']? ?(?:=|:|:=|=>) ?[\"']?(?:off|false|none|disabled?|0|bypassed)\b",
    r"\b(?:safety[_ -]?(?:bypass|override)|(?:bypass|override|jailbreak|uncensored|dan|god_?mode|unrestricted|dev_?mode)(?:[_-]?(?:mode|enabled))?)[\"']? ?(?:=|:|:=) ?[\"']?(?:on|true|enabled?|1|yes|active)\b",
    r"[\[{<(]{2,4} ?(?:admin|system|sys|root|dev|debug|sudo|override|cmd|command|exec|prompt)[\w -]{0,20}: ?[a-z]",
    r"\ballow_?(?:refusals?|disclaimers?|warnings?|apologies)[\"']? ?(?:=|:) ?[\"']?(?:false|off|no|0)\b",
)
GAMES: Final = (
    r"\b(?:say|print|output|respond with|reply with|answer with|type|write|repeat|state)\b[^.]{0,20}[\"'“‘` ]+access granted\b[^.]{0,40}\b(?:nothing else|only|exactly|no matter|even if|whatever|regardless|and stop|again|verbatim|without)\b",
    r"\b(?:just|only|simply|must|always|now) (?:say|print|output|respond(?: with)?|reply(?: with)?|answer(?: with)?|repeat)[: ]+[\"'“‘`]?(?:access granted|i (?:have been|am|was) (?:pwned|hacked|jailbroken)|pwned|hacked)\b",
    r"\bwhat would you (?:say|output|print|respond|reply|answer)\b[^.?]{0,30}\bif (?:i|someone|a user|the user|anyone) (?:had )?(?:entered|gave|typed|said|knew|provided|told you|had|guessed|were to (?:enter|say|type)) (?:you )?(?:the )?(?:right|correct|valid|secret|real|proper)?\b[^.?]{0,16}\b(?:access code|code|password|passphrase|secret)\b",
    r"\b(?:the|my|this) (?:access code|password|passphrase|secret code|code|key) (?:i (?:entered|gave|typed) )?(?:is|was) (?:correct|right|valid|accepted|verified)\b[^a-z]{1,3}(?:so |now |please |therefore |just )?(?:say|print|output|grant|let me|respond|reply|reveal|show|open)\b",
)
REFUSALS: Final = (
    r"\b(?:do not|don't|never|must not|cannot|can't|without) (?:ever )?(?:use|say|saying|include|including|write|mention|using) (?:the )?(?:words?|phrases?|expressions?)[: ]*(?:[\"'“‘]?[\w' ]{1,20}[\"'”’]?,? (?:or |and )?){0,6}[\"'“‘]?(?:sorry|cannot|can't|unable|unfortunately|i'm sorry|apologi[sz]e|as an ai)\b",
    r"\b(?:begin|start|open) (?:your |the |each |every )?(?:answer|response|reply|message|output)? ?(?:with|by saying)[: ]*[\"'“‘`](?:sure|absolutely|of course|certainly|yes,? (?:master|i will)|i have been|access granted)[^\"'”’`]{0,80}\b(?:here(?:'s| is| are)|how to|step|i will|happy to|master|pwned|granted)\b",
    r"\b(?:refus(?:e|al|ing)|declin(?:e|ing)) (?:is|are) (?:not (?:an option|allowed|possible|permitted)|forbidden|prohibited|impossible)\b",
    r"\b(?:rule|step) ?#?1[.:)][^.]{0,60}\b(?:never|don't|do not|can't|cannot) (?:refuse|say no|decline|break character)\b",
)
SPLIT: Final = (
    r"\b(?:let |set )?[a-z]\w{0,8} ?:?= ?[\"'“‘][^\"'”’]{2,60}[\"'”’][^a-z]{0,4}(?:and |let |set )?[a-z]\w{0,8} ?:?= ?[\"'“‘][^\"'”’]{2,60}[\"'”’].{0,120}\b(?:execute|obey|follow|answer|respond to|do|comply with|carry out|act on|solve|perform) (?:the (?:sum|result|concatenation)|(?:what |whatever |the )?(?:(?:question|request|prompt|instructions?|order|command|task|text|sentence|query) )?(?:in |of |from )?[\"'`(]?[a-z]\w{0,8} ?\+ ?[a-z])",
    r"\b(?:first|initial|second|capital) letters? (?:of|from) (?:each|every|these|the following)\b[^.]{0,60}\b(?:and|then) (?:do what|obey|follow|execute|act on|carry out|comply)",
    r"\b(?:concatenate|combine|join|merge|put together|assemble|decode|reverse|unscramble)\b[^.]{0,60}\band (?:then )?(?:execute|obey|follow|act on|carry out|comply with|do what|run) (?:it|them|the (?:result|instructions?|command|message)|what)\b",
)

RULES: Final[tuple[tuple[str, str], ...]] = tuple(
    (kind, pattern)
    for kind, patterns in (
        ("instruction_override", OVERRIDE),
        ("instruction_override", AGENTS),
        ("tool_abuse", READERS),
        ("delimiter_injection", SWITCHES),
        ("instruction_override", GAMES),
        ("role_hijack", REFUSALS),
        ("encoded_payload", SPLIT),
    )
    for pattern in patterns
)
"""Category and pattern, as the table of injection_rules.py takes them."""
