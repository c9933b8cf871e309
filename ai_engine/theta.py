"""The parameters of MarketState v1.0: the locked defaults, the deep merge over them, and what values are possible."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

TREND_METHODS = ("theil_sen", "huber", "ols")
# Beyond these nothing means anything any more; within them no formula can overflow or divide by zero.
_TINY = 1e-9
_LARGE = 1e6
_SCORE_KEYS = ("a1", "a2", "a3", "b1", "b2", "b3", "c1", "c2", "c3")


def _refuse(self: object, *_: object, **__: object) -> NoReturn:
    raise TypeError(f"{type(self).__name__} is read-only; pass an override to MarketState(theta) instead")


class ReadOnlyDict(dict[str, Any]):
    """A dict that equals, prints and serialises as one and cannot be changed; `copy.deepcopy` gives a plain dict."""

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return plain(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (plain(self),)


class ReadOnlyList(list[Any]):
    """A list that equals, prints and serialises as one and cannot be changed."""

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = extend = insert = remove = pop = clear = sort = reverse = _refuse

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return list(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


def plain(group: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a group of keys, and the groups and lists in it, as ordinary dicts and lists."""
    return {key: _plain_value(value) for key, value in group.items()}


def _plain_value(value: object) -> object:
    if isinstance(value, Mapping):
        return plain(value)
    return list(value) if isinstance(value, list) else value


def read_only(group: Mapping[str, Any]) -> ReadOnlyDict:
    """Copy a group of keys, and the groups and lists in it, so that nobody can change them."""
    return ReadOnlyDict({key: _read_only_value(value) for key, value in group.items()})


def _read_only_value(value: object) -> object:
    if isinstance(value, Mapping):
        return read_only(value)
    return ReadOnlyList(value) if isinstance(value, list | tuple) else value


DEFAULT_THETA: Mapping[str, Any] = read_only(
    {
        "eps": 1e-12,
        "vol": {
            "window": 256,
            "ewma_lambda": 0.94,
            "winsor_q": [0.01, 0.99],
            "spike_proxy_cap": 5.0,
            "spike_center": 1.2,
            "spike_scale": 0.3,
            "sigma_floor": 1e-6,
        },
        "trend": {"windows": [64, 128, 256], "weights": [0.5, 0.3, 0.2], "method": "theil_sen"},
        "regime": {"window": 256, "vr_k": 5, "softmax_temp": 1.0, "score": dict.fromkeys(_SCORE_KEYS, 1.0)},
    }
)
"""The locked defaults of v1.0; read-only."""


@dataclass(frozen=True)
class Theta:
    """Checked parameters, flat; `weights` sum to 1. Windows of returns count returns, trend windows count prices."""

    eps: float
    vol_window: int
    ewma_lambda: float
    winsor_q: tuple[float, float]
    spike_proxy_cap: float
    spike_center: float
    spike_scale: float
    sigma_floor: float
    trend_windows: tuple[int, ...]
    trend_weights: tuple[float, ...]
    trend_method: str
    regime_window: int
    vr_k: int
    softmax_temp: float
    score: tuple[float, ...]

    @property
    def min_prices(self) -> int:
        """Closes that one state needs."""
        return max(self.vol_window, *self.trend_windows, self.regime_window) + 1


def merged(override: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Merge an override over the defaults, key by key, at every level.

    Raises:
        ValueError: an unknown key, or a value where a group of keys belongs (or the other way round).
    """
    return _merge(DEFAULT_THETA, {} if override is None else override, "")


def _merge(base: Mapping[str, Any], override: object, path: str) -> dict[str, Any]:
    if not isinstance(override, Mapping):
        # A ValueError like every other parameter that cannot be: callers handle one kind.
        raise ValueError(f"{path.rstrip('.') or 'theta'} is {override!r}, expected a group of keys: {', '.join(base)}")  # noqa: TRY004 - said above
    out = dict(base)
    for key, value in override.items():
        if key not in base:
            raise ValueError(f"{path}{key} is not a parameter; known here: {', '.join(base)}")
        out[key] = _merge(base[key], value, f"{path}{key}.") if isinstance(base[key], Mapping) else value
    return out


def check(theta: Mapping[str, Any]) -> Theta:
    """Turn a complete parameter dict into a `Theta`.

    Raises:
        ValueError: an impossible value; names the key and what is possible.
    """
    vol, trend, regime = theta["vol"], theta["trend"], theta["regime"]
    trend_windows = _windows("trend.windows", trend["windows"])
    regime_window = _whole("regime.window", regime["window"], 2)
    return Theta(
        eps=_number("eps", theta["eps"], 1e-18, 1.0),
        vol_window=_whole("vol.window", vol["window"], 2),
        ewma_lambda=_number("vol.ewma_lambda", vol["ewma_lambda"], 1e-9, 1.0 - 1e-9),
        winsor_q=_quantiles("vol.winsor_q", vol["winsor_q"]),
        spike_proxy_cap=_number("vol.spike_proxy_cap", vol["spike_proxy_cap"], _TINY, _LARGE),
        spike_center=_number("vol.spike_center", vol["spike_center"], -_LARGE, _LARGE),
        spike_scale=_number("vol.spike_scale", vol["spike_scale"], _TINY, _LARGE),
        sigma_floor=_number("vol.sigma_floor", vol["sigma_floor"], 0.0, _LARGE),
        trend_windows=trend_windows,
        trend_weights=_weights("trend.weights", trend["weights"], len(trend_windows)),
        trend_method=_method("trend.method", trend["method"]),
        regime_window=regime_window,
        vr_k=_whole("regime.vr_k", regime["vr_k"], 1, regime_window),
        softmax_temp=_number("regime.softmax_temp", regime["softmax_temp"], _TINY, _LARGE),
        score=tuple(_number(f"regime.score.{key}", regime["score"][key], -_LARGE, _LARGE) for key in _SCORE_KEYS),
    )


def _number(key: str, value: object, least: float, most: float) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{key} is {value!r}, expected a number from {least:.10g} to {most:.10g}")
    return float(value)


def _whole(key: str, value: object, least: int, most: int = 1_000_000) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{key} is {value!r}, expected a whole number from {least} to {most}")
    return value


def _items(key: str, value: object) -> list[Any]:
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"{key} is {value!r}, expected a list")
    return list(value)


def _quantiles(key: str, value: object) -> tuple[float, float]:
    numbers = [_number(key, item, 0.0, 1.0) for item in _items(key, value)]
    if len(numbers) != 2 or numbers[0] >= numbers[1]:
        raise ValueError(f"{key} is {value!r}, expected two quantiles, the lower one first")
    return numbers[0], numbers[1]


def _windows(key: str, value: object) -> tuple[int, ...]:
    return tuple(_whole(key, item, 2) for item in _items(key, value))


def _weights(key: str, value: object, count: int) -> tuple[float, ...]:
    weights = [_number(key, item, 0.0, _LARGE) for item in _items(key, value)]
    total = math.fsum(weights)
    if len(weights) != count or total < _TINY:
        raise ValueError(f"{key} is {value!r}, expected {count} weights, one per trend window, not all 0")
    return tuple(weight / total for weight in weights)


def _method(key: str, value: object) -> str:
    if value not in TREND_METHODS:
        raise ValueError(f"{key} is {value!r}, expected one of {', '.join(TREND_METHODS)}")
    return str(value)
