"""What integration tests share: a failure is shown with what the processes of its suite have logged."""

from collections.abc import Generator

import pytest

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
