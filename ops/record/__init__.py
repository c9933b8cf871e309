"""The operations ledger: what an entry is, the file that holds them, and the evidence beside them."""
