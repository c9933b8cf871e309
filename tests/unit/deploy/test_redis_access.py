"""Redis's access list against the scripts that run under it, and what a deploy makes of its template."""

import hashlib
import re

import pytest

from ops.deploy.catalog import PAPER_EXCHANGE, UNITS, Unit
from ops.deploy.redis_access import filled, users_of
from ops.generators.redis_access import CONNECTION, READING, USERS, acl_template
from tests.support.daemon import ROOT

SERVICES = [unit for unit in UNITS if unit is not PAPER_EXCHANGE]
CALLED = re.compile(r"""\bp?call\('([A-Z]+)'(?:, '(STREAM|GROUPS)')?""")
SHARED = {"apply_layer": ("runtime", "exchange"), "position_state_brain": ("runtime", "exchange"),
          "universe_service": ("exchange",), "candle_feed": ("exchange",)}  # fmt: skip
"""Packages whose scripts a service runs besides its own; the stream's take-over is decision intelligence's alone."""
TAKE_OVER = "stream_take_over.lua"


def called_by(unit: Unit) -> set[str]:
    """Name the commands that a service's scripts call."""
    found: set[str] = set()
    for package in (unit.package, *SHARED.get(unit.package, ())):
        for path in (ROOT / "microservices" / package).glob("*.lua"):
            if path.name != TAKE_OVER:
                found |= {"|".join(filter(None, each)).lower() for each in CALLED.findall(path.read_text())}
    return found


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.short)
def test_a_service_may_call_what_its_scripts_call(unit: Unit) -> None:
    """A command that is new in a script is new in the list: in rare paths nobody would notice the refusal in time."""
    user = {each.name: each for each in USERS}[unit.short]
    may = {command for grant in user.grants for command in grant.commands} | {*CONNECTION, *READING}
    called = called_by(unit)
    assert called or not user.runs_scripts
    assert called - may == set()


def test_every_service_has_a_user() -> None:
    """By the name of its settings file."""
    assert {unit.short for unit in SERVICES} <= {user.name for user in USERS}


def test_a_filled_list_holds_hashes_and_no_password() -> None:
    """Each user's own; one that is missing is an error, never a user without a password."""
    template = acl_template()
    passwords = {user: f"password of {user}" for user in users_of(template)}
    assert list(passwords) == [user.name for user in USERS if user.is_enabled]
    written = filled(template, passwords)
    assert "password" not in written
    for line in written.splitlines():
        _, user, *rules = line.split()
        if user == "default":
            assert rules[:2] == ["reset", "off"]
            continue
        assert [rule for rule in rules if rule[0] == "#"] == [
            "#" + hashlib.sha256(passwords[user].encode()).hexdigest()
        ]
    passwords.pop("operator")
    with pytest.raises(KeyError):
        filled(template, passwords)
