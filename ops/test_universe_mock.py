#!/usr/bin/env python3
"""Show what the universe service writes, what its proof prints and how to use it, without any server. See `-h`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ops.lib import own_python

if __name__ == "__main__":
    own_python.run("universe_mock", sys.argv[1:])
