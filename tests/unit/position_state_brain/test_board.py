"""What the loops share in memory."""

import threading

from microservices.position_state_brain.board import Demand, KnownSymbols


def test_a_new_need_wakes_the_snapshot_loop_and_the_same_one_does_not() -> None:
    """It is told 50 times a second while plans wait."""
    demand = Demand(threading.Event())
    demand.set(None)
    assert not demand.wake.is_set()
    demand.set(5)
    assert demand.wake.is_set()
    demand.wake.clear()
    demand.set(5)
    assert not demand.wake.is_set()
    demand.set(None)
    assert (demand.wake.is_set(), demand.from_ms) == (False, None)


def test_a_mark_that_is_set_again_meanwhile_is_not_forgotten() -> None:
    """The ledger loop looks at marks while the permit loop sets them."""
    known = KnownSymbols()
    known.add(marked={"A", "B"})
    seen = known.marked
    known.add(marked={"B"})
    known.forget_marks(seen)
    assert known.marked.keys() == {"B"}


def test_rows_and_holds_are_looked_after_alike() -> None:
    """A hold outlives the position that it was set for."""
    known = KnownSymbols()
    known.add(ledger={"A"})
    known.add(held={"B"})
    assert known.booked == {"A", "B"}
