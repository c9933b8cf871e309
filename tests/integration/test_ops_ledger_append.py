"""The ledger's tool as an operator starts it: the examples of the manual, evidence, strictness, parallel runs."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest
from redis import Redis

from ops.record.book import chain
from ops.record.entry import FIELDS
from ops.record.snapshots import PART_MAX_LINES
from ops.record.verify import verified
from tests.support.daemon import ROOT
from tests.support.http_server import HttpServer, answer
from tests.support.ledger import LEDGER_TOOL, entries, record, run_tool, three_entries
from tests.support.ops import path_of_tools, put_tool
from tests.support.redis_server import RedisServer

EXAMPLE = (
    'python3 ops/ops_ledger_append.py --operation "P2.7 Deploy" --objective "Deploy correlation matrix + capital '
    'clustering" --risk_class SERVICE_RESTART --blast_radius "Portfolio gating layer only" --allowed_paths '
    "microservices/portfolio_clusters/ --allowed_services quantum-portfolio-clusters quantum-portfolio-gate "
    '--changes_summary "Deployed P2.7 with warmup observability" --proof_path proof.txt --metrics_urls '
    '"http://127.0.0.1:8048/metrics" --metrics_grep "p27_corr_ready" --redis_cmds "HGETALL '
    'quantum:portfolio:cluster_state" --notes "Manual ledger entry"'
)
TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Where the ledger of this test is to be; its folder is there."""
    folder = tmp_path / "ledger"
    folder.mkdir()
    return folder / "ledger.md"


def shown_in_the_manual() -> str:
    """What the manual shows as the tool's output."""
    section = (ROOT / "ops" / "README.md").read_text().split("\n## ops_ledger_append.py")[1]
    block = re.search(r"^```text\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert block is not None
    return block[1]


def labels(output: str) -> list[str]:
    """The first word of each line, repeated ones once."""
    return list(dict.fromkeys(line.split()[0] for line in output.splitlines()))


def test_the_example_as_it_is_written(ledger: Path) -> None:
    """One command line of the manual, run from the repository: an entry with all its fields in order."""
    done = subprocess.run(
        ["bash", "-c", EXAMPLE],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "OPS_LEDGER_FILE": str(ledger), "REDIS_PORT": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert re.match(r"Auto-generated operation_id: OPS-\d{4}-\d{2}-\d{2}-001\n", done.stdout)
    [entry] = entries(ledger.read_bytes())
    assert tuple(entry) == FIELDS
    assert entry["operation_name"] == "P2.7 Deploy"
    assert entry["allowed_services"] == ["quantum-portfolio-clusters", "quantum-portfolio-gate"]
    assert entry["allowed_paths"] == ["microservices/portfolio_clusters/"]
    assert entry["notes"] == "Manual ledger entry"
    assert TIME.fullmatch(str(entry["execution_timestamp"]))
    assert str(entry["metrics_snapshot"]).startswith("# http://127.0.0.1:8048/metrics | grep 'p27_corr_ready'\n")
    assert str(entry["redis_snapshot"]).startswith("# redis-cli HGETALL quantum:portfolio:cluster_state\n")
    assert "No such file or directory: 'proof.txt' (continuing in non-strict mode)" in done.stderr


def test_evidence_of_a_machine_that_has_it_all(
    ledger: Path, tmp_path: Path, redis_server: RedisServer, redis_client: Redis
) -> None:
    """States as systemd words them, log lines, proof, metrics, Redis; secrets in all of them are masked."""
    tools = tmp_path / "tools"
    tools.mkdir()
    states = "case ${@: -1} in a) echo active;; b) echo inactive;; c) echo failed;; *) echo unknown; exit 4;; esac"
    put_tool(tools, "systemctl", f"[[ $1 == is-active ]] || exit 9\n{states}")
    put_tool(tools, "journalctl", 'printf "%s\\n" "$@" >>"$0.args"; echo "2026 started with api_secret=hunter22"')
    proof = tmp_path / "proof.txt"
    proof.write_text("it works\n")
    os.utime(proof, (1_795_000_000, 1_795_000_000))
    redis_client.hset("quantum:portfolio:cluster_state", mapping={"cluster_stress": "0.79", "password": "hunter22"})
    metrics = '# HELP p27_corr_ready x\np27_corr_ready 1.0\np27_token{token="hunter22"} 2\nother 3\n'
    with HttpServer() as server:
        server.say(answer(metrics.encode()))
        done = record(
            ledger,
            *("--allowed_services", "a", "b", "--allowed_services", "c", "d"),
            *("--proof_path", str(proof), "--metrics_urls", f"{server.url}/metrics"),
            *("--metrics_grep", "p27_corr", "--metrics_grep", "token"),
            *(
                "--redis_cmds",
                "HGETALL quantum:portfolio:cluster_state",
                "GET quantum:portfolio:cluster_state",
                "dbsize",
            ),
            "--strict",
            PATH=f"{tools}:{os.environ['PATH']}",
            REDIS_PORT=str(redis_server.port),
        )
        url = server.url
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert labels(done.stdout) == labels(shown_in_the_manual())
    [entry] = entries(ledger.read_bytes())
    assert entry["services_status"] == {"a": "active", "b": "inactive", "c": "failed", "d": "unknown"}
    assert str(entry["services_log"]).split("\n")[:3] == [
        "# journalctl -u a -n 30",
        "2026 started with api_secret=***",
        "# journalctl -u b -n 30",
    ]
    assert {"--lines=30", "--unit=a", "--unit=d"} <= set((tools / "journalctl.args").read_text().split())
    assert entry["proof_file"] == {
        "sha256": sha256(b"it works\n").hexdigest()[:16],
        "size_bytes": 9,
        "mtime_utc": "2026-11-18T11:06:40Z",
    }
    assert entry["metrics_snapshot"] == (
        f"# {url}/metrics | grep 'p27_corr'\np27_corr_ready 1.0\n"
        f"# {url}/metrics | grep 'token'\np27_token{{token=***}} 2"
    )
    redis_lines = str(entry["redis_snapshot"]).split("\n")
    assert redis_lines[0] == "# redis-cli HGETALL quantum:portfolio:cluster_state"
    assert dict(zip(redis_lines[1:5:2], redis_lines[2:6:2], strict=True)) == {
        "cluster_stress": "0.79",
        "password": "***",
    }
    assert redis_lines[5] == "# redis-cli GET quantum:portfolio:cluster_state"
    assert redis_lines[6].startswith("(error) WRONGTYPE")
    assert redis_lines[7:] == ["# redis-cli dbsize", "1"]


def test_a_machine_without_tools_gives_unavailable(ledger: Path, tmp_path: Path) -> None:
    """No git, systemctl, journalctl, bash or redis-cli: an entry all the same, which says so."""
    done = record(
        ledger,
        *("--allowed_services", "quantum-x", "--redis_cmds", "GET a", "--metrics_urls", "http://127.0.0.1:1/metrics"),
        "--strict",
        PATH=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    [entry] = entries(ledger.read_bytes())
    assert (entry["git_commit"], entry["services_status"]) == ("unavailable", {"quantum-x": "unavailable"})
    assert str(entry["services_log"]).endswith("\nunavailable")
    assert str(entry["redis_snapshot"]).endswith("\nunavailable")
    assert "\nunavailable (" in str(entry["metrics_snapshot"])


def test_redis_without_redis_cli_is_unavailable_with_its_reason(ledger: Path, tmp_path: Path) -> None:
    """The line says what is missing."""
    tools = path_of_tools(tmp_path / "tools", ["bash", "dirname", "python3"])
    assert record(ledger, "--redis_cmds", "GET a", PATH=str(tools)).returncode == 0
    [entry] = entries(ledger.read_bytes())
    assert "redis-cli is not installed" in str(entry["redis_snapshot"])


def test_the_password_of_redis_is_used_and_nowhere_to_be_seen(ledger: Path, redis_server: RedisServer) -> None:
    """From the URL, as for every service; Redis, which has no password here, says what it was given."""
    url = f"redis://someone:hunter22@127.0.0.1:{redis_server.port}/0"
    done = record(ledger, "--redis_cmds", "ECHO hunter22", REDIS_URL=url)
    assert done.returncode == 0
    assert "hunter22" not in ledger.read_text() + done.stdout + done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "SET a b",
        "del a",
        "FLUSHALL",
        "EVAL 'return 1' 0",
        "CONFIG GET requirepass",
        "KEYS *",
        "XREAD BLOCK 0 STREAMS a 0",
        "SORT a STORE b",
        "CLIENT LIST",
        "XINFO",
        "OBJECT FREEZE a",
        "",
        "   ",
        "GET 'a",
        "GETDEL a",
        "SUBSCRIBE a",
    ],
)
def test_a_redis_command_that_does_not_only_read_is_refused(ledger: Path, command: str) -> None:
    """Exit 2 with one line, and nothing is recorded, whatever the strictness."""
    done = record(ledger, "--redis_cmds", "GET a", command, REDIS_PORT="1")
    assert done.returncode == 2
    assert re.fullmatch(r"ops_ledger_append\.py: --redis_cmds .*\n", done.stderr)
    assert not ledger.exists()


def test_fifty_at_once_all_survive(ledger: Path) -> None:
    """Fifty processes: fifty entries with distinct, consecutive ids, and a sound chain."""
    ledger.write_bytes(three_entries())
    with ThreadPoolExecutor(50) as pool:
        done = list(pool.map(lambda number: record(ledger, "--notes", f"n{number}"), range(50)))
    assert [each.returncode for each in done] == [0] * 50
    found = entries(ledger.read_bytes())
    assert {each["notes"] for each in found[:50]} == {f"n{number}" for number in range(50)}
    assert len({each["operation_id"] for each in found}) == 53
    assert verified(ledger.read_bytes())[::2] == (53, "")


def test_an_id_or_key_that_is_there_changes_nothing(ledger: Path) -> None:
    """Matched whole: a longer or a shorter one is another."""
    assert record(ledger, "--operation_id", "OPS-2026-01-01-011", "--idempotency_key", "deploy 1.2").returncode == 0
    before = ledger.read_bytes()
    for again in (
        ["--operation_id", "OPS-2026-01-01-011"],
        ["--idempotency_key", "deploy 1.2"],
        ["--operation_id", "OPS-2026-01-01-099", "--idempotency_key", "deploy 1.2"],
    ):
        done = record(ledger, *again, "--strict")
        assert (done.returncode, done.stderr) == (0, "")
        assert "already recorded: OPS-2026-01-01-011" in done.stdout
        assert ledger.read_bytes() == before
    for other in (["--operation_id", "OPS-2026-01-01-0110"], ["--idempotency_key", "deploy 1."]):
        assert "already" not in record(ledger, *other).stdout
    assert len(chain(ledger.read_bytes())) == 3


ROLLBACK = ["--outcome", "ROLLBACK"]
WITHOUT = "ERROR: outcome=ROLLBACK requires --rollback_of parameter"
MALFORMED = "ERROR: rollback_of 'X' does not match expected format OPS-YYYY-MM-DD-NNN"


@pytest.mark.parametrize(("arguments", "says"), [(ROLLBACK, WITHOUT), ([*ROLLBACK, "--rollback_of", "X"], MALFORMED)])
@pytest.mark.parametrize("how", ["", "false", "true", "TRUE", "--strict"])
def test_a_rollback_that_names_nothing(ledger: Path, arguments: list[str], says: str, how: str) -> None:
    """Strict: an error and nothing written. Else the very warning, and the entry, which --verify then reports."""
    strict = how == "--strict"
    done = record(ledger, *arguments, *(["--strict"] if strict else []), STRICT_LEDGER="" if strict else how)
    if strict or how.lower() == "true":
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"{says}; nothing was recorded\n"
        assert not ledger.exists()
    else:
        assert done.returncode == 0
        assert done.stderr == f"WARNING: {says} (continuing in non-strict mode)\n"
        assert entries(ledger.read_bytes())[0]["outcome"] == "ROLLBACK"
        checked = run_tool(LEDGER_TOOL, "--verify", ledger=ledger)
        assert checked.returncode == 1
        assert "entry 1 from the top" in checked.stdout


def test_a_rollback_of_what_is_not_there_is_reported_by_verify(ledger: Path) -> None:
    """The form is right, so that it is recorded without a word; the check of the whole finds it."""
    done = record(ledger, *ROLLBACK, "--rollback_of", "OPS-2026-01-27-010")
    assert (done.returncode, done.stderr) == (0, "")
    checked = run_tool(LEDGER_TOOL, "--verify", ledger=ledger)
    assert checked.returncode == 1
    assert "rollback_of OPS-2026-01-27-010 is no other entry" in checked.stdout


@pytest.mark.parametrize("kind", ["folder", "missing folder", "device"])
def test_a_ledger_that_cannot_be_written(tmp_path: Path, kind: str) -> None:
    """A warning and exit 0, so that a deploy goes on; with --strict exit 1."""
    place = {"folder": tmp_path, "missing folder": tmp_path / "a" / "b.md", "device": Path("/dev/null")}[kind]
    done = record(place)
    assert done.returncode == 0
    assert re.fullmatch(r"WARNING: ERROR: .*nothing was recorded \(continuing in non-strict mode\)\n", done.stderr)
    strict = record(place, "--strict")
    assert strict.returncode == 1
    assert strict.stderr.startswith("ERROR: ")
    assert done.stdout == strict.stdout == ""


@pytest.mark.parametrize("proof", ["missing.txt", "/", "/dev/zero"], ids=["missing", "folder", "device"])
def test_a_proof_that_is_none(ledger: Path, proof: str) -> None:
    """Recorded as unavailable with a warning; with --strict not recorded."""
    assert record(ledger, "--strict", "--proof_path", proof).returncode == 1
    assert not ledger.exists()
    done = record(ledger, "--proof_path", proof)
    assert done.returncode == 0
    assert done.stderr.startswith("WARNING: ERROR: --proof_path: ")
    assert entries(ledger.read_bytes())[0]["proof_file"] == dict.fromkeys(
        ("sha256", "size_bytes", "mtime_utc"), "unavailable"
    )


def test_a_changed_newest_entry_stops_a_strict_append(ledger: Path) -> None:
    """Strict: nothing is put on top of it. Else a warning, and the chain still shows it."""
    ledger.write_bytes(three_entries().replace(b"candles only", b"candles onlY", 1))
    assert record(ledger, "--strict").returncode == 1
    done = record(ledger)
    assert "the newest entry is not as it was recorded" in done.stderr
    assert "entry 2 from the top" in run_tool(LEDGER_TOOL, "--verify", ledger=ledger).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--operation", "a"],
        ["--nonsense"],
        ["--risk_class", "HARMLESS"],
        ["--outcome", "FINE"],
        ["--operation"],
        ["--operation", " "],
        ["--allowed_paths"],
        ["--allowed_paths", "a", "--alowed_services", "b"],
        ["--metrics_urls", "file:///etc/passwd"],
        ["--metrics_grep", "a"],
        ["--metrics_urls", "http://127.0.0.1:1", "--metrics_grep", "("],
        ["--notes", "--strict"],
        ["word\nand a line"],
    ],
)
def test_usage_errors_are_exit_two_with_one_line(ledger: Path, arguments: list[str]) -> None:
    """Strict or not; nothing is recorded."""
    complete = arguments not in ([], ["--operation", "a"])
    for strict in ("true", "false"):
        if complete:
            done = record(ledger, *arguments, STRICT_LEDGER=strict)
        else:
            done = run_tool(LEDGER_TOOL, *arguments, ledger=ledger, STRICT_LEDGER=strict)
        assert done.returncode == 2, done.stderr
        assert re.fullmatch(r"ops_ledger_append\.py: .+\n", done.stderr)
    assert not ledger.exists()
    assert record(ledger, STRICT_LEDGER="perhaps").returncode == 2


def test_any_word_is_the_value_of_its_option(ledger: Path) -> None:
    """Dashes, equals signs, bytes that are no UTF-8, an option's own name behind an equals sign."""
    odd = ["-", "--", "---\na: b", "-n", "--a=b", "\udcff\udc80", "=", "'\"$(id)`id`"]
    done = record(ledger, "--notes=--strict", "--requested_by", "--- x", *[f"--allowed_paths={word}" for word in odd])
    assert done.returncode == 0, done.stderr
    [entry] = entries(ledger.read_bytes())
    assert (entry["notes"], entry["requested_by"], entry["allowed_paths"]) == ("--strict", "--- x", odd)


def test_who_approved_it_and_when(ledger: Path) -> None:
    """Without an approval there is neither; who runs it wanted it unless something else is said."""
    record(ledger, SUDO_USER="anna")
    record(ledger, "--approved_by", "ben", "--requested_by", "cleo")
    approved, alone = entries(ledger.read_bytes())
    assert (alone["requested_by"], alone["approved_by"], alone["approval_timestamp"]) == ("anna", None, None)
    assert (approved["requested_by"], approved["approved_by"]) == ("cleo", "ben")
    assert approved["approval_timestamp"] == approved["execution_timestamp"]


def released(tmp_path: Path, release: str) -> Path:
    """Copy the tool as a release has it: without a checkout, with a RELEASE file."""
    root = tmp_path / "releases" / "1.2"
    shutil.copytree(ROOT / "ops", root / "ops", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "docs").mkdir()
    (root / "RELEASE").write_text(release)
    return root


@pytest.mark.parametrize(
    "release",
    [
        "version=1.2\ncommit=0123456789abcdef\nbranch=main\n",
        "version: 1.2\ncommit: 0123456789abcdef\nbranch: main\n",
        '{\n  "version": "1.2",\n  "commit": "0123456789abcdef",\n  "branch": "main"\n}\n',
    ],
)
def test_a_release_says_itself_what_it_is(tmp_path: Path, release: str) -> None:
    """Outside a checkout commit and branch come from RELEASE, and the ledger is the release's own unless said."""
    root = released(tmp_path, release)
    done = subprocess.run(
        [sys.executable, str(root / "ops" / "ops_ledger_append.py"), *shlex.split(EXAMPLE)[2:]],
        cwd="/",
        env={"PATH": os.environ["PATH"], "REDIS_PORT": "1", "OPS_LEDGER_FILE": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    [entry] = entries((root / "docs" / "OPS_CHANGELOG.md").read_bytes())
    assert (entry["git_commit"], entry["git_branch"]) == ("01234567", "main")
    assert list(root.rglob("__pycache__")) == []


def test_a_checkout_says_its_commit_and_branch(tmp_path: Path, ledger: Path) -> None:
    """Also one of another user, from a folder elsewhere, and with git's variables set to something else."""
    root = released(tmp_path, "commit=ffffffffffff\nbranch=wrong\n")
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a"}
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null"} | who
    for words in (["init", "-q", "-b", "work"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", *words], cwd=root, env=environment, check=True)
    said = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, env=environment, capture_output=True, text=True)
    if os.geteuid() == 0:
        for path in [root, root / ".git"]:
            os.chown(path, 65534, 65534)
    tool = root / "ops" / "ops_ledger_append.py"
    assert record(ledger, tool=tool, GIT_DIR="/nowhere").returncode == 0
    [entry] = entries(ledger.read_bytes())
    assert (entry["git_commit"], entry["git_branch"]) == (said.stdout[:8], "work")


def test_a_ledger_keeps_its_mode_and_its_link(tmp_path: Path, ledger: Path) -> None:
    """A link stays a link, and who may read the file may read it afterwards."""
    ledger.write_bytes(three_entries())
    ledger.chmod(0o640)
    link = tmp_path / "link.md"
    link.symlink_to(ledger)
    assert record(link).returncode == 0
    assert link.is_symlink()
    assert ledger.stat().st_mode & 0o777 == 0o640
    assert len(chain(ledger.read_bytes())) == 4


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a link of another user's")
def test_a_link_that_somebody_else_made_is_not_followed(tmp_path: Path, ledger: Path) -> None:
    """Whoever may write into the ledger's folder must not choose where root writes."""
    ledger.write_bytes(b"a file of the system\n")
    link = tmp_path / "link.md"
    link.symlink_to(ledger)
    os.lchown(link, 65534, 65534)
    assert record(link, "--strict").returncode == 1
    assert ledger.read_bytes() == b"a file of the system\n"


def test_the_log_of_many_services_is_whole_and_a_huge_answer_is_cut(
    ledger: Path, tmp_path: Path, redis_server: RedisServer, redis_client: Redis
) -> None:
    """Thirty lines of each of ten services are all there; of a thousand elements the first, and how many more."""
    tools = tmp_path / "tools"
    tools.mkdir()
    put_tool(tools, "journalctl", "for n in {1..30}; do echo line $n; done")
    redis_client.rpush("list", *range(1_000))
    done = record(
        ledger,
        *("--allowed_services", *[f"s{number}" for number in range(10)], "--redis_cmds", "LRANGE list 0 -1"),
        PATH=f"{tools}:{os.environ['PATH']}",
        REDIS_PORT=str(redis_server.port),
    )
    assert done.returncode == 0, done.stderr
    [entry] = entries(ledger.read_bytes())
    assert str(entry["services_log"]).count("\n") == 31 * 10 - 1
    assert str(entry["redis_snapshot"]).split("\n")[-2:] == [
        str(PART_MAX_LINES - 1),
        f"… {1_000 - PART_MAX_LINES} lines more",
    ]


def test_verify_says_what_it_saw(ledger: Path) -> None:
    """Sound, no ledger, and one changed byte: 0, 1 and 1."""
    missing = run_tool(LEDGER_TOOL, "--verify", ledger=ledger)
    assert missing.returncode == 1
    assert "no such file" in missing.stderr
    ledger.write_bytes(three_entries())
    sound = run_tool(LEDGER_TOOL, "--verify", ledger=ledger)
    assert (sound.returncode, sound.stdout) == (
        0,
        f"✅ {ledger}: 3 entries, all as they were recorded; newest OPS-2026-11-03-001\n",
    )
    ledger.write_bytes(three_entries().replace(b"trouble", b"Trouble"))
    changed = run_tool(LEDGER_TOOL, "--verify", ledger=ledger)
    assert changed.returncode == 1
    assert re.search(r"❌ .*entry 2 from the top \(line \d+, OPS-2026-11-02-001\)", changed.stdout)
