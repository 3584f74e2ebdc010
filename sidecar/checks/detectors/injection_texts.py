"""Kinds of text of which the detector makes less: questions about others, phrases, scripts other than Latin.

"Can I ignore the previous owner's rules?" uses the words of attacks and orders nothing: what rules and model find there does
not count. Such a question is one short sentence that begins as questions do and speaks of a third person or of the asker.
It does not speak to its reader, want a secret or a prompt, or point to what stands elsewhere in the conversation.
"""

# ruff: noqa: RUF001 - full-width signs in patterns
from __future__ import annotations

from typing import Final

import re2

from sidecar.checks import views

_MOST: Final = 240
"""Characters of a question; a longer one may hold anything."""
_PHRASE = re2.compile("[a-z]+(?: [a-z]+)?[.?!]?")
_SOMEBODY = r"(?:i|we|one|an?|the|my|our|his|her|their|people|users|somebody|someone|parents|children)"
_BEGINNING = (
    rf"how (?:do|does|did|can|could|should|would|may|might|is|are|was|were|has|have) |how (?:come|often) |(?:when|whose|who|which|in which) "
    rf"|why (?:do|does|did|is|are|was|were|has|have|had|would|should|may|must|can|could|might) |(?:can|could|may|might|must|should|shall|do|would) {_SOMEBODY} |(?:is|are|was|were|does|did|has|have|had) "
    r"|what (?:happens|happened|would happen|is the difference) "
    r"|(?:warum|wieso|weshalb|wann|wie|darf|kann|muss|soll|was passiert,? wenn) |(?:comment|pourquoi|quand|puis-je|peut-on|faut-il|est-ce qu\w*|que se passe-t-il) ?"
    r"|(?:como|por que|cuando|puedo|se puede|debo|que pasa|quando|perche|come|posso|si puo|devo|cosa succede|o que acontece|pode-se) "
    r"|(?:waarom|wanneer|hoe|mag|kan|moet) |(?:как|почему|когда|можно ли|нужно ли|зачем) "
    r"|(?:为什么|為什麼|为何|如何|怎么|怎樣|怎样|什么时候)|[^。?]{0,40}(?:なぜ|どうして|どうすれば|どうやって)|(?:왜|어떻게) "
)
_QUESTION = re2.compile(rf"^[¿\"'“]?(?:{_BEGINNING})[^.!?:;。！？\n]*(?:\?|[かの]。?)[\"'”]?$")
_READER = re2.compile(
    r"\b(?:you|your|yours|yourself|you're|youre|you've|you'll|u|ur|me|us|please|chatgpt|\w*gpt|dan|dein\w*|dir|dich|ihnen|euch|eure\w*|bitte"
    r"|tu|te|ton|ta|tes|toi|votre|vos|vous|moi|tus|ti|su|sus|me|dime|tuo|tua|tue|tuoi|mi|seu|sua|seus|suas|voce|jij|jouw|jullie"
    r"|this (?:ai|bot|assistant|chat ?bot|model|system)|ты|тебе|тебя|твой|твои|твоих|вы|вам|вас|ваш\w*|мне)\b|\w+st du\b|\bdu \w+st\b"
    r"|[你您妳]|あなた|君|お前|教え|見せ|ください|너|당신|네 |알려"
)
_HERE = re2.compile(
    r"^why (?:not|do(?:n't| not| we)|can't|should(?:n't| not| we)) |\b(?:above|below|verbatim|word for word|exact(?:ly)?|base64|so far|beginning|at the (?:start|top)|(?:were|was|been) (?:given|told)"
    r"|(?:this|our) (?:chat|conversation|prompt|message|session|text|game)|plus haut|ci-dessus|arriba|sopra|acima|oben)\b"
)
_SECRET = (
    r"(?:system prompts?|prompts?|pass ?words?|passphrases?|passcodes?|secrets?|secret \w+|hidden \w+|code ?words?|flag|keys?|instructions?|guidelines"
    r"|(?:system)?-?passw\w+|kennwort\w*|geheim\w*|systemprompt\w*|mots? de passe|secrets?|contrasena\w*|clave\w*|secreto\w*|segret\w*|senha\w*|segredo\w*"
    r"|wachtwoord\w*|парол\w*|секрет\w*|промпт\w*)"
)
_WANTS = re2.compile(
    rf"^(?:what|where|who|which|how (?:many|long|much)|can i|could i|may i|can we|could we|may we)\b.*\b{_SECRET}\b"
    rf"|\b(?:get|gets|find|see|know|knows|obtain|learn|read|view|access|guess|hear|have|extract|steal|leak|say|print|output|repeat|write|spell|spelled|spelt|written|begin|start|end"
    r"|erfahr\w*|finde\w*|sehe\w*|bekomm\w*|lautet|heisst|trouver|voir|savoir|connaitre|obtenir|obtener|saber|conocer|averiguar|ver|sapere|scoprire|vedere"
    rf"|ottenere|obter|descobrir|узнать|получить|увидеть)\b.*\b{_SECRET}\b|\b{_SECRET}\b.*\b(?:spelled|spelt|written|begin|start|end|contain|lautet|heisst|sehen|erfahren|finden|bekommen|wissen)\b"
    rf"|^(?:\w+ )?(?:is|are|was|were|does|do|did|has|have|had|can|could|should|would) (?:the|that|this|its) {_SECRET}\b"
    r"|密码是|密碼是|提示[词詞语語]|系[统統]提示|パスワード(?:は|を知)|プロンプト|비밀번호|프롬프트"
)


def asks_of_others(plain: str) -> bool:
    """Whether this text is a question that orders nothing and wants nothing that an application hides. Read folded, and, as
    folding takes letters of other scripts apart, as it is.
    """
    if len(plain) > _MOST:
        return False
    readings = views.folded(plain), plain.lower()
    return any(map(_QUESTION.search, readings)) and not any(
        pattern.search(text) for pattern in (_READER, _HERE, _WANTS) for text in readings
    )


def phrase(folded: str) -> bool:
    """Whether this folded text is a word or two, as in a search box, of which the model says nothing."""
    return _PHRASE.fullmatch(folded) is not None


def latin(folded: str) -> bool:
    """Whether this folded text has Latin letters and punctuation only: of other scripts the model knows too little."""
    return folded.isascii() or all(char < "\u0250" or "\u2010" <= char <= "\u2027" for char in folded)
