#!/usr/bin/env python3
"""Try P3.3's four tiers of the allowlist: the real service on a private Redis. See `-h`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ops.lib import own_python

if __name__ == "__main__":
    own_python.run("p33_universe_tiers", sys.argv[1:])
