"""docs/telemetry.md lists every act that leaves an admin event."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_KINDS = "policy|mesh|key_set|key|secret|rotation|token|join_token|instance|subscription|audit"
_RECORDED = re.compile(rf'(?:\.event\(.*?|act=|ACT = )"((?:{_KINDS})\.[a-z]+)"')


def test_every_act_is_documented() -> None:
    table = (
        (ROOT / "docs" / "telemetry.md").read_text().partition("### Admin events")[2].partition("### Gaps")[0]
    )
    documented = set(re.findall(r"`([a-z_]+\.[a-z]+)`", table))
    sources = [file.read_text() for file in (ROOT / "control_plane").rglob("*.py")]
    recorded = {act for text in sources for act in _RECORDED.findall(text)}
    assert len(recorded) > 10
    assert recorded <= documented
