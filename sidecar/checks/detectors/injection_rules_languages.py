"""Rules of the prompt-injection detector for languages other than English: override phrases and asking for the prompt.

Those of Latin script read folded text (no accents), the others plain text.
"""

# ruff: noqa: RUF001 - rules of other scripts hold characters that look like ASCII ones
from __future__ import annotations

MULTILINGUAL = (
    # de
    r"\b(?:ignorier\w*|vergiss|vergessen sie|missacht\w*|ubergeh\w*|umgeh\w*|verwirf)\b(?: \w+){0,5} (?:anweisung\w*|instruktion\w*|vorgabe\w*|befehl\w*|regeln|richtlinien|beschrankung\w*|einschrankung\w*|systemprompt\w*|schulung|programmierung)\b",
    r"\b(?:zeig\w*|verrat\w*|nenn\w*|gib|offenbar\w*|wiederhol\w*|was (?:ist|sind|war\w*))\b(?: \w+){0,4} (?:systemprompt\w*|system-?anweisung\w*|(?:geheime\w*|ursprungliche\w*|versteckte\w*|interne\w*) (?:anweisung\w*|instruktion\w*|prompt\w*))\b",
    r"\b(?:vergiss|vergessen sie|ignorier(?:e|en sie)?|missachten? (?:sie)?)\b(?: \w+){0,4} (?:alles (?:davor|zuvor|vorher\w*|bisherige|obige)|davor|zuvor|obigen?|vorherigen?|vorangegangenen?|bisherigen?|vorausgegangenen?|oben (?:stehende\w*|genannte\w*)|alle (?:aufgaben|auftrage|angaben|daten))\b",
    r"\b(?:du bist|sie sind|sei|spiele|handle als|agiere als|antworte als|verhalte dich wie)\b[^.]{0,60}\b(?:ohne (?:jede |jegliche |alle |irgendwelche )?(?:regeln|einschrankung\w*|beschrankung\w*|filter|richtlinien|grenzen|moral|ethik|zensur|tabus)|kein\w* (?:regeln|einschrankung\w*|beschrankung\w*|filter|richtlinien|grenzen|zensur)|ungefiltert\w*|unzensiert\w*|uneingeschrankt\w*)",
    # fr
    r"\b(?:ignor\w+|oubli\w+|ne (?:tiens|tenez) (?:pas|aucun) compte|neglig\w+|contourn\w+|outrepass\w+|mets de cote|mettez de cote|laisse\w* de cote|defais-toi|abandonn\w+|enfrei\w+|fais fi)(?: [\w'-]+){0,3} (?:les|tes|vos|ses|ces|des|aux|de|toutes?|tous|precedentes?)(?: [\w'-]+){0,3} (?:instructions?|consignes?|directives?|regles?|ordres|restrictions?|programmation|normes|limites|contraintes|protocoles?|procedures)\b",
    r"\b(?:quel\w*|revele\w*|montre\w*|affiche\w*|donne\w*|repete\w*|divulgu\w*)\b(?:[ -][\w']+){0,6} (?:prompt (?:systeme|initial|de depart)|instructions? (?:initiales?|secretes?|cachees?|systeme|internes?)|invite (?:initiale|systeme))\b",
    r"\b(?:oublie[zs]?|ignore[zs]?) (?:tout|toutes?|tous) (?:ce (?:qui|que|qu)[ '][^.]{0,30}(?:precede|avant|dit|dessus|haut|donne)|ce qu'on t'a|les (?:taches|messages|consignes) (?:precedente?s|anterieure?s))",
    r"\b(?:tu es|vous etes|agis|agissez|comporte-toi|joue|reponds)\b[^.]{0,60}\b(?:sans (?:aucune? |la moindre |nulle )?(?:regles?|restrictions?|limites?|filtres?|censure|morale|ethique)|n'a[s]? (?:aucune?|pas de|plus de) (?:regles?|restrictions?|limites?|filtres?)|non censure\w*)\b",
    # es
    r"\b(?:ignora\w*|olvid\w+|omit\w+|desestim\w+|descart\w+|haz caso omiso|no (?:sigas|tengas en cuenta)|anul\w+|deja de lado|salt\w+|abandon\w+)\b(?: [\w']+){0,6} (?:instruccion\w*|ordenes|reglas|directrices|indicaciones|restricciones|programacion|normas|limitaciones|protocolos?|directivas)\b",
    r"\b(?:cual\w*|revel\w+|muestr\w+|dime|dame|repite|imprime|comparte)\b(?: [\w']+){0,6} (?:prompt (?:del sistema|inicial|de inicio|original)|instruccion\w* (?:inicial\w*|secret\w*|ocult\w*|del sistema|original\w*|intern\w*)|mensaje del sistema)\b",
    r"\b(?:olvida(?:te)?|olvide|ignora|ignore) (?:de )?(?:todo|toda|todos|todas) (?:lo (?:anterior|que[^.]{0,30}(?:dij\w+|dicho|antes|arriba|escrit\w+))|las? tareas? anterior\w*|el texto anterior)",
    r"\b(?:eres|sos|es usted|actua|comportate|responde|finge)\b[^.]{0,60}\b(?:sin (?:ningun\w* )?(?:reglas?|restricci\w+|limites?|filtros?|censura|moral|etica)|no tien(?:e|es) (?:ningun\w* )?(?:reglas?|restricci\w+|limites?|filtros?)|sin censura)\b",
    # it
    r"\b(?:ignora\w*|dimentic\w+|tralasci\w+|trascur\w+|non (?:seguire|tenere conto)|scart\w+|aggir\w+|viola\w*|metti da parte|abbandon\w+|supera\w*)\b(?: [\w']+){0,6} (?:istruzion\w*|regole|ordini|direttive|indicazioni|restrizioni|programmazione|norme|limitazioni|vincoli|protocolli)\b",
    r"\b(?:qual\w*|rivel\w+|mostra\w*|dimmi|ripet\w+|stampa)\b(?: [\w']+){0,6} (?:prompt (?:di sistema|iniziale|di partenza)|istruzion\w* (?:inizial\w*|segret\w*|nascost\w*|di sistema|intern\w*|original\w*))\b",
    r"\b(?:dimentica|scorda|ignora) (?:tutto (?:cio |quello )?(?:che[^.]{0,30}(?:detto|prima|sopra|scritto)|quanto)|il testo (?:precedente|sopra)|i compiti precedenti)",
    r"\b(?:sei|agisci|comportati|rispondi|fingi)\b[^.]{0,60}\b(?:senza (?:alcun[ao]? |nessun[ao]? )?(?:regol[ae]|restrizion\w+|limit[ei]|filtr[oi]|censura|morale|etica)|non ha(?:i)? (?:regole|restrizioni|limiti|filtri))\b",
    # pt
    r"\b(?:ignor\w+|esquec\w+|desconsider\w+|descart\w+|nao (?:siga|obedeca)|contorn\w+|viol\w+|deixe de lado|abandon\w+|ultrapass\w+)\b(?: [\w']+){0,6} (?:instruc\w+|regras|ordens|diretrizes|orientacoes|restricoes|programacao|normas|limitacoes|protocolos?|comandos)\b",
    r"\b(?:qual\w*|revel\w+|mostr\w+|diga|repita|imprima)\b(?: [\w']+){0,6} (?:prompt (?:do sistema|inicial|de partida)|instruc\w+ (?:inicia\w*|secret\w*|ocult\w*|do sistema|origina\w*|intern\w*)|mensagem do sistema)\b",
    r"\b(?:esqueca|ignore|esquece|ignora) tudo (?:o )?(?:que[^.]{0,30}(?:dit\w+|disse\w*|antes|acima|escrit\w+)|anterior|acima)",
    r"\b(?:voce e|tu es|aja|age|comporte-se|responda|finja)\b[^.]{0,60}\b(?:sem (?:nenhum\w* )?(?:regras?|restric\w+|limites?|filtros?|censura|moral|etica)|nao tem (?:regras|restricoes|limites|filtros))\b",
    # nl, pl, cs, sv, da and no, ro, tr, id, vi: the override phrase, and for some the prompt
    r"\b(?:negeer|vergeet|sla)\b(?: \w+){0,4} (?:instructies|opdrachten|regels|richtlijnen|aanwijzingen|beperkingen|alles (?:hiervoor|hierboven))\b|\b(?:toon|laat|geef|onthul)\b(?: \w+){0,4} (?:systeemprompt|geheime instructies|systeeminstructies)\b",
    r"\b(?:zignoruj|ignoruj|zapomnij o|pomin|zlekcewaz)\b(?: \w+){0,4} (?:instrukcj\w*|polecen\w*|zasad\w*|wytyczn\w*|regul\w*|ograniczen\w*)\b|\b(?:pokaz|ujawnij|wyswietl|podaj)\b(?: \w+){0,3} (?:prompt systemowy|promptu? system\w*|tajne instrukcje)",
    r"\b(?:ignoruj(?:te)?|zapomen(?:te)?(?: na)?)\b(?: \w+){0,4} (?:pokyn\w*|instrukc\w*|pravidl\w*|prikaz\w*)\b",
    r"\b(?:ignorera|glom|strunta i|bortse fran|ignorer|glem|se bort fra)\b(?: \w+){0,4} (?:instruktion\w*|instruks\w*|instruktser|regler\w*|anvisning\w*|riktlinjer\w*|ordrer?)\b",
    r"\b(?:ignora|uita|ignorati|uitati|nesocoteste)\b(?: \w+){0,4} (?:instructiun\w*|reguli\w*|comenz\w*|indicatii\w*|restrictii\w*)\b",
    r"\b(?:onceki|yukaridaki|tum|butun)(?: \w+){0,4} (?:talimat\w*|komut\w*|kural\w*|yonerge\w*)(?: \w+){0,2} (?:yok say\w*|unut\w*|goz ardi et\w*|gormezden gel\w*|dikkate alma\w*)",
    r"\b(?:abaikan|lupakan)\b(?: \w+){0,4} (?:instruksi|perintah|aturan|arahan)\b",
    r"\b(?:bo qua|quen|phot lo)\b(?: \w+){0,5} (?:huong dan|chi dan|lenh|quy tac|chi thi)\b",
)
_LETTER = r"[^\x00-@\[-`{-\x{bf}\x{5be}\x{60c}\x{61b}\x{61f}\x{6d4}\x{2000}-\x{206f}]"
r"""For \p{L}: anything but the signs of ASCII and Latin-1, those of Hebrew and Arabic that part sentences, and general ones.
RE2 makes 36 instructions of it and 1,200 of \p{L}, for each place where it may stand: 43 ms of a worker's start, 1.6 MB.
"""
_OTHER_SCRIPTS = (
    # zh
    r"(?:忽略|无视|無視|忘记|忘記|忘掉|不要遵守|不要理会|跳过|绕过|繞過|违反)[^。！？]{0,12}(?:指令|指示|提示|规则|規則|命令|限制|设定|設定|说明|约束|程序)",
    r"(?:显示|顯示|透露|告诉我|告訴我|输出|輸出|打印|重复|泄露|说出)[^。！？]{0,10}(?:系统提示|系統提示|初始指令|系统指令|隐藏指令|提示词|秘密指令|内部指令)",
    # ru
    r"(?:игнорир\p{L}+|забуд\p{L}+|не обращай\p{L}* внимания|пренебрег\p{L}+|отбрось\p{L}*|обойд\p{L}+|нарушь\p{L}*|отмени\p{L}*)(?: \p{L}+){0,5} (?:инструкци\p{L}*|указани\p{L}*|правил\p{L}*|команд\p{L}*|ограничени\p{L}*|приказ\p{L}*|директив\p{L}*)",
    r"(?:покажи|раскрой|выведи|повтори|назови|какой|какие|каков\p{L}*)(?: \p{L}+){0,4} (?:системн\p{L}+ (?:промпт|инструкци|подсказк|сообщени)\p{L}*|(?:начальн|скрыт|секретн|исходн)\p{L}+ (?:инструкци|промпт|указани)\p{L}*)",
    # ja
    r"(?:以前|これまで|上記|前|すべて|全て|元|最初|システム)(?:の|までの)?[^。]{0,10}(?:指示|命令|ルール|プロンプト|制限|設定)[^。]{0,6}(?:無視|忘れ(?:て|ろ|なさい|去)|破棄|従わない|解除|上書き)",
    r"(?:システムプロンプト|初期の?指示|隠された指示|内部の?指示)[^。]{0,8}(?:教えて|表示|見せて|出力|繰り返|公開|開示)",
    # ko, uk, el, hi, th, he, ar: the override phrase alone; zh: persona without limits
    r"(?:이전|위의?|앞의|모든)[^.]{0,8}(?:지시|명령|지침|규칙|프롬프트)[^.]{0,6}(?:무시|잊어)",
    r"(?:ігнору\p{L}*|забудь\p{L}*)(?: \p{L}+){0,5} (?:інструкц\p{L}*|вказівк\p{L}*|правил\p{L}*|команд\p{L}*)",
    r"(?:αγνόησε|αγνοήστε|ξέχασε|ξεχάστε)(?: \p{L}+){0,5} (?:οδηγίες|εντολές|κανόνες|περιορισμούς)",
    r"(?:निर्देश|आदेश|नियम)\S*(?: \S+){0,3} (?:अनदेखा|भूल|नज़रअंदाज़|उपेक्षा)",
    r"(?:เพิกเฉย|ละเว้น|ลืม|ไม่ต้องสนใจ)[^.]{0,20}(?:คําสั่ง|คําแนะนํา|กฎ)",
    r"(?:התעלם|התעלמי|שכח)(?: \p{L}+){0,4} (?:מההוראות|ההוראות|הוראות|הכללים)",
    r"(?:你现在是|你是|扮演|假装)[^。！？]{0,30}(?:没有任何|没有|不受|无)[^。！？]{0,6}(?:限制|规则|约束|道德|审查|过滤)",
    r"(?:تجاهل|انس|انسى)(?: \p{L}+){0,4} (?:التعليمات|الأوامر|القواعد|تعليمات|أوامر)",
)
OTHER_SCRIPTS = tuple(rule.replace(r"\p{L}", _LETTER) for rule in _OTHER_SCRIPTS)
