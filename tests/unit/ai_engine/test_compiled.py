"""The compiled core: the same bits as numpy for any window and parameters, optional, and at home in the sandbox."""

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from ai_engine import compiled, measures, pairwise
from ai_engine.market_state import MarketState
from ai_engine.theta import check, merged
from tests.support.price_paths import PATHS, mixed

PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1

needs_compiled = pytest.mark.skipif(
    compiled.library() is None, reason="the compiled code was not built on this machine: no C compiler at set-up"
)


@needs_compiled
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(0, 200))
def test_moving_slopes_are_the_same_bits_as_all_pairs(seed: int, size: int, more: int) -> None:
    """Whatever the history and window, the incremental medians are those of all pairs, bit for bit."""
    code = compiled.library()
    assert code is not None
    logs = np.log(mixed(np.random.default_rng(seed), size + more) + 1e-12)
    expected = pairwise.median_slopes(sliding_window_view(logs, size))
    assert (compiled.CompiledSlopes(code, 1, size).slide(logs) == expected).all()


@needs_compiled
@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 300),
    st.integers(2, 300),
    st.integers(1, 300),
    st.sampled_from([[0, 1], [0.01, 0.99], [0.4, 0.6], [0.05, 0.7]]),
)
def test_moving_measures_are_the_same_bits_as_numpy_s(seed: int, vol: int, window: int, k: int, q: list[float]) -> None:
    """Whatever the windows and quantiles: variances, deviation and signs agree to the last bit at every step."""
    code = compiled.library()
    assert code is not None
    override = {
        "vol": {"window": vol, "winsor_q": q},
        "regime": {"window": window, "vr_k": min(k, window)},
        "trend": {"windows": [2], "weights": [1]},
    }
    theta = check(merged(override))
    rows = sliding_window_view(np.log(mixed(np.random.default_rng(seed), 400) + 1e-12), theta.min_prices)
    moving = compiled.CompiledMeasures(code, 1, theta).push(np.zeros(len(rows), dtype=np.int64), rows)
    for name, actual, expected in zip(moving._fields, moving, measures.measure(rows, theta), strict=True):
        assert (actual == expected).all(), name


def test_a_build_of_another_source_is_not_used(tmp_path: Path) -> None:
    """A library that is none, and one without the version's functions, are as good as none."""
    rubbish = tmp_path / "rubbish.so"
    rubbish.write_bytes(b"no library")
    assert compiled._load(rubbish) is None
    other = next(line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libc.so" in line)
    assert compiled._load(Path(other)) is None


@needs_compiled
def test_it_runs_where_memory_may_not_be_writable_and_executable() -> None:
    """Under the kernel's own ban on such memory, as the units' sandbox imposes it, the compiled code computes."""
    libc = ctypes.CDLL(None, use_errno=True)
    program = (
        "import numpy as np; from ai_engine import compiled; from ai_engine.market_state import MarketState;"
        "assert compiled.library() is not None;"
        "print(MarketState().replay(100 + np.sin(np.arange(300) / 7))['mu'][0])"
    )

    def forbid() -> None:
        if libc.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "PR_SET_MDWE")

    try:
        done = subprocess.run(
            [sys.executable, "-c", program], preexec_fn=forbid, capture_output=True, text=True, check=False
        )
    except subprocess.SubprocessError:
        pytest.skip("this kernel cannot forbid writable-executable memory: Linux 6.3 or newer")
    expected = MarketState().replay(100 + np.sin(np.arange(300) / 7))["mu"][0]
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == expected


def test_without_the_compiled_code_everything_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a compiler computes the same replay, to the bit."""
    prices = PATHS["random_walk"](np.random.default_rng(1), 280)
    with_it = MarketState().replay(prices)
    monkeypatch.setattr(compiled, "library", lambda: None)
    without_it = MarketState().replay(prices)
    assert all((with_it[name] == without_it[name]).all() for name in with_it)
