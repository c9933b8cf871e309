"""A Redis with the project's own access list, and every user's password."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ops.deploy.redis_access import filled, users_of
from tests.support.daemon import ROOT

TEMPLATE: Final = (ROOT / "deployment" / "redis" / "users.acl.template").read_text()
CONFIGURATION: Final = ROOT / "deployment" / "redis" / "redis.conf"
ADMIN: Final = "admin"


def new_passwords() -> dict[str, str]:
    """Make a password for every user of the list."""
    return {user: secrets.token_hex(16) for user in users_of(TEMPLATE)}


def write_acl(path: Path, passwords: Mapping[str, str]) -> Path:
    """Write the list as a deploy installs it."""
    path.write_text(filled(TEMPLATE, passwords))
    return path
