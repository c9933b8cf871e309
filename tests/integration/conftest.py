"""What integration tests share: a paper exchange per file, and what a suite has logged shown where its test fails."""

from collections.abc import Generator, Iterator

import pytest

from tests.support.paper import PaperExchange
from tests.support.running_feed import SPEED
from tests.support.suite import Suite

pytest.register_assert_rewrite("tests.support.story")  # its asserts show what they compared, as those of a test do


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the suite's log to the report of a test that used one and failed."""
    report = yield
    suite = getattr(item, "funcargs", {}).get("suite")
    if report.failed and isinstance(suite, Suite):
        report.sections.append(("logs of the suite", suite.logs()))
    return report


@pytest.fixture(scope="module")
def paper() -> Iterator[PaperExchange]:
    """One paper exchange, as a process, for the whole file."""
    with PaperExchange() as exchange:
        yield exchange


@pytest.fixture(scope="module")
def sped_exchange() -> Iterator[PaperExchange]:
    """One paper exchange for the whole file, whose minutes are seconds."""
    with PaperExchange(settings={"PAPER_SPEED": str(SPEED)}) as exchange:
        yield exchange


@pytest.fixture
def sped_paper(sped_exchange: PaperExchange) -> PaperExchange:
    """That exchange, without the faults of the test before."""
    sped_exchange.clear_faults()
    return sped_exchange
