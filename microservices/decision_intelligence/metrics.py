"""What decision intelligence measures of itself."""

from prometheus_client import Counter, Gauge

from microservices.runtime.metrics import Reported

MESSAGES = Counter("quantum_p35_messages", "Messages that this process settled, by how", ["outcome"])
LAG = Gauge("quantum_p35_lag", "Messages that the group has not yet read")
PENDING = Gauge("quantum_p35_pending", "Messages read and not yet settled, over all consumers")
PROCESSED = Reported("quantum_p35_processed_total", "Messages counted, over all instances (the status hash)")
DEAD_LETTERS = Reported("quantum_p35_dead_letter_total", "Messages put aside, over all instances (the status hash)")
LOST = Reported("quantum_p35_lost_total", "Messages lost, over all instances (the status hash)")
SNAPSHOT_AT = Gauge("quantum_p35_snapshot_timestamp_seconds", "When the windows were last written, epoch seconds")
SNAPSHOT_SECONDS = Gauge("quantum_p35_snapshot_seconds", "How long the last snapshot of all windows took")

OUTCOMES = ("counted", "dead_letter", "lost", "late", "repeated")
"""In the order of commit.lua's answer."""
for _outcome in OUTCOMES:
    MESSAGES.labels(outcome=_outcome)
