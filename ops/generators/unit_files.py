"""The unit files in deployment/systemd: one sandbox for all, and what differs from one unit to the next."""

from ops.deploy.catalog import PAPER_EXCHANGE, TARGET, UNITS, Unit

HEAD = (
    "# Generated from ops/generators/unit_files.py by `python -m ops.generate_docs`. Change a machine by a drop-in.\n"
)

SANDBOX = """\
# Sandbox: no way to gain rights, to change the system, to see others, or to be reached for more than it is for.
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
PrivateTmp=yes
PrivateDevices=yes
PrivateIPC=yes
PrivateMounts=yes
PrivateUsers=yes
DevicePolicy=closed
KeyringMode=private
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
"""
LOOPBACK_ONLY = """\
IPAddressDeny=any
IPAddressAllow=localhost
"""


def unit_file(unit: Unit) -> str:
    """Write one service's unit file."""
    after = ["network-online.target", "redis-server.service"]
    if unit.reaches_out:
        after.append(PAPER_EXCHANGE.service)
    credentials = "".join(f"LoadCredential={name}:/etc/quantum/credentials/{name}\n" for name in unit.keys)
    state = f"StateDirectory=quantum/{unit.short}\nStateDirectoryMode=0700\n" if unit.has_state else ""
    return f"""{HEAD}[Unit]
Description=Quantum Trader: {unit.says}
Documentation=file:/opt/quantum/current/ops/README.md
After={" ".join(after)}
Wants=network-online.target
PartOf={TARGET}
# However long Redis is away, the unit is never given up.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
# The script's first line names its own release: a process keeps its release's code until it is restarted.
ExecStart=/opt/quantum/current/.venv/bin/{unit.name}
WorkingDirectory=/
EnvironmentFile=/etc/quantum/{unit.settings_file}
{credentials}User=qt
Group=qt
UMask=0077
{state}SyslogIdentifier=%N
Restart=always
RestartSec=3
TimeoutStartSec=60
TimeoutStopSec=5
# Fed by the progress of every loop. When it bites, the journal gets the stack of every thread, and no core is dumped,
# for a core would hold the keys.
WatchdogSec=30
TimeoutAbortSec=3
Environment=PYTHONFAULTHANDLER=1
LimitCORE=0
MemoryMax={unit.memory_mb}M
MemorySwapMax=0
CPUQuota={unit.cpu_percent}%
TasksMax=128

{SANDBOX}{"" if unit.reaches_out else LOOPBACK_ONLY}
[Install]
WantedBy={TARGET}
"""


def target_file() -> str:
    """Write the target that starts and stops all services."""
    return f"""{HEAD}[Unit]
Description=Quantum Trader: all services
Documentation=file:/opt/quantum/current/ops/README.md

[Install]
WantedBy=multi-user.target
"""


def unit_files() -> dict[str, str]:
    """Give every unit file by name."""
    return {unit.service: unit_file(unit) for unit in UNITS} | {TARGET: target_file()}
