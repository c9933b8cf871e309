"""The board of `make run`: a live screen on a terminal, the same as text elsewhere."""

from collections import Counter
from decimal import Decimal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from microservices.contracts.market_state import MarketStateRow, Regime
from microservices.contracts.universe_reader import Tier
from ops.market.tiles import strip
from ops.market.view import cells
from ops.suite.positions import Agreement, summary
from ops.suite.reading import SuiteView

STATES_SHOWN = 10
REASONS_SHOWN = 6
POSITIONS_SHOWN = 8
STRIP_WIDTH = 100
"""One sign a symbol, the most volatile first: 600 symbols take six lines."""
_AGREEMENT_STYLE = {
    Agreement.AGREES: "",
    Agreement.NOT_SEEN: "yellow",
    Agreement.DIFFERS: "bold red",
    Agreement.UNKNOWN: "bold red",
}
_REGIME_STYLE = {Regime.TREND: "green", Regime.MR: "magenta", Regime.CHOP: "yellow"}


def render(view: SuiteView, title: str) -> RenderableType:
    """Lay the view out: services, market, permits and decisions, positions, and what could not be read."""
    side_by_side = Table.grid(padding=(0, 3))
    side_by_side.add_row(_permits(view), _decisions(view))
    parts: list[RenderableType] = [Text(title, style="bold"), _universe(view), _services(view), Text()]
    parts += [_market(view), Text(), side_by_side, _orders(view), Text(), _positions(view)]
    parts += [Text(f"unreadable: {fault}", style="red") for fault in view.faults[:REASONS_SHOWN]]
    return Group(*parts)


def _universe(view: SuiteView) -> Text:
    if view.tier is Tier.NONE:
        return Text(f"UNIVERSE    FAIL-CLOSED: {'; '.join(view.refused)}", style="red")
    return Text(f"UNIVERSE    {view.universe_count} symbols, {view.universe_age_s} s old, source {view.tier}")


def _services(view: SuiteView) -> Table:
    table = Table.grid(padding=(0, 2))
    for index, service in enumerate(view.services):
        mark = Text("ready", style="green") if service.ready else Text("WAIT", style="bold red")
        table.add_row("SERVICES" if index == 0 else "", mark, service.name, service.says)
    return table


def _market(view: SuiteView) -> Group:
    regimes = Counter(state.regime.value for state in view.states.values())
    counts = "  ".join(f"{regime} {regimes.get(regime, 0)}" for regime in Regime)
    table = _table("symbol")
    for column in ("σ/candle", "μ/candle", "TS", "regime", "p", "buffer", "age s"):
        table.add_column(column, justify="right")
    for symbol in _shown_states(view):
        state = view.states[symbol]
        probability = max(state.p_trend, state.p_mr, state.p_chop)
        regime = Text(state.regime.value, style=_REGIME_STYLE[state.regime])
        numbers = (f"{state.sigma:.6f}", f"{state.mu:+.6f}", f"{state.ts:.3f}")
        age = f"{view.at - state.ts_timestamp:.0f}"
        table.add_row(symbol, *numbers, regime, f"{probability:.0%}", str(state.buffer_size), age)
    heading = Text(f"MARKET STATE    {len(view.states)} symbols: {counts}", style="bold")
    return Group(heading, strip(cells(view.states), STRIP_WIDTH), table) if view.states else Group(heading, table)


def _shown_states(view: SuiteView) -> list[str]:
    """Symbols with a position first, then those that trend most."""
    held = [line.symbol for line in view.positions if line.symbol in view.states]
    rest = sorted((s for s in view.states if s not in held), key=lambda s: _trend(view.states[s]), reverse=True)
    return [*held, *rest][:STATES_SHOWN]


def _trend(state: MarketStateRow) -> float:
    return state.p_trend


def _permits(view: SuiteView) -> Group:
    denied = sum(view.permits_denied.values())
    table = _table("denied because")
    table.add_column("count", justify="right")
    for reason, count in view.permits_denied.most_common(REASONS_SHOWN):
        table.add_row(reason, str(count))
    return _titled(f"PERMITS, last 5 min    {view.permits_allowed} allowed, {denied} denied", table)


def _orders(view: SuiteView) -> Text:
    return Text(f"ORDERS, last 5 min    {view.orders}", style="bold" if view.orders.is_well else "bold red")


def _decisions(view: SuiteView) -> Group:
    counts = "  ".join(f"{name} {count}" for name, count in view.decisions.items())
    table = _table("reason")
    table.add_column("count", justify="right")
    for reason, count in view.reasons[:REASONS_SHOWN]:
        table.add_row(reason, str(count))
    return _titled(f"DECISIONS, last 5 min    {counts or 'none counted yet'}", table)


def _positions(view: SuiteView) -> Group:
    table = _table("symbol")
    for column in ("exchange", "ledger", "mark price"):
        table.add_column(column, justify="right")
    table.add_column("")
    for line in view.positions[:POSITIONS_SHOWN]:
        figures = (_figure(line.exchange), _figure(line.ledger), _figure(line.mark_price))
        table.add_row(line.symbol, *figures, line.agreement.value, style=_AGREEMENT_STYLE[line.agreement])
    return _titled(f"POSITIONS    {summary(view.positions)}", table)


def _figure(value: Decimal | None) -> str:
    return "?" if value is None else format(value, "f")


def _table(first_column: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(first_column)
    return table


def _titled(title: str, table: Table) -> Group:
    """Put a title above a table; the table's own title would be wrapped to the table's width."""
    return Group(Text(title, style="bold"), table)
