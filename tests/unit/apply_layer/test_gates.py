"""Which gates a plan needs, and which of them may not be left out."""

from decimal import Decimal

import pytest

from microservices.apply_layer.gates import GatePolicy
from microservices.contracts.control import Mode
from microservices.contracts.permit import Gate
from microservices.contracts.plan import Action
from tests.unit.apply_layer.plans import a_plan

ALL = (Gate.GOVERNOR, Gate.P26, Gate.P33)
P33 = (Gate.P33,)


@pytest.mark.parametrize("action", list(Action))
def test_opens_and_exits_have_gates_of_their_own(action: Action) -> None:
    """An exit never waits for a gate that judges risk (I-12)."""
    policy = GatePolicy(Mode.TESTNET, opens=ALL, exits=P33)
    assert policy.needed(a_plan(action=action)) == (P33 if action.is_exit else ALL)


def test_a_gate_that_is_named_twice_is_asked_once() -> None:
    """A slip in a settings file changes nothing."""
    policy = GatePolicy(Mode.PAPER, opens=(Gate.P33, Gate.P33), exits=P33)
    assert policy.needed(a_plan(action=Action.OPEN, qty=Decimal(1))) == P33


@pytest.mark.parametrize(
    ("mode", "opens", "action", "lacking"),
    [
        (Mode.MAINNET, ALL, Action.OPEN, ()),
        (Mode.MAINNET, P33, Action.OPEN, (Gate.GOVERNOR, Gate.P26)),
        (Mode.MAINNET, (Gate.GOVERNOR, Gate.P26), Action.OPEN, (Gate.P33,)),
        (Mode.MAINNET, P33, Action.FULL_CLOSE_PROPOSED, ()),
        (Mode.TESTNET, P33, Action.OPEN, ()),
        (Mode.PAPER, P33, Action.OPEN, ()),
        (Mode.PAPER, (Gate.GOVERNOR,), Action.OPEN, (Gate.P33,)),
        (Mode.PAPER, (), Action.OPEN, (Gate.P33,)),
    ],
)
def test_what_may_not_be_left_out(
    mode: Mode, opens: tuple[Gate, ...], action: Action, lacking: tuple[Gate, ...]
) -> None:
    """On mainnet an open needs all three gates; nothing anywhere goes without the one that knows what is safe."""
    assert GatePolicy(mode, opens=opens, exits=P33).not_configured(a_plan(action=action)) == lacking
