"""Files of the repository that the code is the source of (`python -m ops.generate_docs` writes them)."""
