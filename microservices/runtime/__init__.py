"""What every daemon shares, and nothing about trading.

    from microservices.runtime import CommonSettings, Context, Loop, run

A service declares its settings, builds itself from a `Context`, and gives its loops; `run` does the rest.
"""

from microservices.runtime.clock import Clock, SystemClock
from microservices.runtime.daemon import Context, Loop, Service, progress
from microservices.runtime.entry import run
from microservices.runtime.errors import Away, LeaseHeld, Refused, is_wrong_type
from microservices.runtime.lua import LuaScript
from microservices.runtime.pauses import Pauses
from microservices.runtime.redis_connection import connect
from microservices.runtime.redis_time import redis_ms
from microservices.runtime.settings import CommonSettings, LogLevel, Secret, SettingError, load_settings
from microservices.runtime.single_instance import SingleInstance
from microservices.runtime.stream_consumer import Entry, Row, StreamConsumer

__all__ = [
    "Away",
    "Clock",
    "CommonSettings",
    "Context",
    "Entry",
    "LeaseHeld",
    "LogLevel",
    "Loop",
    "LuaScript",
    "Pauses",
    "Refused",
    "Row",
    "Secret",
    "Service",
    "SettingError",
    "SingleInstance",
    "StreamConsumer",
    "SystemClock",
    "connect",
    "is_wrong_type",
    "load_settings",
    "progress",
    "redis_ms",
    "run",
]
