"""Which rules of the OWASP Core Rule Set are loaded, and with what settings around them (SecLang, CRS 3.3 and 4)."""

from __future__ import annotations

import os
from pathlib import Path

PLACES = (Path("/usr/share/modsecurity-crs/rules"), Path("/usr/share/modsecurity-crs/4/rules"))
"""Where Debian's package modsecurity-crs puts them."""
SETTING = "BARTIZAN_CRS_DIR"
EVALUATION = frozenset({949110})
"""The rule that says that the score reached the threshold."""
_UNFIT = ("-903.9", "-910-", "-912-")
"""Exclusions for blogs and shops; reputation, which needs GeoIP; flood protection, which is the rate limits' work."""

# 920350 takes an IP address as Host for a sign of scanning; in a cluster it is how pods are called.
_SETUP = """\
SecRuleEngine DetectionOnly
SecAuditEngine Off
SecRequestBodyAccess On
SecRequestBodyLimit 1048576
SecRequestBodyNoFilesLimit 1048576
SecResponseBodyAccess Off
SecPcreMatchLimit 50000
SecPcreMatchLimitRecursion 50000
SecCollectionTimeout 60
SecRule REQUEST_HEADERS:Content-Type "^application/(?:[a-z0-9.+-]+\\+)?json" \
  "id:99001,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
SecAction "id:99002,phase:1,pass,t:none,nolog,ctl:ruleRemoveById=920350,\
  setvar:tx.paranoia_level={paranoia},setvar:tx.blocking_paranoia_level={paranoia},\
  setvar:tx.executing_paranoia_level={strict},setvar:tx.detection_paranoia_level={strict},\
  setvar:tx.inbound_anomaly_score_threshold=5,setvar:tx.outbound_anomaly_score_threshold=4,\
  setvar:'tx.allowed_methods=GET HEAD POST OPTIONS PUT DELETE',setvar:tx.crs_setup_version=400"
"""


def setup(paranoia: int) -> str:
    """Rules of one level beyond the policy's run too, and only say what they would have found."""
    return _SETUP.format(paranoia=paranoia, strict=min(4, paranoia + 1))


def find(environment: dict[str, str] | None = None) -> Path | None:
    """The folder of rules, or None when there is none."""
    named = (os.environ if environment is None else environment).get(SETTING)
    places = (Path(named),) if named else PLACES
    return next((place for place in places if files(place)), None)


def files(folder: Path) -> list[Path]:
    """The request rules in their order."""
    found = sorted(folder.glob("REQUEST-*.conf"))
    return [file for file in found if not any(part in file.name for part in _UNFIT)]
