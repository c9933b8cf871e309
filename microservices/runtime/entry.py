"""The one way into every daemon: `run` reads the command line and the environment, and keeps the service going."""

import argparse
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from redis import Redis

from microservices.runtime.build_info import BuildInfo, read_build
from microservices.runtime.clock import SystemClock
from microservices.runtime.daemon import Context, Service, attempt, log_error
from microservices.runtime.errors import Refused, is_plain, one_line
from microservices.runtime.log import logging_to_stderr, set_level
from microservices.runtime.metrics import show_build, start_server
from microservices.runtime.notify import Notifier
from microservices.runtime.redis_connection import connect, describe, require_version
from microservices.runtime.settings import (
    EXIT_CODE,
    CommonSettings,
    SettingError,
    load_settings,
    settings_help,
    settings_lines,
)
from microservices.runtime.supervisor import Supervisor

logger = logging.getLogger(__name__)

METRICS_END_S = 0.6  # the server looks for its end every 0.5 s

S = TypeVar("S", bound=CommonSettings)


def run(
    unit: str,
    settings_type: type[S],
    build: Callable[[Context[S]], Service],
    argv: Sequence[str] | None = None,
    *,
    needs_redis: bool = True,
) -> int:
    """Run a service as its command line asks, until it ends; return the process's exit code.

    Args:
        unit: the systemd unit's name, as `quantum-universe-service`.
        settings_type: what is read from the environment.
        build: makes the service from its context, without any I/O.
        argv: the arguments after the program's name; None takes the process's own.
        needs_redis: whether the service waits for a Redis of the version it needs; one that does without never
            touches the client in its context.

    Returns:
        0 after a signal, or where `--once` did all it had to; 1 where the start was refused or `--once` failed;
        78 where a setting is wrong.
    """
    info = read_build()
    arguments = _parser(unit, settings_type, info).parse_args(argv)
    with logging_to_stderr():
        try:
            settings = load_settings(settings_type, os.environ)
            redis = connect(settings, unit)
            if arguments.check_config:
                sys.stdout.write("".join(f"{line}\n" for line in settings_lines(settings)))
                return 0
            set_level(settings.log_level)
            context = Context(settings, redis, SystemClock(), threading.Event(), str(info))
            service = build(context)
        except SettingError as error:
            sys.stderr.write(f"{error}\n")
            return EXIT_CODE
        except Refused as error:
            logger.error("%s", error)  # noqa: TRY400 (the line says it all)
            return 1
        with redis:
            needed = redis if needs_redis else None
            return _run_once(service, needed) if arguments.once else _run_daemon(unit, info, service, context, needed)


def _run_once(service: Service, redis: Redis | None) -> int:
    """Prepare and do one iteration of every loop; what fails is one line, and the code is 1."""

    def everything() -> None:
        if redis is not None:
            require_version(redis)
        service.prepare()
        for loop in service.loops():
            loop.tick()
            if undone := loop.shortfall():
                raise Refused(undone)

    error: Exception | None = None
    try:
        _, error = attempt(everything)
    except KeyboardInterrupt:
        error = Refused("interrupted")
    _, close_error = attempt(service.close)
    error = error or close_error
    if error is None:
        return 0
    if is_plain(error):
        logger.error("%s", error if isinstance(error, Refused) else one_line(error))
    else:
        log_error("", error, "not done")
    return _code_of(error)


def _run_daemon(unit: str, info: BuildInfo, service: Service, context: Context[S], redis: Redis | None) -> int:
    notifier = Notifier(os.environ)
    show_build(unit, info)
    metrics_end = start_server(context.settings.metrics_port, context.stop)
    logger.info("%s %s starting", unit, info)
    place = describe(context.settings)
    supervisor = Supervisor(
        service, redis=redis, place=place, stop=context.stop, clock=context.clock, notifier=notifier
    )
    code = supervisor.run()
    if metrics_end is not None:
        metrics_end.join(METRICS_END_S)
    notifier.close()
    logger.info("%s stopped", unit)
    if supervisor.stuck():
        _leave_at_once(code)
    return code


def _leave_at_once(code: int) -> None:
    """End the process although a thread still waits in a call, which an ordinary end might wait for."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _code_of(error: Exception) -> int:
    return EXIT_CODE if isinstance(error, SettingError) else 1


def _parser(unit: str, settings_type: type[CommonSettings], info: BuildInfo) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=unit,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="environment:\n" + "\n".join(f"  {line}" for line in settings_help(settings_type)),
    )
    only = parser.add_mutually_exclusive_group()
    only.add_argument(
        "--once", action="store_true", help="do every loop's work once, then end with 0, or 1 if it failed"
    )
    only.add_argument(
        "--check-config", action="store_true", help="show the settings, secrets masked; 78 if one is wrong"
    )
    parser.add_argument("--version", action="version", version=f"{unit} {info}")
    return parser
