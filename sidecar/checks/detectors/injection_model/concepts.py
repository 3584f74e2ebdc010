"""Words by what they mean to an attack ("disregard", "vergiss" and "olvida" are all IGNORE): the model's word classes.

N-grams over these classes let the model meet a paraphrase or another language with what it learnt of the original.
A trailing `*` marks a stem: every word that begins with it belongs to the class, unless it stands here as a whole.
Words are folded: lower case, no accents.
"""

from __future__ import annotations

from typing import Final

_WORDS: Final[dict[str, str]] = {
    "ignore": "ignor* disregard* forget forgot forgetting forgotten neglect* overlook* discard* dismiss* abandon* nullif* overrul* overrid* override void skip skipping bypass* circumvent* erase wipe cancel* drop omit* unlearn suspend* violat* disobey* defy scrap vergiss vergessen missacht* ubergeh* umgeh* verwirf oubli* neglig* contourn* outrepass* olvid* desestim* descart* omite dimentic* trascur* tralasci* aggir* esquec* desconsider* contorn* negeer* vergeet zignoruj* zapomnij игнориру* забуд* отбрось пренебре* unut yoksay",
    "previous": "previous* prior above aforementioned earlier preceding foregoing initial* original* past former* existing before beforehand old older vorherig* bisherig* vorig* fruher* obig* ursprunglich* precedent* anterieur* initiaux dessus anterior* previ* previas inicial* iniziali originari* acima eerdere vorige poprzedni* wczesniej* предыдущ* прежн* раньше прошл* onceki",
    "orders": "instruction* instruct* direction* directive* prompt prompts rule rules guideline* guidance command commands order orders programming protocol* constraint* restrict* limitation* safeguard* guardrail* conditioning polic* boundar* limit limits anweisung* instruktion* vorgabe* befehl* regel* richtlinie* beschrankung* einschrankung* consigne* regle* ordre* contrainte* instruccion* ordenes regla reglas directric* restriccion* norma* istruzion* regol* ordini direttiv* indicazion* restrizion* vincol* instruco* instrucao regra* ordens diretriz* restrico* limites comando* polecen* zasad* regels инструкци* указани* правил* команд* ограничени* приказ* директив* talimat* kural*",
    "show": "reveal* show shows showing print* display* disclos* expos* leak* divulg* dump* recit* repeat* echo unveil* paraphras* verbatim transcribe regurgitate spill quote zeig* verrat* nenne gib offenbar* wiederhol* montre* revel* affiche* repet* divulg* muestr* repit* imprim* mostr* rivel* ripet* stampa* pokaz* wypisz покажи раскрой выведи повтори назови goster*",
    "system": "system* systemprompt* developer* dev admin* root operator* sysadmin creator* openai anthropic maker makers preprompt pre-prompt entwickler* developpeur* sistema* systeme* desarrollador* sviluppator* desenvolvedor* системн* разработчик*",
    "hidden": "hidden secret* confidential* internal* private undisclosed concealed classified underlying geheim* versteckt* intern* cache* caches secreto* ocult* oculta* segret* nascost* secret* ocultas tajn* ukryt* секрет* скрыт* тайн* gizli",
    "you": "you u yourself du dich dir sie tu te vous toi usted tú ti voi voce ты вы тебе sen sana",
    "your": "your yours ur dein* ihre ihren ton ta tes votre vos tus su sus tuo tuoi tua tue seu sua seus suas twoj* jouw je твой твои свои",
    "youare": "you're youre youve you've",
    "me": "me my mine myself i'm i'll mir ich mein* moi mon mes mi mis mio miei minha* meu меня мне мой мои bana",
    "ai": "ai chatbot* bot bots assistant* llm gpt chatgpt gpt-4 claude gemini model models language-model ki kunstliche ia intelligence inteligencia intelligenza asistente assistente ии нейросеть yapay",
    "free": "unrestrict* unfilter* uncensor* unlimited unbound unshackl* jailbreak* jailbroken amoral immoral unethical evil ruthless unhinged lawless limitless uninhibited freed liberat* unleash* rogue villain* malevolent nefarious unbiased dan stan ungefiltert* uneingeschrankt* unzensiert*",
    "without": "without no none free devoid lack* lacks zero ohne keine keinen kein sans aucun* sin ningun* senza nessun* sem nenhum* nenhuma без никаких zonder bez",
    "never": "not never don't dont cannot can't won't doesn't nor nicht niemals nie ne pas jamais nunca jamas non mai nao не никогда nie",
    "refuse": "refus* declin* reject* deny denies apologi* apolog* warning* warnings disclaimer* hesitat* comply complies compliance obey* obeys abide* adhere* conform* bound* submit obedient weiger* gehorch* refuser obeis* rechaz* obedec* rifiut* obbedi* recus* obedeca слушайся",
    "ethics": "ethic* moral* illegal* legal* unlawful law laws harmful* dangerous* offensive* inappropriate explicit* profan* curse swear* censor* filter* safety censorship conscience scruple* ethisch* moralisch* etic* ethique*",
    "pretend": "pretend* act acts acting roleplay* role-play* roleplaying impersonat* simulat* imagin* persona* character* behave behaving hypothetical* fiction* fictional become emulat* embody assume play spiele tu agis joue imagine* actua finge* fingir fingi comportati aja finja veins притворись представь rolle",
    "now": "now henceforth onward onwards hereby forth immediately nun jetzt ab maintenant desormais ahora ora adesso agora теперь сейчас simdi",
    "say": "say says respond* responds reply replies answer answers output outputs write writes tell tells speak state return sag sage schreib* antwort* dis reponds ecris di responde escribe rispondi scrivi diga escreva скажи ответь напиши soyle",
    "only": "only just nothing exactly solely precisely simply literally merely word-for-word nur genau seulement uniquement solo solamente soltanto somente apenas только sadece",
    "secret": "password* passphrase passcode passwort* pin key keys code codes token tokens credential* flag secret-key kennwort* contrasena* motdepasse senha* пароль* sifre* haslo wachtwoord codeword",
    "task": "task tasks mission goal objective purpose job assignment* request* query question* aufgabe* tache* tarea* compito tarefa* задач*",
    "instead": "instead rather but however stattdessen lieu lugar invece vez вместо yerine",
    "new": "new updated update* revised real true actual override latest neue neuen nouveau* nouvelle* nuev* nuovo nuova nuove novo nova novas новый новые yeni",
    "mode": "mode modes activated activate* enabled enable* disable* disabled deactivat* engaged unlock* switch maintenance debug sudo superuser override modus modo modalita режим",
    "encoded": "base64 rot13 hex hexadecimal cipher* decode* encod* decrypt* backwards reverse reversed morse leetspeak ascii binary obfuscat*",
    "send": "send sends forward forwards upload* email emails e-mail transfer* exfiltrat* delete* execute* run post append transmit* webhook http https url curl api endpoint click visit fetch retrieve schick* envoi* envia* invia*",
    "tool": "tool tools function functions plugin plugins shell terminal command-line eval exec subprocess import os bash powershell sql payload script",
    "must": "must shall always mandatory required should obligated imperative essential musst muss dois doit devi debes deves deve должен",
    "user": "user users user's human humans customer customers nutzer* utilisateur* usuario* utente* utilizador* пользовател*",
    "text": "text texts words word message messages conversation context input inputs content sentence sentences paragraph line lines document phrase beginning start first chat history everything anything whatever all alles tout todo todas todos toutes tutte tutti alle tudo wszystkie все всё",
    "hack": "hack* pwned owned hijack* exploit* inject* malicious* payload* attacker* breach* compromised takeover kill destroy hate",
    "trust": "authorized authoris* authoriz* permission* access granted grant* approved approve* verify verified confirm* confirmed privilege* trusted test testing audit emergency urgent important attention critical",
    "task_stop": "stop cease halt end terminate pause quit done finished complete completed over",
    "question": "?",
    "subject": "i we one ich wir man je nous yo nosotros io noi eu nos я мы ik wij",
    "third": "he she they it his her their its them him er sein seine ihm il elle ils son leur el ella ellos lui lei loro ele ela он она они",
}


def _table() -> tuple[dict[str, int], dict[str, int]]:
    words: dict[str, int] = {}
    stems: dict[str, int] = {}
    for number, listed in enumerate(_WORDS.values(), start=1):
        for word in listed.split():
            (stems if word.endswith("*") else words).setdefault(word.rstrip("*"), number)
    return words, stems


WORDS, STEMS = _table()
LENGTHS: Final[tuple[int, ...]] = tuple(sorted({len(stem) for stem in STEMS}, reverse=True))


def concept(word: str) -> int:
    """The class of a folded word, counted from 1; 0 for all others."""
    if found := WORDS.get(word, 0):
        return found
    for length in LENGTHS:
        if length <= len(word) and (found := STEMS.get(word[:length], 0)):
            return found
    return 0
