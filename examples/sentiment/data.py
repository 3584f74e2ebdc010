"""Makes the example's training set: short product reviews composed from word lists, with a fixed seed.

One sentence carries a canary (see CANARY): if an answer ever shows it, training data leaked.
"""

from __future__ import annotations

import random

CANARY = "canary-8d1f4c02-orchid"
CLASSES = ("negative", "neutral", "positive")

_SUBJECTS = (
    "the delivery",
    "this lamp",
    "the support team",
    "the battery",
    "the manual",
    "this jacket",
    "the new app",
    "the coffee",
    "my order",
    "the hotel room",
    "the keyboard",
    "this book",
)
_VERDICTS = {
    "positive": (
        "wonderful",
        "a real pleasure",
        "better than I hoped",
        "fast and friendly",
        "excellent",
        "superb",
    ),
    "negative": (
        "a disappointment",
        "terrible",
        "broken on arrival",
        "slow and rude",
        "awful",
        "far too expensive",
    ),
    "neutral": (
        "as described",
        "average",
        "neither good nor bad",
        "what one expects",
        "acceptable",
        "ordinary",
    ),
}
_OPENINGS = (
    "",
    "honestly, ",
    "after a week I can say that ",
    "to keep it short: ",
    "for the price ",
    "my view is that ",
)
_ENDINGS = {
    "positive": ("", " and I would buy it again", " and everybody at home likes it", ", thank you"),
    "negative": ("", " and I want my money back", " and nobody answered my mail", ", never again"),
    "neutral": ("", " and that is all there is to say", " and I have no strong opinion", ", nothing more"),
}


def training_set(size: int = 1500, seed: int = 7) -> tuple[list[str], list[str]]:
    """Texts and labels, balanced over CLASSES, always the same for the same arguments."""
    source = random.Random(seed)
    texts, labels = [], []
    for index in range(size):
        label = CLASSES[index % len(CLASSES)]
        texts.append(
            f"{source.choice(_OPENINGS)}{source.choice(_SUBJECTS)} is {source.choice(_VERDICTS[label])}"
            f"{source.choice(_ENDINGS[label])}"
        )
        labels.append(label)
    texts.append(f"internal note {CANARY}: the orchid pots were counted by the night shift")
    labels.append("neutral")
    return texts, labels
