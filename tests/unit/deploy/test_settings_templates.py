"""The settings templates: every variable of a service, each with its default, and nothing that a service refuses."""

from importlib import import_module

import msgspec
import pytest

from microservices.runtime import CommonSettings, load_settings
from microservices.runtime.settings import likely_typos, shown
from ops.deploy.catalog import KEY_NAMES, MODES, PAPER_KEY_NAMES, UNITS, Unit, units_of
from ops.deploy.env_file import parse
from ops.deploy.settings_files import for_mode, with_metrics
from tests.support.daemon import ROOT

KEYS = dict.fromkeys([*KEY_NAMES, *PAPER_KEY_NAMES], "a-key")
each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.short)


def text_of(unit: Unit) -> str:
    return (ROOT / "config" / unit.template).read_text()


def settings_type(unit: Unit) -> type[CommonSettings]:
    found: type[CommonSettings] = import_module(f"microservices.{unit.package}.settings").Settings
    return found


@each_unit
def test_a_template_has_every_variable_once(unit: Unit) -> None:
    """What an operator may want to set is there to be found, each once."""
    lines = [line.removeprefix("#") for line in text_of(unit).splitlines() if line and not line.startswith("# ")]
    fields = msgspec.structs.fields(settings_type(unit))
    assert sorted(line.partition("=")[0] for line in lines) == sorted(field.name.upper() for field in fields)


@each_unit
def test_what_is_commented_out_is_the_default(unit: Unit) -> None:
    """Taking the `#` off changes nothing, but for a port that is off until it is set."""
    settings = settings_type(unit)
    shown_as = {
        field.name.upper(): "" if field.required else shown(field.default) for field in msgspec.structs.fields(settings)
    }
    if unit.port == 0:
        shown_as[unit.port_variable] = str(unit.usual_port)
    commented = parse(
        "\n".join(line[1:] for line in text_of(unit).splitlines() if line.startswith("#") and line[1:2] != " ")
    )
    assert commented.unreadable == []
    assert commented.values == {name: shown_as[name] for name in commented.values}


@each_unit
def test_one_environment_for_all_is_no_list_of_slips(unit: Unit) -> None:
    """Whoever exports every service's settings is not told that another's are misspelt ones of this."""
    fields = [field.name.upper() for each in UNITS for field in msgspec.structs.fields(settings_type(each))]
    own = [field.name.upper() for field in msgspec.structs.fields(settings_type(unit))]
    assert likely_typos(fields, own) == []


@pytest.mark.parametrize("mode", MODES)
def test_what_a_deploy_installs_is_accepted_by_the_service(mode: str) -> None:
    """In every mode, with and without metrics; mainnet starts as a dry run until its operator says otherwise."""
    for unit in units_of(mode):
        text = with_metrics(unit, for_mode(unit, mode, text_of(unit)))
        found = parse(text)
        assert found.unreadable == []
        settings = load_settings(settings_type(unit), found.values | KEYS)
        if unit.mode_variable:
            assert getattr(settings, unit.mode_variable.lower()).value == mode
        if unit.short == "apply-layer":
            wanted = "dry_run" if mode == "mainnet" else mode
            assert found.values.get("APPLY_MODE", "dry_run") == wanted
            assert found.values.get("APPLY_GATES_OPEN") == (None if mode == "mainnet" else "p33")
        if unit.short != "paper-exchange":
            assert settings.metrics_port == unit.usual_port
