"""Which tier of the allowlist P3.3 uses now, and nothing else."""

from argparse import ArgumentParser, Namespace

from ops.lib import p33_source
from ops.lib.p33_source import STATUS_KEY, Source
from ops.lib.redis_cli import RedisCli, redis_time_s
from ops.lib.report import Verdict, framed, worst

TITLE = "P3.3 ALLOWLIST SOURCE"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare what the script passes on."""
    p33_source.add_arguments(parser)


def prove(cli: RedisCli, arguments: Namespace) -> Verdict:
    """Look and judge.

    Raises:
        CannotTell: Redis did not answer.
    """
    status, time = cli.together(("HGETALL", STATUS_KEY), ("TIME",))
    return judged(p33_source.look(status, redis_time_s(time), arguments))


def judged(source: Source) -> Verdict:
    """Judge what was seen."""
    findings = source.findings()
    problems = [finding.said for finding in findings]
    lines = [*framed(TITLE), "", *source.service.lines(), *source.lines(), *(f"   {problem}" for problem in problems)]
    facts = {"proof": "p33-universe-source"} | source.facts()
    return Verdict(worst(findings), (source.tier or "unknown").upper(), lines, facts, problems)
