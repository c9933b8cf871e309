"""Exactly one instance: the lock file on this host, the lease for all hosts."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from microservices.runtime import LeaseHeld, Refused, SingleInstance
from tests.support.clock import FakeClock
from tests.support.waiting import wait_until

LEASE = "quantum:test:lease"
HOLD_LOCK = """
import sys
from pathlib import Path
from microservices.runtime import SingleInstance, SystemClock
from redis import Redis
instance = SingleInstance(Redis(port=int(sys.argv[1])), Path(sys.argv[2]), sys.argv[3], SystemClock())
instance.acquire()
print(instance.instance_id, flush=True)
sys.stdin.read()
"""


def instance(redis: Redis, directory: Path, clock: FakeClock | None = None) -> SingleInstance:
    return SingleInstance(redis, directory, LEASE, clock or FakeClock())


def holder(redis: Redis) -> str:
    value = redis.get(LEASE)
    return value.decode() if isinstance(value, bytes) else ""


def port_of(redis: Redis) -> str:
    return str(redis.connection_pool.connection_kwargs["port"])


def test_the_lease_names_the_instance_and_ends(redis_client: Redis, tmp_path: Path) -> None:
    """Every commit can compare the lease with the instance's id; it runs out 10 s after the last renewal."""
    one = instance(redis_client, tmp_path / "state")
    assert one.instance_id == ""
    one.acquire()
    lock_id, _, random_part = one.instance_id.partition(":")
    assert (len(lock_id), len(random_part)) == (16, 16)
    assert holder(redis_client) == one.instance_id
    assert 9_000 < redis_client.pttl(LEASE) <= 10_000
    one.release()
    assert holder(redis_client) == ""


def test_whose_the_lease_is_can_be_asked(redis_client: Redis, tmp_path: Path) -> None:
    """Redis is asked each time: nobody's before it is taken, ours, another's, and gone."""
    one = instance(redis_client, tmp_path)
    asked = [one.is_ours()]
    one.acquire()
    asked.append(one.is_ours())
    redis_client.set(LEASE, "another")
    asked.append(one.is_ours())
    redis_client.delete(LEASE)
    assert [*asked, one.is_ours()] == [False, True, False, False]


def test_renewing_keeps_the_lease(redis_client: Redis, tmp_path: Path) -> None:
    """A renewal sets the whole time again."""
    one = instance(redis_client, tmp_path)
    one.acquire()
    redis_client.pexpire(LEASE, 500)
    assert one.renew()
    assert redis_client.pttl(LEASE) > 9_000
    one.release()


@pytest.mark.parametrize("other", ["another:1", None])
def test_a_lost_lease_is_not_renewed(redis_client: Redis, tmp_path: Path, other: str | None) -> None:
    """Taken by another, or run out: renewing says so and writes nothing."""
    one = instance(redis_client, tmp_path)
    one.acquire()
    redis_client.delete(LEASE)
    if other is not None:
        redis_client.set(LEASE, other)
    assert not one.renew()
    assert not one.holds()
    assert holder(redis_client) == (other or "")
    one.release()
    assert holder(redis_client) == (other or "")


def test_holding_is_believed_for_ten_seconds_without_redis(redis_client: Redis, tmp_path: Path) -> None:
    """When Redis is away the instance knows when its lease must have run out."""
    clock = FakeClock()
    one = instance(redis_client, tmp_path, clock)
    assert not one.holds()
    one.acquire()
    clock.advance(9.9)
    assert one.holds()
    clock.advance(0.1)
    assert not one.holds()
    one.renew()
    assert one.holds()
    one.release()
    assert not one.holds()


def test_an_instance_of_another_host_is_waited_for(redis_client: Redis, tmp_path: Path) -> None:
    """Another lock file's lease is respected until it is gone, and the waiting says whose it is."""
    one, two = instance(redis_client, tmp_path / "one"), instance(redis_client, tmp_path / "two")
    one.acquire()
    for _ in range(2):
        with pytest.raises(LeaseHeld, match=f"^lease {LEASE} held by {one.instance_id}$"):
            two.acquire()
    assert not two.holds()
    assert holder(redis_client) == one.instance_id
    one.release()
    two.acquire()
    assert holder(redis_client) == two.instance_id
    two.release()


def test_a_restart_on_the_same_host_costs_no_time(redis_client: Redis, tmp_path: Path) -> None:
    """The lease of a process that was killed is taken over at once by the next holder of its lock file."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, port_of(redis_client), str(tmp_path), LEASE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        first_id = process.stdout.readline().strip()
        assert holder(redis_client) == first_id
        next_one = instance(redis_client, tmp_path)
        with pytest.raises(Refused, match="another process holds"):
            next_one.acquire()
        process.kill()
        process.wait(30)
    next_one.acquire()
    assert holder(redis_client) == next_one.instance_id
    assert next_one.instance_id.split(":")[0] == first_id.split(":")[0]
    assert next_one.instance_id != first_id
    next_one.release()


def test_a_second_instance_in_the_same_directory_is_refused(redis_client: Redis, tmp_path: Path) -> None:
    """The lock file is held by one, and the refusal names it."""
    one, two = instance(redis_client, tmp_path), instance(redis_client, tmp_path)
    one.acquire()
    with pytest.raises(Refused, match=str(tmp_path / "lock")):
        two.acquire()
    assert holder(redis_client) == one.instance_id
    one.release()
    two.acquire()
    two.release()


def test_an_instance_may_take_its_own_lease_again(redis_client: Redis, tmp_path: Path) -> None:
    """After a lease that ran out, or an emptied Redis, the same instance goes on under the same id."""
    one = instance(redis_client, tmp_path)
    one.acquire()
    first_id = one.instance_id
    redis_client.flushall()
    assert not one.renew()
    one.acquire()
    assert one.instance_id == first_id == holder(redis_client)
    one.release()


def test_whoever_took_the_lease_meanwhile_is_not_superseded(redis_client: Redis, tmp_path: Path) -> None:
    """A living holder is never thrown out by one that had the lease before, not even one of the same lock id."""
    one = instance(redis_client, tmp_path)
    one.acquire()
    usurper = one.instance_id.split(":")[0] + ":0000000000000000"
    redis_client.set(LEASE, usurper)
    assert not one.renew()
    with pytest.raises(LeaseHeld):
        one.acquire()
    assert holder(redis_client) == usurper
    one.release()
    assert holder(redis_client) == usurper


def test_a_copied_state_directory_is_another_instance(redis_client: Redis, tmp_path: Path) -> None:
    """A backup that is put beside the original does not supersede it."""
    one = instance(redis_client, tmp_path / "one")
    one.acquire()
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    copy = instance(redis_client, tmp_path / "copy")
    with pytest.raises(LeaseHeld):
        copy.acquire()
    one.release()
    copy.release()


def test_a_damaged_lock_file_gets_a_new_identity(redis_client: Redis, tmp_path: Path) -> None:
    """Rubbish in it is replaced, and the old lease is then waited for as a stranger's."""
    one = instance(redis_client, tmp_path)
    one.acquire()
    old_lease = holder(redis_client)
    (tmp_path / "lock").write_text("rubbish\x00")
    one.release()
    redis_client.set(LEASE, old_lease)
    two = instance(redis_client, tmp_path)
    with pytest.raises(LeaseHeld):
        two.acquire()
    assert len((tmp_path / "lock").read_text().strip()) == 32
    two.release()


def test_a_directory_that_cannot_be_used_is_refused(redis_client: Redis, tmp_path: Path) -> None:
    """One line instead of a traceback, and no lease without a lock."""
    (tmp_path / "file").write_text("")
    one = instance(redis_client, tmp_path / "file" / "state")
    with pytest.raises(Refused, match="cannot be opened"):
        one.acquire()
    assert holder(redis_client) == ""


def test_the_lease_runs_out_by_itself(redis_client: Redis, tmp_path: Path) -> None:
    """Another host gets its turn when the holder is gone without a word."""
    one, two = instance(redis_client, tmp_path / "one"), instance(redis_client, tmp_path / "two")
    one.acquire()
    redis_client.pexpire(LEASE, 50)

    def taken() -> bool:
        try:
            two.acquire()
        except LeaseHeld:
            return False
        return True

    assert wait_until(taken, 20)
    one.release()
    assert holder(redis_client) == two.instance_id
    two.release()
