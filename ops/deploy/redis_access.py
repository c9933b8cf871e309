"""Redis's access list as it is installed: the release's template with the hashes of this machine's passwords."""

import hashlib
import re
from collections.abc import Mapping
from typing import Final

_PLACE: Final = re.compile(r"\{password:([a-z0-9-]+)\}")


def users_of(template: str) -> list[str]:
    """Name the users of a template, in its order."""
    return _PLACE.findall(template)


def filled(template: str, passwords: Mapping[str, str]) -> str:
    """Put the hash of each user's password into a template; the passwords themselves stand nowhere in it.

    Raises:
        KeyError: a user has no password.
    """
    return _PLACE.sub(lambda found: f"#{hashlib.sha256(passwords[found[1]].encode()).hexdigest()}", template)
