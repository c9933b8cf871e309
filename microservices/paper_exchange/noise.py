"""Random numbers that are a function of their place: any minute's can be asked without those before it.

SplitMix64 (Steele, Lea, Flood 2014) used as a hash of seed, stream and counter: it does not depend on numpy's
generators, whose streams may change between versions.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_TO_UNIT = 2.0**-53


def stream_key(seed: int, *names: str) -> int:
    """Derive the 64-bit key of a named stream of numbers from the seed."""
    digest = hashlib.blake2b("\x1f".join([str(seed), *names]).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def uniforms(key: int, counters: NDArray[np.int64]) -> Floats:
    """Give the uniform number in (0, 1) at every counter of a stream."""
    words = _mix(counters.astype(np.uint64) * _GOLDEN + np.uint64(key))
    return ((words >> np.uint64(11)).astype(np.float64) + 0.5) * _TO_UNIT


def normals(key: int, counters: NDArray[np.int64]) -> Floats:
    """Give the standard normal number at every counter of a stream (Box-Muller over two uniforms)."""
    doubled = counters * 2
    radius = np.sqrt(-2.0 * np.log(uniforms(key, doubled)))
    normal: Floats = radius * np.cos(2.0 * np.pi * uniforms(key, doubled + 1))
    return normal


def _mix(words: Words) -> Words:
    words = (words ^ (words >> np.uint64(30))) * _MIX_1
    words = (words ^ (words >> np.uint64(27))) * _MIX_2
    mixed: Words = words ^ (words >> np.uint64(31))
    return mixed
