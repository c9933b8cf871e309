"""Exact Theil–Sen slopes: the median of all n(n − 1)/2 pairwise slopes of evenly spaced windows.

Theil (1950), "A rank-invariant method of linear and polynomial regression analysis"; Sen (1968), "Estimates of the
regression coefficient based on Kendall's tau", JASA 63. Selecting the median slope without looking at all of them:
Cole, Salowe, Steiger and Szemerédi (1989), "An optimal-time algorithm for slope selection", SIAM J. Comput. 18;
Matoušek (1991), "Randomized optimal algorithm for slope selection", Inf. Process. Lett. 39. What is done here is theirs
made incremental; `_theil_sen.c` says how.

Two ways give the same bits: the compiled one where it was built, and all pairs in numpy. Every slope is
(y[j] − y[i]) / (j − i) in float64; where the number of slopes is even the median is the mean of the two middle ones, as
`scipy.stats.theilslopes` has it.
"""

import numpy as np

from ai_engine import compiled, pairwise
from ai_engine.prices import Floats


def median_slopes(y: Floats) -> Floats:
    """Compute the slope of each row against 0 … n − 1; shape (rows,)."""
    code = compiled.library()
    if code is None:
        return pairwise.median_slopes(y)
    windows = compiled.CompiledSlopes(code, 1, y.shape[1])
    return np.array([windows.slide(row)[0] for row in y])
