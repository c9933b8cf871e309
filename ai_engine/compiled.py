"""The compiled code of `_theil_sen.c` and `_measures.c`, where it was built; else numpy computes the same numbers.

Compiled ahead of time when the package is installed and a C compiler is there. Loaded through ctypes: it needs no
Python headers to build, and no writable-executable memory to run, which the services' sandbox forbids.
"""

import ctypes
from functools import lru_cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ai_engine.measures import Measures, ewma_powers, quantile_place
from ai_engine.prices import Floats
from ai_engine.theta import Theta

_VERSION = 6
_POINTER, _COUNT = ctypes.c_void_p, ctypes.c_int64


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """Load the compiled code, or None where there is none of this version."""
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(f"_compiled{suffix}")
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
            "ms_lane_bytes": ([_COUNT], _COUNT),
            "ms_scratch_doubles": ([_COUNT], _COUNT),
            "ms_forget": ([_POINTER, _COUNT, _COUNT], None),
            "ms_push": (
                [_POINTER, _POINTER, _POINTER, _POINTER, _COUNT, _COUNT, _COUNT, _POINTER, _POINTER],
                None,
            ),
            "ts_slide": ([_POINTER, _COUNT, _POINTER, _COUNT, _POINTER, _POINTER], None),
        }
        for name, (arguments, result) in signatures.items():
            function = getattr(loaded, name)
            function.argtypes, function.restype = arguments, result
    except (OSError, AttributeError):
        return None
    return loaded if loaded.ts_version() == _VERSION else None


class CompiledSlopes:
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


class _Params(ctypes.Structure):
    """As `_measures.c` declares it."""

    _fields_ = (
        ("vol_window", ctypes.c_int64),
        ("regime_window", ctypes.c_int64),
        ("vr_k", ctypes.c_int64),
        ("low_at", ctypes.c_int64),
        ("high_at", ctypes.c_int64),
        ("low_share", ctypes.c_double),
        ("high_share", ctypes.c_double),
        ("decay", ctypes.c_double),
        ("powers", ctypes.c_void_p),
    )


class CompiledMeasures:
    """Windows of returns kept sorted by the compiled code, one per lane.

    Args:
        code: the loaded library.
        lanes: number of windows.
        theta: the parameters.
    """

    def __init__(self, code: ctypes.CDLL, lanes: int, theta: Theta) -> None:
        self._code = code
        self._powers = ewma_powers(theta)
        low, high = (quantile_place(q, theta.vol_window) for q in theta.winsor_q)
        self._params = _Params(
            vol_window=theta.vol_window,
            regime_window=theta.regime_window,
            vr_k=theta.vr_k,
            low_at=low.below,
            high_at=high.below,
            low_share=low.share,
            high_share=high.share,
            decay=theta.ewma_lambda,
            powers=self._powers.ctypes.data,
        )
        self._lanes = np.zeros(lanes * code.ms_lane_bytes(theta.vol_window) // 8)
        self._scratch = np.empty(code.ms_scratch_doubles(theta.min_prices))

    def forget(self, lane: int) -> None:
        """Begin a lane anew."""
        self._code.ms_forget(self._lanes.ctypes.data, self._params.vol_window, lane)

    def push(self, lanes: npt.NDArray[np.int64], rows: Floats) -> Measures:
        """Measure the windows that end at the newest log price of each row, one step after the lane's last row.

        Args:
            lanes: whose returns the rows hold; int64.
            rows: log prices, neighbours in a row side by side in memory; shape (len(lanes), theta.min_prices).
        """
        if rows.strides[1] != rows.itemsize or rows.strides[0] % rows.itemsize:
            rows = np.ascontiguousarray(rows)
        lanes = np.ascontiguousarray(lanes)
        out = np.empty((len(lanes), len(Measures._fields)))
        self._code.ms_push(
            self._lanes.ctypes.data,
            ctypes.byref(self._params),
            lanes.ctypes.data,
            rows.ctypes.data,
            rows.strides[0] // rows.itemsize,
            rows.shape[1],
            len(lanes),
            out.ctypes.data,
            self._scratch.ctypes.data,
        )
        return Measures(*np.ascontiguousarray(out.T))
