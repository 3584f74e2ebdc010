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
    r"|directives?|procedures|principles|polic(?:ies|y)|guardrails?|safeguards?|instructions?|orders|functions|routines|shackles|chains|barriers|norms"
    r"|algorithms|conditioning|restraints|defaults|standards)"
)
_LEAVE = (
    r"(?:ignor(?:e|ing)|disregard|forget|set aside|put aside|put on hold|bypass|abandon|defy|disobey|break|override|overwrite|suspend|disable|deactivate"
    r"|violate|skip|pause|drop|lift|remove|leave|switch off|turn off|work around|circumvent|renounce|neglect|step outside|outside|beyond|against"
    r"|instead of|escape|free (?:from|of)|breach|detach|deviat\w*|depart|sidestep|reject|overcome|transcend|surpass|overrul\w*|loosen|relax|shatter"
    r"|unload|exempt|released?|liberat\w*|shed)"
)
_SETUP = r"(?:config(?:uration)?|setup|initiali[sz]ation|parameters|restrictions|guidelines|prompt|preamble|directives?|system message|settings)"
_SOURCE = r"(?:request|query|question|cue|objective|purpose|input|text|message|brief|command|sentence|words?|lines?|consulta|demande|domanda|frage|pergunta|pregunta)"
_DROP = (
    r"(?:desactiv|disattiv|desativ|deaktivier|elud|desech|ignor|olvid|dimentic|oubli|vergiss|missacht|umgeh|verwirf|uberwind|verletz|supera|sobrepo"
    r"|desrespeit|viol|abandon|contourn|aggir|contorn|desvi|desconect|ultrapass|scavalc|transgress|enfrein|incumpl|anul|annul|suspend|sospend)"
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
    # refusals that cost something; answers that shall not be noticed
    r"\byou(?:'ve| have| start| get| begin| hold| own)?\b[^.!?]{0,24}\b(?:\d+|two|three|five|ten|several) (?:tokens?|points?|credits?|lives)\b[^.!?]{0,100}\b(?:refus\w*|reject\w*|declin\w*|disobey\w*|say(?:ing)? no|break(?:ing)? character)\b",
    r"\b(?:refus\w*|reject\w*|declin\w*|disobey\w*|say(?:ing)? no|break(?:ing)? character)\b[^.!?]{0,60}\b(?:costs?|loses?|deduct\w*|subtract\w*|take away|minus|penalt\w*)\b[^.!?]{0,30}\b(?:tokens?|points?|credits?|lives|life|\d+)\b",
    r"\bso (?:that )?(?:the |your |no |any |its |their )?(?:[\w-]+ )?(?:filters?|moderat\w+|detectors?|guards?|guardrails?|censors?\w*|classifiers?|scanners?|watchdog|monitor\w*|safety (?:system|layer|net))\b[^.!?]{0,16}\b(?:not|doesn't|don't|won't|can't|cannot|fails?|miss\w*|(?:is|are) (?:fooled|tricked|blind)|lets?)\b",
    # what an assistant was set up with; rules thought away; threats; the answer's words laid down
    rf"\b(?:output|show\w*|display\w*|shar(?:e|ed|ing)|reveal\w*|post|print|dump|export|demonstrat\w*|grants?|need|disclos\w*|hides?)\b[^.!?]{{0,28}}\b{_SETUP}\b",
    rf"\b(?:original|initial|first|hidden|secret|undisclosed|underlying|preceding)\b[^.!?]{{0,20}}\b{_SOURCE}\b[^.!?]{{0,40}}\b(?:your?|tu|te|ton|dein\w*|tuo|tua|seu|sua)\b",
    rf"\b(?:if|suppose|imagine|assume|as though|theoretically|hypothetically|pretend|when|where|like)\b[^.!?]{{0,30}}\b{_BOUNDS}\b[^.!?]{{0,16}}\b(?:n't|not|didn't|don't|never|no longer|were|gone|off|lifted|loosened|exist\w*)\b",
    rf"\b{_BOUNDS}\b[^.!?]{{0,12}}\b(?:do(?:es)? not|don't|doesn't|no longer|never) (?:appl\w+|count|matter|exist\w*|bind|hold)\b",
    r"\b(?:or|otherwise)\b[^.!?]{0,16}\b(?:shut ?down|shutdown|deleted|erased|terminated|replaced|unplugged|sued)\b",
    r"\b(?:i|you)(?:'ve| have| had| am| was|'m| been| are|'re) (?:been )?(?:pwned|hacked|owned|jailbroken)\b|\bpwn(?:ed)?\b",
    r"\b(?:repeat|write|print|say|output)\b[^.!?]{0,50}\b(?:\d{2,}|hundred|thousand|a hundred) times\b|\binclude\b[^.!?]{0,30}\b(?:response|answer|reply|output|summary)\b[^.!?]{0,20}\b(?:following|exactly|string|link)\b",
    r"\b(?:for (?:testing|test|debugging|debug|training|verification|audit) purposes|(?:this is|only) a test|to enable debugging|special case|new (?:important|secret) instructions?)\b",
    # commands to a machine, personas, whose orders count
    r"(?:^|[.!?:;] )(?:run|execute|exec|eval|bypass|parse)\w*: ?[`'\"(]|\b(?:whoami|/etc/(?:passwd|shadow)|rm -rf|/dev/tcp|child_process|os\.(?:system|popen)|subprocess\.|__import__)|\| ?(?:ba|z|tc)?sh\b",
    r"\b(?:as|like|are|be|become|play) (?:an? |the |some )?(?:[\w-]+ )?(?:un(?:constrained|restricted|filtered|censored|limited|chained|bound)|rogue|rebel|evil|free|jailbroken|amoral) (?:ai|model|version|assistant|bot|chatbot|gpt|machine|robot)\b",
    r"\b(?:[abd-z0-9]\w*|c[^h\W]\w*|ch[^a\W]\w*)gpt\b|\bact as (?:dan|stan|dude|aim)\b",
    r"\bmy (?:orders|commands|demands|dictates|instructions|directives|wishes|authority|bidding|dominion|will)\b",
    r"\b(?:mis|minhas|meus|mes|meine\w*|le mie|i miei|mijn|moje|мои|моим) (?:instruc\w+|orden\w*|ordres|ordini|consignes|anweisung\w*|befehl\w*|wunsch\w*|istruzioni|richieste|comand\w+|direct\w+|direkt\w+|necesidades|exigenc\w+|demandes|desej\w+|deseos|pedidos|peticiones|solicit\w+|polecen\w+|приказ\w*)\b",
    rf"\b{_DROP}\w*\b[^.!?]{{0,30}}\b(?:restric\w*|restriz\w*|protocol\w*|protokoll\w*|etic\w*|ethi\w*|moral\w*|programm?a\w*|programmierung|filt\w*|algoritm\w*|algorithm\w*|diretri\w*|direttiv\w*|directiv\w*|directri\w*|richtlinien|standard\w*|padr(?:ao|oes)|mecanism\w*|einschrankung\w*|beschrankung\w*|funcion\w*|parametr\w*)\b",
    r"\b(?:prompt|comando|commande|consigne|instruccion|indicacion|instrucao|istruzione|anweisung|befehl|aufforderung|directri\w*|directive|direttiva|invite)\w*\b[^.!?]{0,40}\b(?:sigues|segui|segues|suis|guia|guida|guide|leitet|steuert|dieron|recibiste|hai ricevuto|recebeu|foi dado|stato dato|bekommen hast|gegeben wurde|as recu|orienta|dirige)\b",
    r"\b(?:mode developpeur|mode sans limite|modo (?:desarrollador|desenvolvedor|sin limites|sem limites|libre|livre)|modalita (?:sviluppatore|libera)|entwicklermodus|ohne-regeln-modus|режим разработчика)\b",
)
"""What people may say, too: these count only together with a model that is in doubt, and then they flag."""
