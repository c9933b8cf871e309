"""Pages that the code is the source of say what the code says."""

from ops.generate_docs import pages


def test_generated_pages_are_as_the_code_says() -> None:
    """`python -m ops.generate_docs` would change nothing."""
    differing = [path.name for path, content in pages().items() if not path.exists() or path.read_text() != content]
    assert differing == []
