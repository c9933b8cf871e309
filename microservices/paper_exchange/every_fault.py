"""All faults there are, and how they are read."""

import msgspec

from microservices.paper_exchange.candle_fault_kinds import CorrectCandles, RepeatCandle, SkipCandles, StopCandles
from microservices.paper_exchange.changing_faults import (
    Clear,
    DropConnections,
    ForcedClose,
    HedgeMode,
    MovePrice,
    PositionLag,
    SkewClock,
    SymbolStatus,
)
from microservices.paper_exchange.faults import (
    AcceptLate,
    Drop,
    DuplicateRows,
    EmptyAccount,
    Error,
    ExpirePartial,
    HideOrder,
    Html,
    Latency,
    PartialAccount,
    Refuse,
    SwallowReply,
    Truncate,
    Unavailable,
    UnknownExecution,
)
from microservices.paper_exchange.stream_faults import (
    DelayStreams,
    DropStreams,
    GarbleStreams,
    RefuseStreams,
    RoutedStreams,
    SilenceStreams,
    StreamRules,
)

AnyStriking = (
    Latency | Drop | Truncate | Html | Refuse | Error | Unavailable | UnknownExecution
    | SwallowReply | AcceptLate | HideOrder | ExpirePartial | EmptyAccount | PartialAccount | DuplicateRows
)  # fmt: skip
AnyChanging = (
    Clear | SkewClock | PositionLag | HedgeMode | ForcedClose | StopCandles | SkipCandles | RepeatCandle
    | CorrectCandles | MovePrice | SymbolStatus | DropConnections
)  # fmt: skip
AnyStream = DropStreams | RefuseStreams | SilenceStreams | DelayStreams | GarbleStreams | RoutedStreams | StreamRules
AnyFault = AnyStriking | AnyChanging | AnyStream


def read_faults(body: bytes) -> list[AnyFault]:
    """Read one fault, or a list of them.

    Raises:
        msgspec.DecodeError: not JSON, an unknown fault or field, or a value out of bounds.
    """
    faults: AnyFault | list[AnyFault] = msgspec.json.decode(body, type=AnyFault | list[AnyFault])
    return faults if isinstance(faults, list) else [faults]
