"""What the apply layer has in hand, shared by its loops: waiting plans, jobs, idle workers. Every method locks."""

import threading
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Protocol

from microservices.apply_layer.jobs import Job
from microservices.apply_layer.waiting import WaitingPlan, WaitingRoom, WaitLimits
from microservices.contracts.permit import Gate
from microservices.contracts.plan import Plan


class Worker(Protocol):
    """Whoever sends one order at a time."""

    @property
    def has_job(self) -> bool:
        """Whether it was given something that it is not through with."""

    def assign(self, job: Job) -> None:
        """Take a job and begin with it."""


class Register:
    """Keep who waits, who is on its way, and who is free to send.

    A plan is either waiting or a job, never both. One order per symbol is sent at a time; an order whose outcome is not
    known holds up opens, and exits only where it is an exit itself.

    Args:
        limits: how long plans wait.
        workers: how many there are; each is given something only after it said that it is idle.
    """

    def __init__(self, limits: WaitLimits, workers: int) -> None:
        self._lock = threading.RLock()
        self._room = WaitingRoom(limits)
        self._jobs: dict[str, Job] = {}
        self._entries: dict[str, str] = {}
        self._named: set[str] = set()
        self._sending: set[str] = set()
        self._backlog: deque[Job] = deque()
        self._idle: deque[Worker] = deque()
        self._workers = workers

    @property
    def waiting_count(self) -> int:
        """How many plans wait."""
        with self._lock:
            return len(self._room)

    @property
    def unresolved_count(self) -> int:
        """How many jobs are neither with a worker nor about to be."""
        with self._lock:
            return len(self._jobs) - len(self._sending) - len(self._backlog)

    def holds_entry(self, entry_id: str) -> bool:
        """Tell whether this very entry waits or is a job."""
        with self._lock:
            return entry_id in self._entries

    def holds_plan(self, plan_id: str) -> bool:
        """Tell whether any entry under this plan id waits or is a job."""
        with self._lock:
            return plan_id in self._jobs or self._room.get(plan_id) is not None

    def job(self, plan_id: str) -> Job | None:
        """Give the job of a plan, or None."""
        with self._lock:
            return self._jobs.get(plan_id)

    def wait(self, plan: Plan, gates: tuple[Gate, ...], now_s: float) -> None:
        """Have a plan wait, and be judged at once."""
        with self._lock:
            self._room.add(plan, gates, now_s)
            self._entries[plan.entry_id] = plan.plan_id
            self._named.add(plan.plan_id)

    def name(self, plan_ids: Iterable[str]) -> bool:
        """Have plans judged at the next look; tell whether one of them waits at all."""
        with self._lock:
            known = {plan_id for plan_id in plan_ids if self._room.get(plan_id) is not None}
            self._named |= known
            return bool(known)

    def due(self, now_s: float, changed: Iterable[str] = ()) -> list[WaitingPlan]:
        """List whom to judge now: those named since the last call, `changed`, and those whose time has come."""
        with self._lock:
            named, self._named = self._named, set()
            startable = (waiting.plan for waiting in self._room.startable() if self._is_free_for(waiting.plan))
            first = list(islice(startable, len(self._idle)))  # exits come first: beside one, no open is named
            chosen = {plan.plan_id for plan in first if plan.is_exit == first[0].is_exit and self._has_worker_for(plan)}
            return self._room.due({*named, *changed, *chosen}, now_s)

    def without_permits(self) -> list[WaitingPlan]:
        """List the plans whose permits are still to be looked for."""
        with self._lock:
            return self._room.without_permits()

    def waits(self, waiting: WaitingPlan) -> bool:
        """Tell whether this very plan still waits."""
        with self._lock:
            return self._room.get(waiting.plan.plan_id) is waiting

    def waiting(self, plan_id: str) -> WaitingPlan | None:
        """Give a waiting plan, or None."""
        with self._lock:
            return self._room.get(plan_id)

    def drop(self, waiting: WaitingPlan) -> None:
        """Let a plan go that has ended without a claim."""
        with self._lock:
            self._room.remove(waiting.plan.plan_id)
            self._entries.pop(waiting.plan.entry_id, None)

    def begin(self, job: Job) -> None:
        """Make a job of a plan that was claimed; it may have waited here or not."""
        with self._lock:
            self._room.remove(job.plan_id)
            self._jobs[job.plan_id] = job
            self._entries[job.entry_id] = job.plan_id

    def may_start(self, work: Plan | Job) -> bool:
        """Tell whether an order may be sent now: a worker is idle, and the symbol is free for it.

        An OPEN leaves the last idle worker to an exit, where there is more than one, and every worker to exits that
        wait for nothing else: one may have become idle since they were judged.
        """
        with self._lock:
            if not (self._has_worker_for(work) and self._is_free_for(work)):
                return False
            return work.is_exit or not self._exit_could_start()

    def queue(self, job: Job) -> None:
        """Have a job sent as soon as a worker is idle and its symbol is free."""
        with self._lock:
            self._backlog.append(job)
            self.start_queued()

    def start_queued(self) -> None:
        """Hand queued jobs to idle workers, as far as there are any."""
        with self._lock:
            for job in list(self._backlog):
                if self._idle and self._is_free_for(job):
                    self._backlog.remove(job)
                    self._sending.add(job.plan_id)
                    self._idle.popleft().assign(job)

    def idle(self, worker: Worker) -> None:
        """Take note that a worker has nothing to do, unless it was given something at this very moment."""
        with self._lock:
            if not worker.has_job and worker not in self._idle:
                self._idle.append(worker)

    def sent(self, job: Job) -> None:
        """Take note that the job is no longer being sent: its symbol is free again as far as its outcome allows."""
        with self._lock:
            self._sending.discard(job.plan_id)

    def done(self, job: Job) -> None:
        """Let a job go whose result is written."""
        with self._lock:
            self._sending.discard(job.plan_id)
            self._jobs.pop(job.plan_id, None)
            self._entries.pop(job.entry_id, None)

    def _exit_could_start(self) -> bool:
        exits = (waiting.plan for waiting in self._room.startable() if waiting.plan.is_exit)
        return any(self._is_free_for(plan) for plan in exits)

    def _has_worker_for(self, work: Plan | Job) -> bool:
        return len(self._idle) >= (1 if work.is_exit or self._workers < 2 else 2)

    def _is_free_for(self, work: Plan | Job) -> bool:
        return not any(self._blocks(job, work) for job in self._jobs.values())

    def _blocks(self, job: Job, work: Plan | Job) -> bool:
        if job.symbol != work.symbol or job.plan_id == work.plan_id:
            return False
        if job.plan_id in self._sending:
            return True
        if job in self._backlog:
            return isinstance(work, Plan)
        return job.is_exit or not work.is_exit
