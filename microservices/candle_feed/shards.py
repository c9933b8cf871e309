"""Which symbols share a connection. Pure."""

from collections.abc import Iterable, Sequence

from microservices.exchange import STREAMS_MAX

Shard = frozenset[str]


def share_out(shards: Sequence[Shard], symbols: Iterable[str], most: int = STREAMS_MAX) -> list[Shard]:
    """Give every symbol one place, and leave those where they are that have one.

    A shard whose symbols have all gone stays, empty, so that the others keep their numbers.

    Args:
        shards: as they are.
        symbols: which there shall be.
        most: how many a shard may hold.
    """
    wanted = set(symbols)
    shared = [set(shard & wanted) for shard in shards]
    for symbol in sorted(wanted.difference(*shared)):
        room = next((shard for shard in shared if len(shard) < most), None)
        if room is None:
            shared.append({symbol})
        else:
            room.add(symbol)
    return [frozenset(shard) for shard in shared]
