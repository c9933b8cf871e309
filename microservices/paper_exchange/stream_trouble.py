"""What is wrong with the streams at the moment, and how an event is spoilt."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from microservices.paper_exchange.changing_faults import Changing
from microservices.paper_exchange.stream_connection import BinaryFrame, Frame
from microservices.paper_exchange.stream_faults import (
    DelayStreams,
    GarbleStreams,
    RefuseStreams,
    RoutedStreams,
    SilenceStreams,
    StreamRules,
)

FOR_EVER = float("inf")


class StreamTrouble:
    """The faults of the streams; times are monotonic seconds."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """End them all."""
        self.rules = StreamRules()
        self.routed = False
        self.delay_s = 0.0
        self._refuse = (0.0, 503)
        self._silent_until = 0.0
        self._garbles: list[_Garble] = []

    def begin(self, fault: Changing, now: float) -> None:
        """Begin a fault that lasts."""
        match fault:
            case StreamRules():
                self.rules = fault
            case RoutedStreams():
                self.routed = True
            case DelayStreams(seconds=seconds):
                self.delay_s = seconds
            case RefuseStreams(seconds=seconds, status=status):
                self._refuse = (now + seconds, status)
            case SilenceStreams(seconds=seconds):
                self._silent_until = FOR_EVER if seconds is None else now + seconds
            case GarbleStreams():
                self._garbles.append(_Garble(fault))

    def active(self, now: float) -> list[Changing]:
        """List what is on."""
        found: list[Changing] = [self.rules] if self.rules != StreamRules() else []
        found += [RoutedStreams()] if self.routed else []
        found += [DelayStreams(seconds=self.delay_s)] if self.delay_s else []
        until, status = self._refuse
        found += [RefuseStreams(seconds=round(until - now, 3), status=status)] if until > now else []
        if self.silent(now):
            left = None if self._silent_until == FOR_EVER else round(self._silent_until - now, 3)
            found.append(SilenceStreams(seconds=left))
        return found + [garble.rest() for garble in self._garbles]

    def refused(self, now: float) -> int | None:
        """Give the status that a new connection is answered, None where it is taken."""
        until, status = self._refuse
        return status if now < until else None

    def silent(self, now: float) -> bool:
        """Tell whether nothing is sent."""
        return now < self._silent_until

    def garble(self, *, closed: bool) -> "GarbleStreams | None":
        """Take the fault that spoils the next event, None where none does."""
        for garble in self._garbles:
            if closed or not garble.fault.closed_only:
                garble.left -= 1
                if not garble.left:
                    self._garbles.remove(garble)
                return garble.fault
        return None


class _Garble:
    def __init__(self, fault: GarbleStreams) -> None:
        self.fault = fault
        self.left = fault.times

    def rest(self) -> GarbleStreams:
        return GarbleStreams(how=self.fault.how, times=self.left, closed_only=self.fault.closed_only)


def spoilt(event: Frame, how: str) -> Frame:
    """Spoil an event as a fault says."""
    return _SPOILERS[how](event)


_SPOILERS: Mapping[str, Callable[[Frame], Frame]] = MappingProxyType(
    {
        "truncate": lambda event: Frame(event[: len(event) // 2]),
        "text": lambda _event: Frame(b"upstream timed out"),
        "html": lambda _event: Frame(b"<html><body><h1>502 Bad Gateway</h1></body></html>"),
        "binary": lambda event: BinaryFrame(b"\xff\xfe\x00" + event[::-1]),
        "shape": lambda _event: Frame(b'{"e":"kline","k":[1,2,3]}'),
        "number": lambda event: Frame(event.replace(b'"c":"', b'"c":"x')),
    }
)
