"""Faults planted on a machine at work: each ends a deploy with the old version running, and doctor names its fix."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support import faults
from tests.support.deployed import CHECKOUT, REDIS, WHEELS, Deployed
from tests.support.faults import ADMIN, Fault

BLOCKED = ("redis-replica", "redis-full", "exchange")
"""These leave a service nothing to do, and do not hide one another: one deploy and one look find all three."""
APART = tuple(each for each in faults.ALONE if each.name not in {*BLOCKED, "tool"})
BATCHES: dict[str, tuple[Fault, ...]] = {
    "host": (*faults.HOST, *(each for each in faults.ALONE if each.name == "tool")),
    "settings": faults.SETTINGS,
    "values": faults.VALUES,
    "redis": faults.REDIS,
    "blocked": tuple(each for each in faults.ALONE if each.name in BLOCKED),
    **{f"{each.name}-alone": (each,) for each in APART},
}
OLD_PYTHON = """\
#!/bin/sh
case "$*" in *version_info*) echo "old 3.9.2"; exit 0 ;; esac
exit 1
"""


@contextmanager
def planted(deployed: Deployed, batch: tuple[Fault, ...]) -> Iterator[None]:
    """Make faults so, and undo them in the other order, whatever happens."""
    begun: list[Fault] = []
    try:
        for fault in batch:
            begun.append(fault)
            deployed.machine.sh(fault.plant)
        yield
    finally:
        for fault in reversed(begun):
            deployed.machine.run("bash", "-c", fault.mend)


@contextmanager
def undisturbed(deployed: Deployed) -> Iterator[None]:
    """Hold that the same release runs afterwards, in the same processes."""
    deployed.wait_until_up()
    version, pids = deployed.version, deployed.pids()
    yield
    deployed.wait_until_up()
    assert (deployed.version, deployed.pids()) == (version, pids)


def test_there_are_thirty() -> None:
    """As many as an operator was promised, each with a line of its own."""
    known = [(fault.name, fault.what) for batch in BATCHES.values() for fault in batch]
    assert len(set(known)) == len(known) >= 30


@pytest.mark.parametrize("name", BATCHES)
def test_a_fault_ends_the_deploy_and_the_doctor_knows_it(deployed: Deployed, name: str) -> None:
    """Each has its line in what the deploy says, and doctor's finding with the fix; nothing that runs is touched."""
    batch = BATCHES[name]
    with undisturbed(deployed):
        with planted(deployed, batch):
            done = deployed.deploy()
            found = deployed.findings()
        said = done.stdout + done.stderr
        assert done.returncode == 1, said
        assert "ended before anything that runs was touched" in done.stderr
        for fault in batch:
            lines = [line for line in said.splitlines() if f"{fault.name}: " in line and fault.what in line]
            assert len(lines) == 1, f"{fault.name}: {lines}\n{said}"
            theirs = [each for each in found if each["name"] == fault.name and fault.what in each["what"]]
            assert len(theirs) == 1, f"{fault.name}: {found}"
            assert fault.fix in theirs[0]["fix"], theirs


def test_without_root_nothing_is_begun(deployed: Deployed) -> None:
    """Another user is told so, by deploy and by doctor."""
    with undisturbed(deployed):
        for script in ("deploy.sh", "doctor.sh"):
            done = deployed.machine.run("runuser", "-u", "nobody", "--", "bash", f"{CHECKOUT}/ops/{script}")
            assert (done.returncode, "root" in done.stderr) == (1, True), done.stderr


def test_a_deploy_that_ends_leaves_the_access_list(deployed: Deployed) -> None:
    """The checks log in by the new release's list; where they end the deploy, Redis has the running one's again."""
    switch = next(fault for fault in faults.REDIS if fault.name == "kill-switch")
    with undisturbed(deployed):
        before = deployed.machine.must(*REDIS, "ACL", "LIST")
        template = "deployment/redis/users.acl.template"
        with deployed.changed(template, "user newcomer reset on >x -@all"), planted(deployed, (switch,)):
            done = deployed.deploy()
        assert (done.returncode, "loaded /etc/redis/quantum.acl" in done.stdout) == (1, True), done.stdout
        assert deployed.machine.must(*REDIS, "ACL", "LIST") == before
        assert "newcomer" not in deployed.machine.must("cat", "/etc/redis/quantum.acl")


def test_an_old_python_is_named(deployed: Deployed) -> None:
    """It is the system's own that the daemons' environments are made from."""
    fake = "/usr/bin/python3"
    with undisturbed(deployed):
        deployed.machine.sh(f"mv {fake} {fake}.kept")
        deployed.machine.write(fake, OLD_PYTHON, 0o755)
        try:
            ended = [deployed.ops(script) for script in ("deploy.sh", "doctor.sh", "rollback.sh")]
        finally:
            deployed.machine.sh(f"mv {fake}.kept {fake}")
        for done in ended:
            assert done.returncode == 1
            assert "/usr/bin/python3 is 3.9.2: 3.11 or newer is needed; fix: install Debian 12" in done.stderr


def test_two_deploys_at_once_are_one(deployed: Deployed) -> None:
    """The second says who is at work, and leaves it alone."""
    with undisturbed(deployed):
        held = f"flock /run/quantum-deploy.lock bash {CHECKOUT}/ops/deploy.sh"
        done = deployed.machine.run("bash", "-c", held)
        assert (done.returncode, "another deploy is at work" in done.stderr) == (1, True), done.stderr


def test_a_half_copied_or_half_merged_checkout_is_refused(deployed: Deployed) -> None:
    """Neither a missing part nor the marks of a merge become a release."""
    with undisturbed(deployed):
        with deployed.changed("microservices/runtime/clock.py", "<<<<<<< HEAD"):
            merged = deployed.deploy()
        gone = f"{CHECKOUT}/microservices/apply_layer/main.py"
        deployed.machine.sh(f"mv {gone} {gone}.kept")
        copied = deployed.deploy()
        deployed.machine.sh(f"mv {gone}.kept {gone}")
        assert (merged.returncode, "clock.py holds the marks of an unfinished merge" in merged.stderr) == (1, True)
        assert (copied.returncode, "microservices/apply_layer is missing" in copied.stderr) == (1, True), copied.stderr


def test_what_cannot_be_installed_leaves_no_release(deployed: Deployed) -> None:
    """No wheels for a new release: pip's complaint is the line, and what was begun is noted as half installed."""
    with undisturbed(deployed), deployed.changed("README.md", "A line more."):
        deployed.machine.sh("mkdir -p /srv/empty")
        done = deployed.ops("deploy.sh", "--fresh", "--wheels", "/srv/empty")
        assert (done.returncode, "pip could not install the release" in done.stderr) == (1, True), done.stderr
        half = [each for each in deployed.findings() if each["name"] == "half-installed"]
        assert len(half) == 1
        deployed.machine.sh(half[0]["fix"].partition(",")[0])
    assert deployed.findings() == []


def test_a_failed_proof_takes_the_deploy_back(deployed: Deployed) -> None:
    """Prices that are none: the market state's proof does not hold, and what ran before runs again."""
    settings = "/etc/quantum/marketstate.env"
    version = deployed.version
    deployed.machine.sh(f"cp -p {settings} {settings}.kept; echo MARKETSTATE_SOURCE=synthetic >> {settings}")
    done = deployed.ops("deploy_marketstate_publisher.sh", "--wheels", WHEELS, "--prove-within", "1")
    deployed.machine.sh(f"mv {settings}.kept {settings}; systemctl restart quantum-marketstate")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "failed: ops/verify_marketstate_metrics.sh ends with 2" in done.stdout
    assert f"reverted: {version} runs as before" in done.stdout
    deployed.wait_until_up()
    assert deployed.version == version


def test_what_runs_otherwise_than_installed_is_found(deployed: Deployed) -> None:
    """Changed by hand, not enabled, down, of another account: each with its fix, and a deploy mends them.

    Changed code is put back before, for a release beside it is what tests/unit/deploy/test_release.py builds. A kill
    switch that an operator has taken away does not become `off` by a deploy.
    """
    code = "/opt/quantum/current/microservices/runtime/clock.py"
    deployed.machine.sh(f"cp -p {code} /root/clock.py")
    deployed.machine.sh(
        "systemctl disable --quiet quantum-universe-service; systemctl stop quantum-p35-decision-intelligence;"
        "sed -i s/WatchdogSec=30/WatchdogSec=0/ /etc/systemd/system/quantum-candle-feed.service;"
        "echo '# changed' >> /opt/quantum/current/microservices/runtime/clock.py;"
        f"{ADMIN} DEL quantum:kill_switch; {ADMIN} HSET quantum:cfg:account host elsewhere.example"
    )
    names = sorted(each["name"] for each in deployed.findings())
    assert names == ["account", "down", "edited", "not-enabled", "not-reloaded", "release"]
    deployed.machine.sh(f"mv /root/clock.py {code}")
    before = deployed.version
    said = deployed.deployed("--reset-account", "--metrics")
    assert "bound to mode paper, host '127.0.0.1'" in said
    assert deployed.version == before
    assert set(deployed.running().values()) == {deployed.version}
    assert deployed.machine.must(*REDIS, "GET", "quantum:kill_switch").strip() == "no_new_risk"
    deployed.machine.must(*REDIS, "SET", "quantum:kill_switch", "off")
    for port, metric in ((8040, "universe_"), (8041, "marketstate_")):
        assert metric in deployed.machine.must("curl", "-sS", f"http://127.0.0.1:{port}/metrics")
    assert deployed.findings() == []
