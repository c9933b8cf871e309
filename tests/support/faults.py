"""What can be wrong on a machine that is deployed to: how a test plants it, how it mends it, and what names it."""

from typing import Final, NamedTuple

CURRENT = "/opt/quantum/current"
ADMIN = "bash /home/qt/quantum_trader/ops/redis_admin.sh"
ENV = "/etc/quantum"
PAPER = "http://127.0.0.1:8060/paper/faults"
KEYS = f"{ENV}/credentials"
BRAIN, APPLY, FEED, STATE, P35 = (
    f"{ENV}/{name}.env"
    for name in ("position-state-brain", "apply-layer", "candle-feed", "marketstate", "p35-decision-intelligence")
)
ALMOST_ALL = "$(( $(df --output=avail -B1 / | tail -1) - 60000000 ))"
MASK = "/etc/systemd/system/quantum-apply-layer.service"
ENSUREPIP = "$(dirname $(/usr/bin/python3 -c 'import venv; print(venv.__path__[0])'))/ensurepip"
DROP_IN = "/etc/systemd/system/quantum-marketstate.service.d"
LISTEN = "import socket; s = socket.create_server(('127.0.0.1', 8041)); print(s.accept())"
STRANGER = f"""\
systemd-run --quiet --unit=stranger python3 -c "{LISTEN}"
until ss -ltn | grep -q :8041; do sleep 0.1; done
cp -p {STATE} {STATE}.kept
echo MARKETSTATE_METRICS_PORT=8041 >> {STATE}
"""
CLI = "/usr/bin/redis-cli"
OLD_REDIS = f"""\
mv {CLI} {CLI}.kept
cat > {CLI} <<'EOF'
#!/bin/bash
set -o pipefail
{CLI}.kept "$@" | sed -u 's/^redis_version:.*/redis_version:6.0.16/'
EOF
chmod 755 {CLI}
"""
NO_MORE = f'curl -sS {PAPER} -d \'{{"fault": "clear"}}\''


class Fault(NamedTuple):
    """One fault.

    Args:
        name: what the finding is called.
        plant: lines of bash that make it so.
        mend: lines of bash that undo them.
        what: a word that the finding's line must hold.
        fix: a word that its fix must hold.
    """

    name: str
    plant: str
    mend: str
    what: str
    fix: str


def in_file(name: str, path: str, edit: str, what: str, fix: str) -> Fault:
    """Make a fault of an edit of a file, which is put back from a copy beside it."""
    return Fault(name, f"cp -p {path} {path}.kept; {edit}", f"mv {path}.kept {path}", what, fix)


HOST: Final = (
    Fault(
        "python-venv", f"mv {ENSUREPIP} {ENSUREPIP}.away", f"mv {ENSUREPIP}.away {ENSUREPIP}", "no venv", "python3-venv"
    ),
    Fault("owner", f"chmod o+w {ENV}", f"chmod o-w {ENV}", f"{ENV} is of user 0 with mode 0752", "chmod go-w"),
    Fault("disk", f"fallocate -l {ALMOST_ALL} /full", "rm /full", "/opt/quantum/releases has", "du -xh"),
    Fault("disk", "true", "true", "/var/lib/quantum has", "du -xh"),
    Fault(
        "current",
        f"mv {CURRENT} {CURRENT}.kept; ln -s /home/qt/quantum_trader {CURRENT}",
        f"mv -T {CURRENT}.kept {CURRENT}",
        "/home/qt/quantum_trader",
        "rollback.sh",
    ),
)
"""Found before anything is built."""

SETTINGS: Final = (
    Fault(
        "masked",
        f"mv {MASK} {MASK}.kept; ln -s /dev/null {MASK}; systemctl daemon-reload",
        f"mv -T {MASK}.kept {MASK}; systemctl daemon-reload",
        "quantum-apply-layer is masked",
        "systemctl unmask",
    ),
    Fault(
        "drop-in",
        f"mkdir -p {DROP_IN}; printf '[Service]\\nUser=root\\n' > {DROP_IN}/override.conf; systemctl daemon-reload",
        f"rm -r {DROP_IN}; systemctl daemon-reload",
        "sets User",
        "systemctl revert",
    ),
    Fault(
        "port",
        STRANGER,
        f"systemctl stop stranger; mv {STATE}.kept {STATE}",
        "8041 of quantum-marketstate is taken by process",
        "ss -ltnp",
    ),
    in_file("setting-name", P35, f"echo P35_BATCHSIZE=100 >> {P35}", "is P35_BATCH_SIZE meant?", "correct the name"),
    in_file(
        "settings-line",
        FEED,
        f"echo 'this is no setting' >> {FEED}",
        "no NAME=value: this is no setting",
        "write it as NAME=value",
    ),
    in_file(
        "secret", BRAIN, f"echo BINANCE_API_SECRET=abc >> {BRAIN}", "holds BINANCE_API_SECRET", "take the line out"
    ),
    in_file(
        "settings-owner",
        f"{ENV}/universe-service.env",
        f"chmod 644 {ENV}/universe-service.env",
        "mode 0644",
        "chmod 640",
    ),
    in_file(
        "credential",
        f"{KEYS}/BINANCE_API_SECRET",
        f": > {KEYS}/BINANCE_API_SECRET",
        "BINANCE_API_SECRET is empty",
        "install -m 600",
    ),
    in_file(
        "credential-open",
        f"{KEYS}/PAPER_API_SECRET",
        f"chmod 644 {KEYS}/PAPER_API_SECRET",
        "mode 0644",
        "change the key",
    ),
    in_file(
        "credential-mode",
        f"{KEYS}/BINANCE_API_KEY",
        f"echo another > {KEYS}/BINANCE_API_KEY",
        "BINANCE_API_KEY is not PAPER_API_KEY",
        "install -m 600",
    ),
)
"""Found in settings, credentials and units; they do not hide one another."""

VALUES: Final = (
    in_file(
        "setting",
        APPLY,
        f"echo APPLY_WORKERS=many >> {APPLY}",
        "APPLY_WORKERS='many': allowed is a whole number",
        "correct it",
    ),
    in_file(
        "redis-place",
        FEED,
        f"echo REDIS_DB=3 >> {FEED}",
        "candle-feed.env names Redis 127.0.0.1:6379 database 3",
        "the same Redis",
    ),
    in_file(
        "redis-remote", P35, f"echo REDIS_HOST=10.1.2.3 >> {P35}", "may talk to this machine alone", "IPAddressAllow"
    ),
    in_file("port-twice", BRAIN, f"echo P33_METRICS_PORT=8042 >> {BRAIN}", "the same port 8042", "a port of its own"),
)
"""Found in the values; these keep the checks from asking Redis, and so stand apart."""

REDIS: Final = (
    Fault(
        "redis-eviction",
        f"{ADMIN} CONFIG SET maxmemory 200mb; {ADMIN} CONFIG SET maxmemory-policy allkeys-lru",
        f"{ADMIN} CONFIG SET maxmemory-policy noeviction; {ADMIN} CONFIG SET maxmemory 2gb",
        "allkeys-lru",
        "noeviction",
    ),
    Fault(
        "redis-aof",
        f"{ADMIN} CONFIG SET appendonly no",
        f"{ADMIN} CONFIG SET appendonly yes",
        "appendonly is off",
        "appendonly yes",
    ),
    Fault(
        "account",
        f"{ADMIN} HSET quantum:cfg:account mode testnet",
        f"{ADMIN} HSET quantum:cfg:account mode paper",
        "belongs to mode testnet",
        "REDIS_DB",
    ),
    Fault(
        "kill-switch",
        f"{ADMIN} SET quantum:kill_switch maybe",
        f"{ADMIN} SET quantum:kill_switch off",
        "'maybe', which stops everything",
        "ops/kill_switch.sh",
    ),
    Fault(
        "clock",
        f'curl -sS {PAPER} -d \'{{"fault": "skew_clock", "seconds": 40}}\'',
        NO_MORE,
        "clock is -40.0 s off",
        "set-ntp",
    ),
    Fault("redis-version", OLD_REDIS, f"mv {CLI}.kept {CLI}", "Redis is 6.0.16: 7.0 or newer", "apt-get install"),
)
"""Found in a Redis, and an exchange, that answer."""

ALONE: Final = (
    Fault(
        "redis-login",
        f"{ADMIN} ACL SETUSER position-state-brain resetpass '>another'",
        f"{ADMIN} ACL LOAD",
        "WRONGPASS",
        "correct REDIS_*",
    ),
    Fault(
        "redis",
        "systemctl stop redis-server",
        "systemctl start redis-server",
        "no Redis at 127.0.0.1:6379",
        "systemctl start redis-server",
    ),
    Fault("redis-replica", f"{ADMIN} REPLICAOF 127.0.0.1 1", f"{ADMIN} REPLICAOF NO ONE", "is a replica", "REDIS_HOST"),
    Fault(
        "redis-full",
        f"{ADMIN} CONFIG SET maxmemory 1mb",
        f"{ADMIN} CONFIG SET maxmemory 2gb",
        "takes no writes",
        "raise maxmemory",
    ),
    Fault(
        "exchange",
        f'curl -sS {PAPER} -d \'{{"fault": "drop", "path": "/fapi/v1/time"}}\'',
        NO_MORE,
        "does not answer",
        "curl -sS",
    ),
    in_file(
        "mode",
        FEED,
        f"sed -i s/TRADING_MODE=paper/TRADING_MODE=testnet/ {FEED}",
        "candle-feed.env testnet",
        "the same mode",
    ),
    Fault(
        "tool",
        "mv /usr/bin/redis-cli /usr/bin/redis-cli.away",
        "mv /usr/bin/redis-cli.away /usr/bin/redis-cli",
        "redis-cli is not installed",
        "redis-tools",
    ),
    Fault(
        "credential",
        f"mv {KEYS}/BINANCE_API_KEY {KEYS}/away",
        f"mv {KEYS}/away {KEYS}/BINANCE_API_KEY",
        "BINANCE_API_KEY is not there",
        "install -m 600",
    ),
)
