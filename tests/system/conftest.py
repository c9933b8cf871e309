"""What the system tests share: one booted machine with the suite deployed to it, for all files of a worker."""

from collections.abc import Iterator

import pytest

from tests.support.booted import why_not
from tests.support.deployed import Deployed, deployed_machine


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """A machine after its first deploy; a test leaves it as it found it."""
    if reason := why_not():
        pytest.skip(reason)
    with deployed_machine(tmp_path_factory.mktemp("checkout")) as machine:
        yield machine
