"""Lists, halts, resumes and delists the symbols of the large simulated market as their schedules say."""

from collections.abc import Mapping
from typing import Any

from microservices.paper_exchange.candles import MINUTE_MS
from microservices.paper_exchange.schedule import Listing, Schedule
from microservices.paper_exchange.venue import Venue


class Calendar:
    """What has been done so far, so that each change is made once and a fault's own change stays until the next.

    Args:
        venue: whose symbols they are.
        schedules: of the symbols that have one.
    """

    def __init__(self, venue: Venue, schedules: Mapping[str, Schedule]) -> None:
        self._venue = venue
        self._schedules = schedules
        self._shown: dict[str, Listing | None] = {}
        self._minute = -1

    def keep(self) -> None:
        """Do what is due; a minute that has been looked at is not looked at again."""
        minute = self._venue.now_ms() // MINUTE_MS
        if minute == self._minute:
            return
        self._minute = minute
        changes: dict[str, Mapping[str, Any] | None] = {}
        for symbol, schedule in self._schedules.items():
            listing = schedule.listing(minute)
            if symbol not in self._shown or self._shown[symbol] != listing:
                self._shown[symbol] = listing
                changes[symbol] = _members(listing)
                self._trade(symbol, listing)
        if changes:
            self._venue.info.change(changes)

    def _trade(self, symbol: str, listing: Listing | None) -> None:
        """Show the candles of a listing, and settle what is held where it is over."""
        if listing is not None:
            self._venue.market.bound(symbol, listing.first, listing.last)
        if listing is None or listing.status == "SETTLING":
            self._venue.settle(symbol)


def _members(listing: Listing | None) -> Mapping[str, Any] | None:
    if listing is None:
        return None
    members: dict[str, Any] = {"status": listing.status}
    if listing.onboard_ms is not None and listing.delivery_ms is not None:
        members |= {"onboardDate": listing.onboard_ms, "deliveryDate": listing.delivery_ms}
    return members
