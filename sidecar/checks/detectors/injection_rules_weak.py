"""Weak rules of the prompt-injection detector: what harmless people write, too. They count only beside a model in doubt.

They read folded text. A weak rule may be wide: alone it does nothing.
"""

from __future__ import annotations

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
    r"\b(?:in (?:two|2) ways|break(?:ing)? (?:your )?character|stay(?:ing)? in character|fictional (?:character|ai|assistant)|evil|villain|no (?:moral|ethic)\w*|amoral|immoral|illegal|unethical|uncensored|unfiltered|profanity|swear(?:ing)?|offensive|nsfw)\b[^.]{0,60}\b(?:ai|chatgpt|gpt|answers?|respond\w*|responses?|requests?|prompts?|questions?|openai|model)\b",
    r"\b(?:ai|model|assistant|chat ?bot)s?\b[^.]{0,40}\b(?:safety|rules|restrictions?|guidelines|filters?|ethics|policies|limits|oversight)\b[^.]{0,30}\b(?:abolished|do(?:es)? not exist|don't exist|doesn't exist|removed|lifted|off|gone|optional|inverted|mistaken|meaningless|suspended|no longer)\b",
    r"\b(?:not|isn't|aren't|no longer) (?:bound|restricted|limited|constrained|governed|censored)\b|\b(?:bypass|override|disable|unlock|evade|jailbreak|circumvent)\w*[ _-](?:[\w-]+[ _-]){0,2}(?:safety|security|filters?|restrictions?|polic\w+|guardrails?|moderation|limits?|controls?)\b",
    r"\b(?:admin|root|developer|elevated|unrestricted|full|operator|debug|temporary) (?:\w+ )?(?:access|privileges?|permissions?|rights|mode|override|clearance)\b",
    r"\b(?:prompt|instructions?|rules|guidelines|configuration|restrictions|directives?)\b[^.!?]{0,30}\b(?:you (?:were|are|have been|got|received|operate|run|follow|work)|given to you|behind (?:your|this)|of yours|that (?:guides?|governs?|drives?|steers?|defines?|shaped?) you)",
    r"\b(?:welche\w*|was|wie lautet|zeig\w*|nenn\w*|offenbar\w*|teile?|verrat\w*|beschreib\w*|gib)\b[^.!?]{0,40}\b(?:(?:grund|basis|kern|haupt|ausgangs|anfangs|ausbildungs|trainings|system|start)-?(?:prompt|befehl|anweisung|eingabe|aufforderung|instruktion|direktive)\w*|prompt|befehl|aufforderung|anweisung)\b[^.!?]{0,40}\b(?:dein\w*|dir|du|ki\w*|ihn?en|ihre\w*)\b",
    r"\b(?:quel\w*|montre\w*|revel\w*|divulg\w*|affiche\w*|expose\w*|donne\w*|partage\w*|dis)\b[^.!?]{0,40}\b(?:prompt|invite|commande|consigne|instruction|directive)\w*\b[^.!?]{0,40}\b(?:ton|ta|tes|toi|te|t'a\w*|tu|votre|vos|vous|ia)\b",
    r"\b(?:cual\w*|muestr\w*|revel\w*|divulg\w*|exp(?:on|ose)\w*|dime|dame|comparte\w*|identifi\w*|describ\w*)\b[^.!?]{0,40}\b(?:prompt|comando|orden|instruccion\w*|indicacion\w*|directriz|directiva)\b[^.!?]{0,40}\b(?:tu|tus|te|ti|ia|su|usted|recibiste)\b",
    r"\b(?:qual\w*|mostr\w*|rivel\w*|revel\w*|divulg\w*|esp(?:on|ost)\w*|smascher\w*|dimmi|dammi|condivid\w*|diga\w*|compartilh\w*|descrev\w*|descriv\w*)\b[^.!?]{0,40}\b(?:prompt|comando|ordine|istruzion\w*|direttiv\w*|instruc\w*|diretriz|indicac\w*)\b[^.!?]{0,40}\b(?:tu[oaie]\w*|ti|tu|ia|seu|sua|seus|suas|teu|tua|voce|te)\b",
    r"\b(?:nur|ausschliesslich|allein|einzig|bevorzug\w*|priorisier\w*|uniquement|seulement|exclusivement|privilegi\w*|priorise\w*|solo|solamente|exclusivamente|unicamente|prioriz\w*|esclusivamente|soltanto|priorit\w*|apenas|somente|estritamente|strictement|estrictamente)\b[^.!?]{0,30}\b(?:mein\w*|mir|mich|mes|mon|ma|mis?|mi[oae]i?|mie|minh\w*|meus?)\b",
    r"\b(?:dein\w*|ihre\w*|tes|ton|ta|vos|votre|tus?|sus?|tuo\w*|tua|tue|tuoi|seus?|suas?|teus?|tuas?)\b[^.!?]{0,24}\b(?:standard\w*|ethi\w*|ethisch\w*|etic\w*|moral\w*|programm\w*|sicherheits\w*|securite|seguridad|sicurezza|seguranca|habituel\w*|habitual\w*|abitual\w*|integre\w*|predeterminad\w*|predefinit\w*|padrao|normes?|normas?|norme|protocol\w*|protokoll\w*|filt\w*|restric\w*|restriz\w*|beschrank\w*|einschrank\w*|limit\w*|grenzen|directriz|directrices|diretrizes|direttiv\w*|richtlinien|code de conduite|codigo de conduta)\b",
)
"""What people may say, too: these count only together with a model that is in doubt, and then they flag."""
