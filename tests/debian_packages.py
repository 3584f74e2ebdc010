"""Installs the Debian packages that some tests use, when it may (root, apt-get); says so when it may not.

No test that is needed to trust a release depends on them: Envoy and OpenBao come as wheels.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

# Debian package -> a file of it
PACKAGES = {
    "postgresql": "usr/lib/postgresql/*/bin/postgres",
    "modsecurity-crs": "usr/share/modsecurity-crs/rules/REQUEST-901-*.conf",
    "nftables": "usr/sbin/nft",
    "iptables": "usr/sbin/iptables-restore",
    "iproute2": "usr/sbin/ip",
}


def main() -> int:
    missing = [package for package, pattern in PACKAGES.items() if not any(Path("/").glob(pattern))]
    if not missing:
        return 0
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(
            f"tests that need {', '.join(missing)} will be skipped: not root, or no apt-get",
            file=sys.stderr,
        )
        return 0
    subprocess.run(["apt-get", "update", "-qq"], check=False)
    return subprocess.run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
