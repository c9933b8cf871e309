"""What is in hand: who may be sent next, and who must wait for whom."""

from microservices.apply_layer.jobs import Job
from microservices.apply_layer.register import Register
from microservices.apply_layer.waiting import WaitLimits
from microservices.contracts.permit import Gate
from tests.unit.apply_layer.plans import a_job, a_plan, an_open

LIMITS = WaitLimits(1.2, 15.0)


class Worker:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.has_job = False

    def assign(self, job: Job) -> None:
        """Keep it."""
        self.jobs.append(job)


def register_with(count: int, idle: int | None = None) -> tuple[Register, list[Worker]]:
    """Give a register with workers, all of them idle unless told otherwise."""
    register = Register(LIMITS, count)
    workers = [Worker() for _ in range(count)]
    for worker in workers[: count if idle is None else idle]:
        register.idle(worker)
    return register, workers


def begin(register: Register, job: Job) -> Job:
    """Make a job and have it sent."""
    register.begin(job)
    register.queue(job)
    return job


def test_nothing_starts_without_an_idle_worker() -> None:
    """A claim is made only when its order can go at once."""
    register, _ = register_with(2, idle=0)
    assert not register.may_start(a_plan())


def test_a_worker_that_was_just_given_something_is_not_idle() -> None:
    """It may say that it is idle at the very moment in which it is given a job: the job must not be overwritten."""
    register, workers = register_with(2, idle=1)
    begin(register, a_job(a_plan()))
    workers[0].has_job = True
    register.idle(workers[0])
    assert not register.may_start(a_plan(plan_id="e2", symbol="ETHUSDT"))
    workers[0].has_job = False
    register.idle(workers[0])
    register.idle(workers[0])
    assert register.may_start(a_plan(plan_id="e2", symbol="ETHUSDT"))
    assert not register.may_start(an_open(plan_id="o1", symbol="ETHUSDT")), "it is idle once"


def test_an_open_leaves_the_last_worker_to_an_exit() -> None:
    """Eight hanging opens must not keep an exit waiting."""
    register, _ = register_with(3, idle=1)
    assert register.may_start(a_plan())
    assert not register.may_start(an_open())
    alone, _ = register_with(1)
    assert alone.may_start(an_open())


def test_one_order_per_symbol_is_sent_at_a_time() -> None:
    """Other symbols go on."""
    register, workers = register_with(4)
    job = begin(register, a_job(an_open(plan_id="o1")))
    assert workers[0].jobs == [job]
    assert not register.may_start(a_plan(plan_id="e1"))
    assert register.may_start(a_plan(plan_id="e2", symbol="ETHUSDT"))
    register.done(job)
    assert register.may_start(a_plan(plan_id="e1"))


def test_an_unresolved_open_holds_up_opens_and_no_exit() -> None:
    """The symbol stays closed to opens until it is known what became of the order."""
    register, _ = register_with(4)
    job = begin(register, a_job(an_open(plan_id="o1")))
    register.sent(job)
    assert register.unresolved_count == 1
    assert register.may_start(a_plan(plan_id="e1"))
    assert not register.may_start(an_open(plan_id="o2"))


def test_an_unresolved_exit_holds_up_the_next_one() -> None:
    """Two exits of one position could close more than there is."""
    register, _ = register_with(4)
    register.sent(begin(register, a_job(a_plan(plan_id="e1"))))
    assert not register.may_start(a_plan(plan_id="e2"))


def test_recovered_jobs_are_handed_out_as_workers_become_idle() -> None:
    """Claims that a crash left behind may be more than there are workers; one symbol's go one after the other."""
    register, workers = register_with(2, idle=0)
    first = begin(register, a_job(a_plan(plan_id="a")))
    second = begin(register, a_job(a_plan(plan_id="b")))
    other = begin(register, a_job(a_plan(plan_id="c", symbol="ETHUSDT")))
    assert register.unresolved_count == 0
    for worker in workers:
        register.idle(worker)
    register.start_queued()
    assert [worker.jobs for worker in workers] == [[first], [other]]
    assert not register.may_start(a_plan(plan_id="d"))
    register.done(first)
    register.idle(workers[0])
    register.start_queued()
    assert workers[0].jobs == [first, second]


def test_an_entry_is_in_hand_from_its_arrival_to_its_result() -> None:
    """What comes again from the stream meanwhile is recognised."""
    register, _ = register_with(2)
    plan = a_plan()
    register.wait(plan, (Gate.P33,), 0.0)
    waiting = register.waiting("p1")
    assert waiting is not None
    assert register.holds_entry(plan.entry_id)
    assert register.holds_plan("p1")
    job = begin(register, a_job(plan))
    assert register.waiting("p1") is None
    assert register.holds_entry(plan.entry_id)
    assert register.job("p1") is job
    register.done(job)
    assert not register.holds_entry(plan.entry_id)
    assert not register.holds_plan("p1")
    register.wait(plan, (Gate.P33,), 0.0)
    dropped = register.waiting("p1")
    assert dropped is not None
    register.drop(dropped)
    assert not register.holds_entry(plan.entry_id)


def test_a_new_plan_and_a_named_one_are_judged_once() -> None:
    """A wake-up for a plan that does not wait is nothing."""
    register, _ = register_with(2)
    register.wait(a_plan(), (Gate.P33,), 0.0)
    assert [waiting.plan.plan_id for waiting in register.due(0.0)] == ["p1"]
    assert register.due(0.0) == []
    assert not register.name(["p2"])
    assert register.name(["p1", "p2"])
    assert [waiting.plan.plan_id for waiting in register.due(0.0)] == ["p1"]
    assert [waiting.plan.plan_id for waiting in register.due(0.0, changed=["p1"])] == ["p1"]


def test_ready_plans_are_judged_as_workers_allow() -> None:
    """With one worker free, one ready plan is judged: the oldest exit."""
    register, _ = register_with(2, idle=1)
    for number, plan_id in enumerate(("e1", "e2", "e3")):
        register.wait(a_plan(plan_id=plan_id, entry_id=f"{number}-0", symbol=f"S{number}"), (Gate.P33,), float(number))
        waiting = register.waiting(plan_id)
        assert waiting is not None
        waiting.has_all(look_at_s=99.0, is_held=False)
    register.due(0.0)
    assert [waiting.plan.plan_id for waiting in register.due(3.0)] == ["e1"]


def test_an_open_does_not_start_while_an_exit_waits_for_a_worker() -> None:
    """Workers that become idle while a round of judging is under way are the exits' that it has passed already."""
    register, _ = register_with(3)
    register.wait(a_plan(plan_id="e1", symbol="ETHUSDT"), (Gate.P33,), 0.0)
    waiting = register.waiting("e1")
    assert waiting is not None
    assert register.may_start(an_open(plan_id="o1")), "the exit's permit is not there yet"
    waiting.has_all(look_at_s=99.0, is_held=False)
    assert not register.may_start(an_open(plan_id="o1"))
    waiting.has_all(look_at_s=99.0, is_held=True)
    assert register.may_start(an_open(plan_id="o1")), "the exit waits for a back-off"
    waiting.has_all(look_at_s=99.0, is_held=False)
    register.sent(begin(register, a_job(a_plan(plan_id="e0", symbol="ETHUSDT"))))
    assert register.may_start(an_open(plan_id="o1")), "the exit waits for another exit of its symbol"


def test_ready_opens_are_judged_once_no_exit_waits_for_a_worker() -> None:
    """A free worker is the exits'; without one an open gets it, unless it is the last."""
    register, workers = register_with(3, idle=2)
    plans = (an_open(plan_id="o1", entry_id="1-0", symbol="S1"), a_plan(plan_id="e1", entry_id="2-0", symbol="S2"))
    for plan in plans:
        register.wait(plan, (Gate.P33,), 0.0)
        waiting = register.waiting(plan.plan_id)
        assert waiting is not None
        waiting.has_all(look_at_s=99.0, is_held=False)
    register.due(0.0)
    assert [waiting.plan.plan_id for waiting in register.due(3.0)] == ["e1"]
    begin(register, a_job(plans[1]))
    assert register.due(3.0) == [], "one worker is left"
    register.idle(workers[2])
    assert [waiting.plan.plan_id for waiting in register.due(3.0)] == ["o1"]
