"""The compiled slope selection of `_theil_sen.c`, where it was built; without it the same numbers come from numpy.

Compiled ahead of time when the package is installed and a C compiler is there. Loaded through ctypes: it needs no
Python headers to build, and no writable-executable memory to run, which the services' sandbox forbids.
"""

import ctypes
from functools import lru_cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ai_engine.prices import Floats

_VERSION = 4
_POINTER, _COUNT = ctypes.c_void_p, ctypes.c_int64


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """Load the compiled code, or None where there is none of this version."""
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(f"_theil_sen{suffix}")
        if path.exists():
            return _load(path)
    return None


def _load(path: Path) -> ctypes.CDLL | None:
    try:
        loaded = ctypes.CDLL(str(path))
        signatures = {
            "ts_version": ([], _COUNT),
            "ts_window_bytes": ([_COUNT], _COUNT),
            "ts_scratch_doubles": ([_COUNT], _COUNT),
            "ts_clear": ([_POINTER, _COUNT, _COUNT], None),
            "ts_fill": ([_POINTER, _COUNT, _COUNT, _POINTER, _COUNT, _POINTER], None),
            "ts_push": ([_POINTER, _COUNT, _POINTER, _POINTER, _COUNT, _POINTER, _POINTER], None),
            "ts_slide": ([_POINTER, _COUNT, _POINTER, _COUNT, _POINTER, _POINTER], None),
        }
        for name, (arguments, result) in signatures.items():
            function = getattr(loaded, name)
            function.argtypes, function.restype = arguments, result
    except (OSError, AttributeError):
        return None
    return loaded if loaded.ts_version() == _VERSION else None


class CompiledWindows:
    """Sliding windows kept in order by the compiled code, one per lane.

    Args:
        code: the loaded library.
        lanes: number of windows.
        size: points of a full window.
    """

    def __init__(self, code: ctypes.CDLL, lanes: int, size: int) -> None:
        self._code = code
        self._size = size
        self._windows = np.zeros(lanes * code.ts_window_bytes(size) // 8)
        self._scratch = np.empty(code.ts_scratch_doubles(size))
        code.ts_clear(self._windows.ctypes.data, lanes, size)

    def fill(self, lane: int, y: Floats) -> None:
        """Begin a window anew with the last of these points."""
        y = np.ascontiguousarray(y)
        self._code.ts_fill(
            self._windows.ctypes.data, self._size, lane, y.ctypes.data, len(y), self._scratch.ctypes.data
        )

    def push(self, lanes: npt.NDArray[np.int64], y: Floats) -> Floats:
        """Add one point to each of these windows; return their median slopes, NaN where a window is not full.

        Args:
            lanes: which windows, each at most once; int64.
            y: one point each; float64.
        """
        out = np.empty(len(lanes))
        self._code.ts_push(
            self._windows.ctypes.data,
            self._size,
            lanes.ctypes.data,
            y.ctypes.data,
            len(lanes),
            out.ctypes.data,
            self._scratch.ctypes.data,
        )
        return out

    def slide(self, y: Floats) -> Floats:
        """Give the median slope of every window of neighbours among these points; uses window 0."""
        out = np.empty(len(y) - self._size + 1)
        y = np.ascontiguousarray(y)
        self._code.ts_slide(
            self._windows.ctypes.data, self._size, y.ctypes.data, len(y), out.ctypes.data, self._scratch.ctypes.data
        )
        return out
