"""No reason code is without an end-to-end test: whoever adds one shows how it comes about."""

from pathlib import Path

from microservices.contracts.reason import Reason

FOLLOWING = Path(__file__).parents[1] / "integration"


def test_every_reason_is_brought_about_end_to_end() -> None:
    """Each member of `Reason` is named in a test that follows a plan through the whole suite."""
    written = "".join(path.read_text() for path in FOLLOWING.glob("test_end_to_end_*.py"))
    assert [reason.name for reason in Reason if f"Reason.{reason.name}" not in written] == []
