"""The settings in /etc/quantum: installed where they are missing, read, and otherwise left as they are."""

import grp
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from ops.deploy.catalog import KEY_NAMES, PAPER_KEY_NAMES, Unit
from ops.deploy.env_file import EnvFile, filled, parse
from ops.deploy.machine import Fault, Places, write_whole

GROUP = "qt"
SETTINGS_MODE = 0o640
CREDENTIAL_MODE = 0o600


def for_mode(unit: Unit, mode: str, template: str) -> str:
    """Make a unit's first settings for a mode.

    In paper and testnet the apply layer sends orders, and opens need the one gate that there is; in mainnet it is a
    dry run with all gates until an operator writes otherwise.
    """
    values = {unit.mode_variable: mode} if unit.mode_variable else {}
    if unit.short == "apply-layer" and mode != "mainnet":
        values |= {"APPLY_MODE": mode, "APPLY_GATES_OPEN": "p33"}
    return filled(template, values)


def with_metrics(unit: Unit, text: str) -> str:
    """Set the metrics port of a unit that has none by default; one that is set stays."""
    if unit.port or unit.port_variable in parse(text).values:
        return text
    return filled(text, {unit.port_variable: str(unit.usual_port)})


def read(places: Places, units: Iterable[Unit]) -> dict[str, EnvFile]:
    """Read the settings that are installed, by the units' short names.

    Raises:
        Fault: a file cannot be read as text.
    """
    found = {}
    for unit in units:
        path = places.etc / unit.settings_file
        try:
            found[unit.short] = parse(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise Fault(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}") from None
    return found


def modes_of(units: Iterable[Unit], files: Mapping[str, EnvFile]) -> dict[str, str]:
    """Give the mode that each installed settings file names; testnet is the services' own default."""
    return {
        unit.settings_file: files[unit.short].values.get(unit.mode_variable) or "testnet"
        for unit in units
        if unit.mode_variable and unit.short in files
    }


def install(places: Places, config: Path, units: Iterable[Unit], mode: str, *, metrics: bool) -> list[str]:
    """Install the settings files that are missing, and in paper mode the key pair; give the paths that were written.

    Args:
        places: where to.
        config: the folder of the templates.
        units: whose.
        mode: what the files are filled for.
        metrics: set the metrics ports that are off by default, in files that are there already too.

    Raises:
        OSError: a file cannot be written.
    """
    group = grp.getgrnam(GROUP).gr_gid
    written = []
    for unit in units:
        path = places.etc / unit.settings_file
        before = path.read_text(encoding="utf-8") if path.exists() else None
        text = for_mode(unit, mode, (config / unit.template).read_text(encoding="utf-8")) if before is None else before
        text = with_metrics(unit, text) if metrics else text
        if text != before:
            write_whole(path, text, SETTINGS_MODE, group)
            written.append(str(path))
    return written + (_install_paper_keys(places) if mode == "paper" else [])


def _install_paper_keys(places: Places) -> list[str]:
    """Make the paper exchange's key pair, for it and for those who trade there, on a machine that has no key at all."""
    pairs = [[places.credentials / name for name in names] for names in zip(PAPER_KEY_NAMES, KEY_NAMES, strict=True)]
    if any(path.exists() for pair in pairs for path in pair):
        return []
    for pair in pairs:
        secret = secrets.token_hex(32)
        for path in pair:
            write_whole(path, secret, CREDENTIAL_MODE)
    return [str(path) for pair in pairs for path in pair]
