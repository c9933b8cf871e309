"""The suite on a really booted systemd: deployed, proven, killed, hung, starved, stopped, upgraded, broken, reverted.

The tests build on one another, in this order, on one machine.
"""

import functools
import json
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from ops.deploy.catalog import TARGET, UNITS
from tests.support.booted import BootedMachine
from tests.support.deploy_page import sections
from tests.support.deployed import CHECKOUT, REDIS, Deployed
from tests.support.waiting import wait_until

PROOFS = (
    "proof_universe.sh",
    "verify_marketstate_metrics.sh",
    "proof_p33_universe.sh",
    "proof_p35_decision_intelligence.sh",
)
RESTARTING = "Scheduled restart job"
WAIT_S = 120.0
RESTARTED_WITHIN_S = 45.0
"""The bound for a hung unit: the watchdog's 30 s, its abort, and the pause before the restart."""
PAGE_HEADINGS = ("Look", "Change a setting", "Stop and start")
UPGRADE = "Upgrade, and back"
LEDGER = "/var/lib/quantum/OPS_CHANGELOG.md"
LOADED = 40
HOG = "x = bytearray(700_000_000); import time; time.sleep(60)"
LIMITED = """
for folder in /sys/fs/cgroup/memory{group} /sys/fs/cgroup{group}; do
  if grep -qsx 536870912 $folder/memory.limit_in_bytes $folder/memory.max; then echo $folder; fi
done
"""
HALF_WAY = """
(while (( $({redis} XLEN quantum:stream:apply.plan) < {half} )); do sleep 0.1; done
systemctl restart redis-server) &
cd {checkout} && PYTHONPATH=. exec {python} -B -m tests.support.plan_load {all}
"""
HUNG_REDIS_PORT = "6390"
HUNG_HOW = {"livelock": "spins", "deadlock": "deadlocks", "ticks-without-progress": "has_a_bug"}


class Hanging:
    """Units that hang each in its own way, and one of the suite's that is stopped, all begun at once.

    Args:
        deployed: where.
    """

    def __init__(self, deployed: Deployed) -> None:
        self.machine = deployed.machine
        self.stopped_pid = self.machine.show("quantum-universe-service", "MainPID")
        self.machine.must("kill", "-STOP", self.stopped_pid)
        self.began = {"quantum-universe-service": time.monotonic()}
        # Of their own, since the suite's lets in nobody whom its schema does not name.
        self.machine.must(
            "systemd-run", "--quiet", "--unit=hung-redis", "redis-server", "--port", HUNG_REDIS_PORT, "--save", ""
        )
        for name, behaviour in HUNG_HOW.items():
            self._start(name, behaviour)

    def restarted_after_s(self, unit: str) -> float:
        """Wait until systemd has restarted a unit; give how long after it began to hang that was, by its journal."""
        began = self.began[unit]

        def times() -> list[float]:
            said = self.machine.must("journalctl", "--unit", unit, "--output=json", "--no-pager").splitlines()
            entries = [json.loads(line) for line in said]
            at = [int(each["__MONOTONIC_TIMESTAMP"]) / 1e6 for each in entries if RESTARTING in each.get("MESSAGE", "")]
            return [moment for moment in at if moment > began]

        return wait_until(times, WAIT_S, what=f"{unit} to be restarted", every_s=0.5)[0] - began

    def end(self) -> None:
        """Stop them."""
        self.machine.run("systemctl", "kill", "--signal=KILL", *(f"hung-{name}" for name in HUNG_HOW))
        self.machine.run("systemctl", "stop", "hung-redis", *(f"hung-{name}" for name in HUNG_HOW))

    def _start(self, name: str, behaviour: str) -> None:
        properties = (
            "Type=notify",
            "WatchdogSec=30",
            "TimeoutAbortSec=3",
            "Restart=always",
            "RestartSec=3",
            "LimitCORE=0",
        )
        self.machine.must(
            "systemd-run", "--quiet", f"--unit=hung-{name}", *(f"--property={each}" for each in properties),
            f"--setenv=TINY_BEHAVIOUR={behaviour}", f"--setenv=REDIS_PORT={HUNG_REDIS_PORT}",
            "--setenv=PYTHONFAULTHANDLER=1", f"--working-directory={CHECKOUT}",
            "/opt/quantum/current/.venv/bin/python", "-m", "tests.support.tiny_service",
        )  # fmt: skip
        # It has said that it is ready: its start, slow on a slow machine, is no part of the hang.
        self.began[f"hung-{name}"] = time.monotonic()


@pytest.fixture(scope="module")
def machine(deployed: Deployed) -> BootedMachine:
    """The machine itself."""
    return deployed.machine


@pytest.fixture(scope="module")
def hanging(deployed: Deployed) -> Iterator[Hanging]:
    """What hangs while other tests go on; their time is used for its watchdogs'."""
    units = Hanging(deployed)
    yield units
    units.end()


def test_every_unit_is_active_and_starts_with_the_machine(deployed: Deployed, machine: BootedMachine) -> None:
    """Up and at work, as the unprivileged user, of the release that was deployed; enabled, the target too."""
    deployed.wait_until_up()
    for unit in UNITS:
        assert machine.show(unit.service, "UnitFileState") == "enabled"
        assert machine.show(unit.service, "User") == "qt"
    assert machine.show(TARGET, "UnitFileState") == "enabled"
    assert set(deployed.running().values()) == {deployed.version}


@pytest.mark.parametrize("heading", PAGE_HEADINGS)
def test_the_manual_s_commands_do_what_it_says(deployed: Deployed, heading: str) -> None:
    """As they stand on the page, in its order; what Install says was done before all other tests."""
    for block in sections()[heading]:
        assert deployed.page(block) or heading in {"Change a setting", "Stop and start"}
    deployed.wait_until_up()


def test_the_manual_has_no_section_that_is_not_run() -> None:
    """Upgrade, and back, has a test of its own."""
    with_commands = {heading for heading, blocks in sections().items() if blocks}
    assert with_commands == {"Install", UPGRADE, *PAGE_HEADINGS}


@pytest.mark.parametrize("proof", PROOFS)
def test_a_proof_holds(deployed: Deployed, proof: str) -> None:
    """As an operator runs it, on the machine, with nothing said about Redis."""
    wait_until(lambda: deployed.ops(proof).returncode == 0, 60, what=f"{proof} to hold", every_s=1.0)


def test_the_doctor_finds_nothing(deployed: Deployed) -> None:
    """A machine that was just deployed to is well."""
    assert deployed.findings() == []


def test_redis_lets_in_who_has_a_password_and_does_what_he_may(deployed: Deployed, machine: BootedMachine) -> None:
    """Nobody without; a shell reads; a script that changes something is the operator; each service is itself."""
    assert "NOAUTH" in machine.run("redis-cli", "GET", "quantum:kill_switch").stdout
    as_shell = (
        "bash",
        "-lc",
        "redis-cli ACL WHOAMI; redis-cli GET quantum:kill_switch; redis-cli SET quantum:kill_switch x",
    )
    said = machine.run(*as_shell).stdout.splitlines()
    assert said[:2] == ["reader", "off"]
    assert said[2].startswith("NOPERM")
    assert deployed.ops("kill_switch.sh", "exits-only").returncode == 0
    assert deployed.ops("kill_switch.sh", "off", "--yes").returncode == 0
    logged_in = machine.must(*REDIS, "CLIENT", "LIST")
    for unit in UNITS:
        if unit.stage:
            rows = [row for row in logged_in.splitlines() if f" name={unit.name} " in row]
            assert rows
            assert {f" user={unit.short} " in row for row in rows} == {True}, rows
    modes = machine.sh("cd /etc/quantum/redis && stat -c '%U:%G %a %n' *").splitlines()
    assert {f"root:qt 640 {name}" for name in ("reader", "operator", "strategy")} <= set(modes)
    assert "root:root 600 admin" in modes
    refused = [row for row in machine.must(*REDIS, "ACL", "LOG").splitlines() if row.startswith("quantum:")]
    assert set(refused) <= {"quantum:kill_switch"}


def test_the_journal_has_every_unit_s_lines(machine: BootedMachine) -> None:
    """Each says which build it is, and nothing secret is among the lines."""
    secret = machine.must("cat", "/etc/quantum/credentials/BINANCE_API_SECRET").strip()
    for unit in UNITS:
        lines = machine.journal(unit.service)
        assert f"[INFO] {unit.name} " in lines
        assert secret not in lines


def test_the_ledger_tells_of_the_deploy(deployed: Deployed, machine: BootedMachine) -> None:
    """One entry, whole, with the release and the commit that it was made from."""
    text = machine.must("cat", LEDGER)
    assert f"operation_name: Deploy {deployed.version}" in text
    commit = machine.must("git", "-c", f"safe.directory={CHECKOUT}", "-C", CHECKOUT, "rev-parse", "--short=8", "HEAD")
    assert f"git_commit: {commit.strip()}" in text.replace('"', "")


def test_only_the_state_directories_are_the_daemons_own(machine: BootedMachine) -> None:
    """Code, settings and keys are root's: what the daemons' user owns is below /var/lib/quantum."""
    places = "/opt /etc /usr/local /var/lib/quantum"
    owned = machine.must("find", *places.split(), "-user", "qt", "-not", "-path", "/proc/*").split()
    assert owned
    assert [path for path in owned if not path.startswith("/var/lib/quantum/")] == []
    assert machine.run("runuser", "-u", "qt", "--", "cat", "/etc/quantum/credentials/BINANCE_API_KEY").returncode != 0


def test_a_killed_service_is_back_at_once(deployed: Deployed, machine: BootedMachine, hanging: Hanging) -> None:
    """Kill -9 of every trading process: new ones run a few seconds later, at work."""
    traders = ("quantum-position-state-brain", "quantum-apply-layer")
    killed = {name: machine.show(name, "MainPID") for name in traders}
    machine.must("kill", "-KILL", *killed.values())

    def are_back() -> bool:
        again = {name: machine.show(name, "MainPID") for name in traders}
        return all(again[name] not in {"0", killed[name]} for name in traders) and all(
            machine.show(name, "ActiveState") == "active" for name in traders
        )

    wait_until(are_back, 45, what="both to be back", every_s=0.2)
    assert [machine.show(name, "NRestarts") for name in traders] == ["1", "1"]


def test_a_memory_hog_is_ended_alone(machine: BootedMachine, hanging: Hanging) -> None:
    """What eats more than a unit's share is killed by the kernel; the unit is there afterwards."""
    group = machine.show("quantum-marketstate", "ControlGroup")
    enforced = machine.run("bash", "-c", LIMITED.format(group=group)).stdout.split()
    if not enforced:
        pytest.skip("the kernel does not enforce a unit's memory here")
    script = f"echo $$ > {enforced[0]}/cgroup.procs && exec python3 -c '{HOG}'"
    done = machine.run("bash", "-c", script, timeout_s=60)
    assert done.returncode in {137, -9}, done.stderr
    wait_until(
        lambda: machine.show("quantum-marketstate", "ActiveState") == "active", 60, what="marketstate to be there"
    )


def test_redis_restarted_under_load_loses_nothing(deployed: Deployed, machine: BootedMachine, hanging: Hanging) -> None:
    """Every plan that was added has exactly one result, and every result is counted exactly once."""
    python = "/opt/quantum/current/.venv/bin/python"
    script = HALF_WAY.format(redis=" ".join(REDIS), half=LOADED // 2, all=LOADED, checkout=CHECKOUT, python=python)
    was = machine.show("redis-server", "MainPID")
    added = json.loads(machine.sh(script).splitlines()[-1])
    assert machine.show("redis-server", "MainPID") not in {"0", was}, "it was to be restarted meanwhile"
    assert len(set(added)) == LOADED
    wait_until(lambda: set(results(machine)) >= set(added), 90, what="a result of every plan", every_s=0.5)
    assert {entry: count for entry, count in results(machine).items() if count != 1} == {}
    wait_until(lambda: counted(machine) == len(results(machine)), 30, what="every result to be counted", every_s=0.5)


@pytest.mark.parametrize("how", HUNG_HOW)
def test_a_unit_that_hangs_is_restarted(machine: BootedMachine, hanging: Hanging, how: str) -> None:
    """A livelock, a deadlock, a loop that ticks and gets nowhere: each within 45 s, and the journal says where."""
    assert hanging.restarted_after_s(f"hung-{how}") <= RESTARTED_WITHIN_S
    said = machine.journal(f"hung-{how}")
    assert "No progress in misbehave" in said
    assert "most recent call first" in said, "the stack of every thread"


def test_a_stopped_process_is_restarted_by_its_watchdog(
    deployed: Deployed, machine: BootedMachine, hanging: Hanging
) -> None:
    """SIGSTOP of a service of the suite: another process does its work within 45 s."""
    assert hanging.restarted_after_s("quantum-universe-service") <= RESTARTED_WITHIN_S
    assert machine.show("quantum-universe-service", "MainPID") != hanging.stopped_pid
    assert "Watchdog timeout" in machine.journal("quantum-universe-service")
    deployed.wait_until_up()


def test_the_target_stops_all_in_time_and_starts_all(deployed: Deployed, machine: BootedMachine) -> None:
    """Nobody has to be killed, nobody stays, and all come back with the target."""
    before = {unit.service: machine.journal(unit.service).count("stopped\n") for unit in UNITS}
    machine.must("systemctl", "stop", TARGET)
    for unit in UNITS:
        is_stopped = functools.partial(machine.is_in_state, unit.service, "inactive")
        wait_until(is_stopped, 20, what=f"{unit.name} to stop", every_s=0.1)
        assert machine.show(unit.service, "Result") == "success", unit.name
        journal = machine.journal(unit.service)
        assert journal.count("stopped\n") == before[unit.service] + 1, unit.name
        assert "State 'stop-sigterm' timed out" not in journal
    machine.must("systemctl", "start", TARGET)
    deployed.wait_until_up()


def test_an_upgrade_and_the_way_back(deployed: Deployed, machine: BootedMachine) -> None:
    """The manual's commands: another release, then the one before; settings that were edited stay as they are."""
    first, settings = deployed.version, "/etc/quantum/apply-layer.env"
    machine.sh(f"echo APPLY_MAX_POSITIONS=7 >> {settings}")
    edited = machine.must("cat", settings)
    upgrade, back = sections()[UPGRADE]
    with deployed.changed("README.md", "One more line."):
        deployed.page(upgrade)
        second = deployed.version
        assert second != first
        assert set(deployed.running().values()) == {second}
        assert deployed.findings() == []
    deployed.page(back)
    assert deployed.version == first
    assert set(deployed.running().values()) == {first}
    assert machine.must("cat", settings) == edited
    assert f"operation_name: Roll back {first}" in machine.must("cat", LEDGER)
    verify = ("python3", f"{CHECKOUT}/ops/ops_ledger_append.py", "--verify")
    assert machine.run(*verify, OPS_LEDGER_FILE=LEDGER).returncode == 0


def test_a_broken_release_takes_itself_back(deployed: Deployed, machine: BootedMachine) -> None:
    """A release whose executor refuses to start: exit 1, one line with its own words, and the old release runs on."""
    first = deployed.version
    broken = 'raise SystemExit("Error: broken on purpose")'
    with deployed.changed("microservices/apply_layer/assembly.py", broken):
        done = deployed.deploy("--services", "apply-layer")
    assert done.returncode == 1, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if "broken on purpose" in line and "quantum-apply-layer" in line]
    assert deployed.version == first
    deployed.wait_until_up()
    assert set(deployed.running().values()) == {first}
    assert deployed.findings() == []


def results(machine: BootedMachine) -> Counter[str]:
    """Count the results by the plan entry that each names."""
    entries = json.loads(machine.must(*REDIS, "-2", "--json", "XRANGE", "quantum:stream:apply.result", "-", "+"))
    return Counter(dict(zip(fields[::2], fields[1::2], strict=True))["plan_entry_id"] for _, fields in entries)


def counted(machine: BootedMachine) -> int:
    """Add up what decision intelligence has counted in all its buckets."""
    keys = machine.must(*REDIS, "--scan", "--pattern", "quantum:p35:bucket:*").split()
    total = 0
    for key in keys:
        fields = json.loads(machine.must(*REDIS, "-3", "--json", "HGETALL", key))
        total += sum(int(count) for name, count in fields.items() if name.startswith("decision:"))
    return total
