"""A peer that does not serve costs its own row of the benchmark, not all rows."""

from __future__ import annotations

import pytest

from benchmarks import rounds
from benchmarks.__main__ import peer


@pytest.mark.parametrize("command", ["/bin/false", "/no/such/program", "http:/bin/true", "proxy:/bin/false"])
async def test_a_peer_that_does_not_serve_is_skipped_with_its_reason(command: str) -> None:
    rows = {row["path"]: row for row in await rounds.run([peer(f"bad={command}")], rounds.QUICK)}
    assert rows["peer_bad"]["skipped"].startswith("the peer does not serve: ")
