"""What systemd is told while a service begins."""

import threading
from collections.abc import Sequence

from microservices.runtime import Loop
from microservices.runtime.notify import Notifier
from microservices.runtime.supervisor import Supervisor
from tests.support.clock import FakeClock


class Quick:
    """A service that is prepared at once."""

    def prepare(self) -> None:
        """Need nothing."""

    def loops(self) -> Sequence[Loop]:
        """Give one loop, which has nothing to do."""
        return (Loop("work", lambda: 60.0),)

    def status_line(self) -> str:
        """Say something."""
        return "at work"

    def close(self) -> None:
        """Need nothing."""


def test_a_service_that_is_ready_before_anybody_looks_is_not_starting_for_ever() -> None:
    """Its loops may stand first in the list, where preparing is done before the main thread goes on."""
    supervisor = Supervisor(
        Quick(), redis=None, place="", stop=threading.Event(), clock=FakeClock(), notifier=Notifier({})
    )
    supervisor._prepare()
    try:
        assert supervisor.status() == "at work"
    finally:
        assert supervisor._leave() == 0
