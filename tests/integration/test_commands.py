"""The commands: what they print, how they refuse, and that a stop stops everything they started."""

import json
import re
from dataclasses import replace
from importlib.metadata import version

import click
import pytest
from click.testing import CliRunner
from facade_heim.simulator import HeimSimulator

from facade.app import assemble
from facade.cli import main
from facade.cli.common.findings import check_source
from facade.cli.common.sandbox_hints import explain_facade
from facade.cli.common.sandbox_serving import _plugins, _simulators
from facade.http_client import HttpResponse
from facade.plugin import discovery
from facade.testing.simulator.faults import FAULTS
from facade.testing.simulator.host import serve
from tests.conftest import CONFIG, HEIM_KEY, KEY
from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.process import configuration

SANDBOX = ROOT / "config" / "sandbox.toml"
ALL_SHOWN = "Ctrl-C stops both."
SUPPORTS = (
    "cancel: full, read: full, reason: full, note: {}, versioned writes: {}, webhook: {}; "
    "a repeated native cancel: errors"
)
SUPPORTS_HEIM = SUPPORTS.format("full", "none", "full")
SUPPORTS_FHIR = SUPPORTS.format("not-implemented", "full", "none")


CONTEXT = click.Context(main)


def facade(*arguments, code=0, env=None):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], env=env, prog_name="facade")
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.stderr
    return result


# Help


def test_help_says_what_it_is_how_to_try_it_and_every_command():
    shown = facade("--help").stdout
    assert "Cancel appointments in many source systems through FHIR R4" in shown
    assert "facade sandbox --serve config/sandbox.toml" in shown
    assert "exit code 2" in shown
    commands = re.findall(r"^  ([a-z-]+)  +[A-Z]", shown.split("Commands:\n")[1], re.MULTILINE)
    names = "serve sandbox sources check cancel verify new-source reconcile ledger db"
    assert commands == names.split()
    assert facade("-h").stdout == shown


@pytest.mark.parametrize("command", ["serve", "sandbox", "sources", "check", "cancel", "verify"])
def test_each_commands_help_explains_every_option_and_default(command):
    shown = facade(command, "--help").stdout
    for option in main.get_command(CONTEXT, command).params:
        for name in (name for name in option.opts if name.startswith("--")):
            line = next(line for line in shown.splitlines() if name in line and line.startswith("  "))
            assert re.search(rf"{name}\b.*  +\S", line) or option.help.split()[0] in shown, name
        if isinstance(getattr(option, "default", None), (int, str)) and not isinstance(option.default, bool):
            assert f"[default: {option.default}" in " ".join(shown.split()), option.name


def test_the_fixed_names_of_options_and_their_defaults():
    options = {
        command: {
            name: getattr(option, "default", None)
            for option in main.get_command(CONTEXT, command).params
            for name in option.opts
        }
        for command in main.list_commands(CONTEXT)
    }
    assert options["serve"].keys() == {"--config", "--health-port", "--host", "--port", "--store", "--workers"}
    assert (options["serve"]["--host"], options["serve"]["--port"]) == ("127.0.0.1", 8080)
    assert options["sandbox"].keys() == {
        *("--allowed-origin", "--chaos", "--listen", "--port", "--seed", "--serve", "--serve-port"),
    }
    assert options["sources"].keys() == {"--config"}
    assert options["check"].keys() == {"--config", "--plugin", "--online", "--id"}
    assert options["cancel"].keys() == {"source", "id", "--reason", "--note", "--url", "--json"}


def test_the_version_is_the_distributions():
    assert version("fhir-facade") in facade("--version").stdout


# Errors


def test_an_unknown_command_is_an_error_that_names_it():
    result = facade("servee", code=2)
    assert "No such command 'servee'" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve"], "Missing option '--config'"),
        (["check", "--online"], "--online reads from configured sources; name their --config"),
        (["check", "--config", "x.toml", "--plugin", "heim"], "give --config or --plugin, not both"),
        (["cancel", "heim", "apt_1"], "Missing option '--url'"),
        (["cancel", "heim"], "Missing argument 'ID'"),
        (["verify"], "Missing option '--url'"),
        (
            ["serve", "--config", "x.toml", "--workers", "0"],
            "Invalid value for '--workers': 0 is not in the range x>=1",
        ),
        (["serve", "--config", "x.toml", "--port", "http"], "Invalid value for '--port'"),
        (["sandbox", "--port", "65536"], "Invalid value for '--port'"),
        (["check", "--confg", "x.toml"], "--confg"),
    ],
)
def test_a_wrong_call_says_what_is_wrong_and_how_to_get_help(arguments, message):
    result = facade(*arguments, code=2)
    assert message in result.stderr
    assert f"Usage: facade {arguments[0]} " in result.stderr
    assert "--help" in result.stderr


# sources and check


def test_sources_lists_each_source_its_plugin_and_support(tmp_path):
    path = tmp_path / "facade.toml"
    second = '[sources.heim-north]\nplugin = "heim"\nbase_url = "https://north.example"\napi_key_env = "HEIM_API_KEY"\n'
    more = f'{second}environment = "test"\nfallback_reason = "refuse"\n'
    sandbox = SANDBOX.read_text("utf-8").replace("sandbox-key.txt", str(SANDBOX.parent / "sandbox-key.txt"))
    path.write_text(f"{sandbox}\n{more}", "utf-8")
    shown = facade("sources", "--config", path).stdout
    assert shown == (
        "heim  (also without a source system in the path)\n"
        f"  plugin   heim, from fhir-facade {version('fhir-facade')}\n"
        f"  supports {SUPPORTS_HEIM}\n"
        "  ids      [A-Za-z0-9_.-]{1,64}\n"
        "  reasons  32 HL7 codes mapped; any other: organisation_cancelled\n"
        "fhir\n"
        f"  plugin   fhir_r4, from fhir-facade {version('fhir-facade')}\n"
        f"  supports {SUPPORTS_FHIR}\n"
        "  ids      [A-Za-z0-9.-]{1,64}\n"
        "  reasons  32 HL7 codes mapped; any other: other\n"
        "heim-north\n"
        f"  plugin   heim, from fhir-facade {version('fhir-facade')}\n"
        f"  supports {SUPPORTS_HEIM}\n"
        "  ids      [A-Za-z0-9_.-]{1,64}\n"
        "  reasons  32 HL7 codes mapped; any other: refused\n"
    )
    assert HEIM_KEY not in shown


def test_sources_without_configuration_lists_the_installed():
    shown = facade("sources").stdout
    assert f"heim\n  plugin   from fhir-facade {version('fhir-facade')}\n  supports {SUPPORTS_HEIM}\n" in shown


def lines(*arguments, code=0):
    """What ``check`` finds: (about, topic) → the rest of the line."""
    shown = facade("check", *arguments, code=code).stdout
    found = [line.split(maxsplit=2) for line in shown.splitlines() if line != "OK"]
    assert (code == 0) == shown.endswith("OK\n")
    return {(about, topic): text for about, topic, text in found}


def test_check_has_a_line_for_each_finding():
    found = lines("--config", SANDBOX)
    assert found["heim", "plugin"] == f"from fhir-facade {version('fhir-facade')}"
    assert found["heim", "ids"] == "[A-Za-z0-9_.-]{1,64}"
    assert found["heim", "supports"] == SUPPORTS_HEIM
    assert found["heim", "mapping"] == "all 32 HL7 codes map to a native code; any other: organisation_cancelled"
    assert found["heim", "simulator"] == f"shows {len(FAULTS)} faults"
    assert found["heim", "settings"].endswith("settle window 900 s")


def test_check_without_configuration_checks_the_installed():
    assert lines()["heim", "supports"] == lines("--plugin", "heim")["heim", "supports"] == SUPPORTS_HEIM


def test_check_warns_of_reasons_that_map_nowhere(client):
    source = client.facade.sources["heim"]
    kept = {code: to for code, to in source.mapping.to_native.items() if not code.startswith(("maint", "pat-"))}
    found = list(check_source(replace(source, mapping=replace(source.mapping, to_native=kept))))[-1]
    assert (found.topic, found.severity) == ("mapping", "warning")
    # pat-… fall back to pat
    assert found.text.startswith("1 of HL7's 32 codes have no mapping, nor have their parents: maint; any other:")


def test_check_names_a_plugin_that_is_not_there():
    assert lines("--plugin", "hiem", code=2)["hiem", "plugin"] == (
        'problem: plugin "hiem" is not installed; install its distribution, or: did you mean heim?'
    )


def online(heim, tmp_path, *arguments, code=0, **edits):
    text = CONFIG.format(facade="", clients="", settings="", more="", heim=edits.pop("url", heim.source_url("heim")))
    path = tmp_path / "facade.toml"
    path.write_text(text, "utf-8")
    return lines("--config", path, "--online", *arguments, code=code)["heim", "online"]


def test_check_online_reads_a_made_up_id_and_cancels_nothing(heim, simulator, tmp_path):
    message = online(heim, tmp_path)
    accepted = "reached; it accepts the credentials and reports that it has no appointment"
    assert message == f"{accepted} facade-check"
    assert [entry.operation for entry in simulator.log.entries()] == ["read"]


def test_check_online_reads_the_appointment_that_is_named(heim, simulator, tmp_path):
    assert online(heim, tmp_path, "--id", "apt_1") == "reached; the appointment apt_1 is booked"
    assert simulator.log.count("cancel") == 0


def test_check_online_asks_for_no_id_the_source_cannot_have(heim, simulator, tmp_path):
    path = tmp_path / "facade.toml"
    path.write_text(CONFIG.format(facade="", clients="", settings="", more="", heim=heim.source_url("heim")), "utf-8")
    message = facade("check", "--config", path, "--online", "--id", "a/b", code=2).stderr
    assert "Error: --id a/b fits the id pattern of no configured source" in message
    assert simulator.log.entries() == []


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("read-unauthorized", "it rejects the credentials; set the right ones (HTTP 401)"),
        ("read-html-404", "the plugin cannot read its response; check the base URL"),
        ("read-500", "the read failed; retry, then check the source system (HTTP 500)"),
        ("read-refused", "it refuses to show appointments; grant the credentials the right to read (HTTP 422)"),
    ],
)
def test_check_online_says_what_to_do_about_a_source_that_fails(heim, simulator, tmp_path, fault, message):
    simulator.faults.arm("apt_1", FAULTS[fault])
    assert online(heim, tmp_path, "--id", "apt_1", code=2).startswith(f"problem: {message}")


def test_check_online_says_that_a_source_cannot_be_reached(heim, tmp_path):
    with free_port() as port:
        message = online(heim, tmp_path, code=2, url=f"http://127.0.0.1:{port}")
    assert message.startswith("problem: it cannot be reached; check the base URL, the network and the certificate")


# sandbox: its control API from the shell


@pytest.fixture
def sandbox(heim):
    """Call a subcommand on the simulators in this process."""
    return lambda *arguments, code=0: facade("sandbox", *arguments, "--url", heim.url, code=code)


def test_a_fault_is_armed_from_the_shell_and_forgotten_again(sandbox, client, simulator):
    message = sandbox("arm", "heim", "apt_1", "refused", "--times", "1").stdout
    assert message.startswith("heim apt_1: refused, once. The cancel is not applied; the source refuses")
    assert client.cancel("apt_1").json["status"] == "proposed"
    assert client.cancel("apt_1").json["status"] == "cancelled"
    sandbox("arm", "heim", "apt_2", "refused")
    sandbox("disarm", "heim", "apt_2")
    assert client.cancel("apt_2").json["status"] == "cancelled"


def test_the_sources_own_log_shows_how_often_it_was_called(sandbox, client):
    client.cancel("apt_1")
    client.cancel("apt_1")
    shown = sandbox("log", "heim").stdout
    assert re.search(r"cancel +apt_1: changed its state, response 200\n", shown)
    assert shown.endswith("native cancels: 1, reads: 1\n")
    assert json.loads(sandbox("log", "heim", "apt_1", "--json").stdout)["cancels"] == 1
    assert sandbox("log", "heim", "apt_2").stdout == "native cancels: 0, reads: 0\n"


def test_an_appointment_is_moved_inside_24_hours(sandbox, client):
    def may_be_chargeable(appointment_id):
        extensions = client.cancel(appointment_id).json["extension"]
        chargeability = next(e for e in extensions if e["url"].endswith("chargeability"))
        return chargeability["extension"][0]["valueBoolean"]

    assert json.loads(sandbox("move", "heim", "apt_1", "--hours", "-60").stdout)["id"] == "apt_1"
    assert may_be_chargeable("apt_1") is True
    assert may_be_chargeable("apt_2") is False


def test_the_sandboxs_clock_and_state_are_set_from_the_shell(sandbox, client, simulator):
    assert sandbox("time", "--now", "2026-12-01T09:00:00Z").stdout.startswith("2026-12-01T09:00:00")
    assert sandbox("time", "--advance", "3600").stdout.startswith("2026-12-01T10:00:0")
    assert sandbox("time").stdout.startswith("2026-12-01T10:00:0")
    assert not sandbox("time", "--real").stdout.startswith("2026-12-01T10:00:0")
    assert "give one of --now" in sandbox("time", "--real", "--advance", "1", code=2).stderr
    client.cancel("apt_1")
    assert sandbox("reset").stdout.startswith("as seeded: heim\nA facade before it still has its record")
    assert simulator.get("apt_1")["status"] == "scheduled"


def test_a_new_appointment_has_the_shape_that_was_requested(sandbox, client, simulator):
    ordinary = sandbox("new", "heim").stdout.strip()
    assert client.cancel(ordinary).json["status"] == "cancelled"
    assert sandbox("new", "heim", "--like", "apt_completed", "--id", "apt_x").stdout == "apt_x\n"
    assert simulator.get("apt_x")["status"] == "completed"


def test_a_misspelt_fault_gets_a_suggestion(sandbox):
    message = sandbox("arm", "heim", "apt_1", "reset-after-comit", code=2).stderr
    assert "there is no fault reset-after-comit; did you mean reset-after-commit?" in message


def test_the_sandbox_leaves_out_a_plugin_it_cannot_use(monkeypatch, capsys):
    monkeypatch.setattr(discovery, "installed", lambda: ["heim", "nowhere"])
    assert list(_simulators(_plugins())) == ["heim"]
    assert capsys.readouterr().err.startswith('not served: plugin "nowhere" is not installed')


def test_every_fault_is_listed_with_what_it_ends_in():
    shown = facade("sandbox", "faults").stdout
    assert [line.split()[:2] for line in shown.splitlines()] == [[name, f.ends_in] for name, f in FAULTS.items()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["log", "hiem"], 'There is no source system "hiem" here. Use one of: heim.'),
        (["arm", "heim", "apt_0", "refused"], 'The source system "heim" has no appointment "apt_0".'),
        (["move", "heim", "apt_1", "--hours", "1e9"], "The appointment cannot be moved to that time"),
        (["time", "--now", "tomorrow"], '"tomorrow" is not an instant with a zone.'),
    ],
)
def test_what_the_sandbox_does_not_know_is_one_sentence(sandbox, arguments, message):
    result = sandbox(*arguments, code=1)
    assert result.stderr.startswith(f"Error: {message}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "9000", "reset"], "--port: only for serving; `reset` takes --url"),
        (["log", "heim", ".."], "id is not usable in a URL; give a source and an id that a URL can contain"),
        (["move", "heim", "apt_1", "--hours", "nan"], "--hours must be a number"),
    ],
)
def test_what_cannot_be_asked_of_a_sandbox_is_a_wrong_call(arguments, message):
    assert f"Error: {message}\n" in facade("sandbox", *arguments, code=2).stderr


def test_a_server_that_is_no_sandbox_is_reported(sandbox, monkeypatch):
    monkeypatch.setattr(HttpResponse, "json", lambda self: ["a list"])
    unlike = "responds with HTTP 200, unlike a sandbox; is a sandbox served there?"
    assert unlike in sandbox("log", "heim", code=1).stderr
    assert "responds with HTTP 404, unlike a sandbox" in sandbox("log", "nowhere", code=1).stderr


def test_a_sandbox_that_is_not_served_is_one_sentence():
    with free_port() as port:
        result = facade("sandbox", "log", "heim", "--url", f"http://127.0.0.1:{port}", code=1)
    assert result.stderr.endswith("; is a sandbox served there?\n")


@pytest.mark.parametrize("command", ["sources", "check", "serve"])
def test_a_configuration_that_is_not_there_is_one_sentence(command, tmp_path):
    path = tmp_path / "nowhere.toml"
    result = facade(command, "--config", path, code=2)
    expected = f"facade: {path} cannot be read: No such file or directory; name a file with --config\n"
    assert result.stderr == expected


# cancel: the client


def test_cancel_refuses_an_unknown_reason_before_sending():
    result = facade("cancel", "heim", "apt_1", "--reason", "pat-xx", "--url", "http://127.0.0.1:9", code=2)
    assert "--reason pat-xx is not an HL7 code; use one of pat, pat-crs" in result.stderr


@pytest.mark.parametrize("url", ["facade", "http://facade.example", "https://user:pw@facade.example"])
def test_cancel_refuses_a_url_it_must_not_send_a_key_to(url):
    result = facade("cancel", "heim", "apt_1", "--url", url, code=2, env={"FACADE_CLIENT_KEY": KEY})
    assert "--url must be an absolute" in result.stderr or "--url is plain http" in result.stderr
    assert KEY not in result.output


def test_cancel_reports_that_nothing_listens_there():
    with free_port() as port:
        result = facade("cancel", "heim", "apt_1", "--url", f"http://127.0.0.1:{port}", code=1)
    assert result.stderr.startswith(f"Error: no response from http://127.0.0.1:{port} (UNREACHABLE")
    assert result.stderr.endswith("; does a facade serve it?\n")


# Real processes


def test_the_printed_curl_names_an_existing_appointment(tmp_path, capsys):
    class Numbered(HeimSimulator):
        fault_id = "{}"

        def seeds(self, now):
            return {name: native for name, native in super().seeds(now).items() if name.isdigit()}

    with serve({"heim": Numbered()}) as host:
        config = configuration(tmp_path, host.source_url("heim"))
        facade_here = assemble(config)
        explain_facade("http://facade", facade_here, host, {"desk": "heim"})
    assert "/Appointment/desk/1839594 " in capsys.readouterr().out
