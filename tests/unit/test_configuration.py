"""Configuration: each refusal in one sentence with the next step, all of them in one start, never a secret."""

import hashlib
import json
import re
import textwrap

import pytest
from click.testing import CliRunner
from facade_fhir_r4.settings import FhirR4Settings
from facade_heim.settings import HeimSettings

from facade.app import assemble
from facade.cli import main
from facade.cli import serve as serve_command
from facade.config_tables import ClientTable
from facade.errors import ConfigurationError
from facade.fhir.reasons import SYSTEM
from facade.setting_fields import Secret
from facade.web import create_app
from tests.conftest import HEIM_KEY, KEY, FacadeClient
from tests.support.keys import key_pair
from tests.support.paths import ROOT

CONCEPT_MAP = ROOT / "plugins" / "facade_heim" / "conceptmap.json"

SOUND = """
[facade]
default_source = "heim"
[auth]
mode = "api-key"
[clients.scheduler]
key_env = "FACADE_KEY_SCHEDULER"
sources = ["*"]
[sources.heim]
plugin = "heim"
base_url = "https://api.heim.health"
api_key_env = "HEIM_API_KEY"
environment = "test"
"""
SECOND_CLIENT = '[clients.second]\nkey_env = "FACADE_KEY_SCHEDULER"\nsources = ["heim"]\n'
SECOND_SOURCE = """
[sources.heim-test]
plugin = "heim"
base_url = "{base_url}"
api_key_env = "{variable}"
environment = "test"
"""


@pytest.fixture
def write(tmp_path):
    """Write a configuration: the sound one after replacements, with more at its end."""

    def write(*edits, more="", text=SOUND):
        for old, new in edits:
            assert old in text, old
            text = text.replace(old, new)
        path = tmp_path / "facade.toml"
        path.write_text(f"{text}\n{more}", "utf-8")
        return path

    return write


@pytest.fixture
def problems():
    """Everything that a configuration is refused for; its secrets are in no sentence."""

    def problems(path):
        with pytest.raises(ConfigurationError) as refused:
            assemble(path)
        found = list(refused.value.problems)
        assert found
        for problem in found:
            assert "\n" not in problem
            assert KEY not in problem
            assert HEIM_KEY not in problem
        return found

    return problems


@pytest.fixture
def refused_by_commands(monkeypatch):
    """What check and serve write to standard error, in one exit code 2 each, without a traceback."""

    def started(*_):
        raise AssertionError("the facade was served")

    monkeypatch.setattr(serve_command, "_Server", started)

    def run(path, *options):
        errors = []
        for arguments in (["check", "--config", path], ["serve", "--config", path, *options]):
            result = CliRunner().invoke(main, [str(argument) for argument in arguments])
            assert result.exit_code == 2, result.output
            assert isinstance(result.exception, SystemExit)
            assert result.stdout == ""
            assert "Traceback" not in result.stderr
            errors.append(result.stderr)
        assert errors[0] == errors[1]
        return errors[0].splitlines()

    return run


def only(found):
    assert len(found) == 1, found
    return found[0]


# One sentence each

REFUSALS = {
    "an unknown table": (
        [("[auth]", "[ath]")],
        "ath: unknown key; did you mean auth?",
    ),
    "an unknown key of the facade": (
        [('default_source = "heim"', 'defualt_source = "heim"')],
        "facade.defualt_source: unknown key; did you mean default_source?",
    ),
    "an unknown key of auth": (
        [('mode = "api-key"', 'mode = "api-key"\nmoed = 1')],
        "auth.moed: unknown key; did you mean mode?",
    ),
    "an unknown key of a client": (
        [('key_env = "FACADE_KEY_SCHEDULER"', 'key_evn = "FACADE_KEY_SCHEDULER"')],
        "clients.scheduler.key_evn: unknown key; did you mean key_env?",
    ),
    "an unknown key of a client called like a key": (
        [("[clients.scheduler]\nkey_env", "[clients.sources]\nkey_evn")],
        "clients.sources.key_evn: unknown key; did you mean key_env?",
    ),
    "an unknown key of a source": (
        [('environment = "test"', 'environment = "test"\nfallback_raeson = "refuse"')],
        "sources.heim.fallback_raeson: unknown key; did you mean fallback_reason?",
    ),
    "an unknown key like no other": (
        [('mode = "api-key"', 'mode = "api-key"\nzzz = 1')],
        "auth.zzz: unknown key; known are mode",
    ),
    "an unknown key deep inside": (
        [('environment = "test"', 'environment = "test"\nplaces = {ending = "x"}')],
        "sources.heim.places.ending: is no element; known are id, status, start",
    ),
    "a plugin that no one installed": (
        [('plugin = "heim"', 'plugin = "epic"')],
        'sources.heim: plugin "epic" is not installed; install its distribution, or: known are fhir_r4, heim',
    ),
    "a misspelt plugin": (
        [('plugin = "heim"', 'plugin = "hiem"')],
        'sources.heim: plugin "hiem" is not installed; install its distribution, or: did you mean heim?',
    ),
    "a source without plugin": (
        [('plugin = "heim"\n', "")],
        "sources.heim.plugin: name one of the installed plugins (fhir_r4, heim)",
    ),
    "plain http to a host that is not loopback": (
        [("https://api.heim", "http://api.heim")],
        "sources.heim.base_url: is plain http to a host that is not loopback; use https://",
    ),
    "plain http to a host that begins like loopback": (
        [("https://api.heim.health", "http://127.0.0.1.heim.health")],
        "sources.heim.base_url: is plain http to a host that is not loopback; use https://",
    ),
    "a URL with credentials": (
        [("https://api", f"https://{KEY}:x@api")],
        "sources.heim.base_url: must be an absolute https:// URL without credentials, query or fragment",
    ),
    "a URL that is none": (
        [("https://api.heim.health", "https://[heim")],
        "sources.heim.base_url: is not a URL; write one like https://host/path",
    ),
    "a URL with a space": (
        [("https://api.heim.health", "https://api heim health")],
        "sources.heim.base_url: must be an absolute https:// URL without credentials, query or fragment",
    ),
    "a key that is not one of its environment": (
        [('environment = "test"', 'environment = "live"')],
        'sources.heim: the key does not begin with "live_", so it is not one of environment = "live"',
    ),
    "a source without key": (
        [('api_key_env = "HEIM_API_KEY"\n', "")],
        "sources.heim: give api_key_env or api_key_file",
    ),
    "a missing secret file": (
        [('api_key_env = "HEIM_API_KEY"', 'api_key_file = "nowhere.txt"')],
        r"sources.heim.api_key_file: the file .*/nowhere.txt cannot be read: No such file or directory; write ",
    ),
    "a fallback reason that does not exist": (
        [('environment = "test"', 'environment = "test"\nfallback_reason = "patient_canceled"')],
        'sources.heim.fallback_reason "patient_canceled" does not exist; did you mean patient_cancelled?',
    ),
    "a code system that does not exist": (
        [('environment = "test"', 'environment = "test"\ncode_systems = {reasoncode = "urn:x"}')],
        "sources.heim.code_systems.reasoncode: unknown key; did you mean reasonCode?",
    ),
    "an identifier system that does not exist": (
        [('environment = "test"', 'environment = "test"\nidentifier_systems = {patient = "urn:x"}')],
        "sources.heim.identifier_systems.patient: unknown key; did you mean Patient?",
    ),
    "a code system that is no URI": (
        [('environment = "test"', 'environment = "test"\ncode_systems = {reasonCode = "x"}')],
        "sources.heim.code_systems.reasonCode: must be an absolute URI, like urn:… or https://…",
    ),
    "too little time to answer": (
        [('default_source = "heim"', "answer_within = 5.99")],
        "facade.answer_within: must be 6 to 60 seconds: below 6 the parts of a cancel have no room",
    ),
    "no finite time to answer": (
        [('default_source = "heim"', "answer_within = inf")],
        "facade.answer_within: must be a finite number",
    ),
    "a default source that is not configured": (
        [('default_source = "heim"', 'default_source = "epic"')],
        'facade.default_source: "epic" is not configured; add [sources.epic]',
    ),
    "an unknown way to authenticate": (
        [('mode = "api-key"', 'mode = "oauth"')],
        'auth.mode: must be "api-key" or "none"',
    ),
    "no clients although keys are asked for": (
        [(SOUND[SOUND.index("[clients") : SOUND.index("[sources")], "")],
        'clients: auth.mode is "api-key"; configure at least one, as [clients.NAME] with its key',
    ),
    "a client without key": (
        [('key_env = "FACADE_KEY_SCHEDULER"\n', "")],
        "clients.scheduler: give key_env or key_sha256, one of the two",
    ),
    "a client with two keys": (
        [('key_env = "FACADE', f'key_sha256 = "{"0" * 64}"\nkey_env = "FACADE')],
        "clients.scheduler: give key_env or key_sha256, one of the two",
    ),
    "a key where its hash is asked for": (
        [('key_env = "FACADE_KEY_SCHEDULER"', f'key_sha256 = "{KEY}"')],
        'clients.scheduler.key_sha256: must be 64 lower-case hexadecimal digits: printf %s "$KEY" | sha256sum',
    ),
    "a client without sources": (
        [('sources = ["*"]', "sources = []")],
        'clients.scheduler.sources: must name a source, or be ["*"] for all',
    ),
    "a client of a source that is not configured": (
        [('sources = ["*"]', 'sources = ["heim", "epic"]')],
        'clients.scheduler.sources: "epic" is not configured; add [sources.epic] or use "*"',
    ),
    "an operation that is none": (
        [('sources = ["*"]', 'sources = ["*"]\noperations = ["cancle"]')],
        'clients.scheduler.operations.0: must be "cancel" or "read"',
    ),
    "no sources": (
        [('default_source = "heim"', ""), (SOUND[SOUND.index("[sources") :], "[sources]")],
        "sources: configure at least one, as [sources.NAME] with its plugin",
    ),
    "no table of sources": (
        [('default_source = "heim"', ""), (SOUND[SOUND.index("[sources") :], "")],
        "sources: configure at least one, as [sources.NAME] with its plugin",
    ),
    "a source's name with an underscore": (
        [('default_source = "heim"', ""), ("[sources.heim]", "[sources.heim_north]")],
        "sources.heim_north: a name in the URL: it must be 1 to 64 letters, digits and hyphens",
    ),
    "a source's name that would break a line": (
        [('default_source = "heim"', ""), ("[sources.heim]", r'[sources."heim\nnorth"]')],
        r'sources."heim\\nnorth": a name in the URL: it must be 1 to 64 letters, digits and hyphens',
    ),
    "a text where a table is asked for": (
        [('[auth]\nmode = "api-key"\n', ""), ("[facade]", 'auth = "x"\n[facade]')],
        "auth: must be a table",
    ),
    "a number where a text is asked for": (
        [('plugin = "heim"', 'plugin = "heim"\nconcept_map_file = 5')],
        "sources.heim.concept_map_file: must be a string, in quotes",
    ),
    "a text where a table of code systems is asked for": (
        [('plugin = "heim"', 'plugin = "heim"\ncode_systems = "urn:x"')],
        "sources.heim.code_systems: must be a table",
    ),
    "a text where true or false is asked for": (
        [('default_source = "heim"', 'explain_proposed = "no"')],
        "facade.explain_proposed: must be true or false",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_each_mistake_is_one_sentence_with_the_next_step(write, problems, case):
    edits, expected = REFUSALS[case]
    found = only(problems(write(*edits)))
    pattern = expected if ".*" in expected or r"\\" in expected else re.escape(expected)
    assert re.match(pattern, found), found


@pytest.mark.parametrize(
    "base_path", ["fhir", "/", "/fhir/", "fhir/r4", "//fhir", "/fhir//r4", "/fh ir", "/fhir?x", "/..", "/fhir/./r4"]
)
def test_a_base_path_that_no_client_can_ask_for_is_refused(write, problems, base_path):
    path = write(("[facade]", f'[facade]\nbase_path = "{base_path}"'))
    expected = 'facade.base_path: must be empty or like "/fhir/r4": a leading slash, none at the end'
    assert only(problems(path)) == expected


@pytest.mark.parametrize("base_path", ["", "/fhir", "/fhir/r4", "/a.b/~c_d/..e"])
def test_a_base_path_that_can_be_asked_for_is_taken(write, base_path):
    assert assemble(write(("[facade]", f'[facade]\nbase_path = "{base_path}"'))).config.base_path == base_path


@pytest.mark.parametrize("name", ["heim", "Heim-2", "a" * 64])
def test_a_sources_name_stands_in_the_url_as_it_is_written(write, name):
    assert list(
        assemble(write(('"heim"\n[auth]', f'"{name}"\n[auth]'), ("[sources.heim]", f"[sources.{name}]"))).sources
    )


# Secrets


def test_a_missing_variable_is_named_and_so_is_the_setting(write, problems, monkeypatch):
    monkeypatch.delenv("HEIM_API_KEY")
    monkeypatch.setenv("FACADE_KEY_SCHEDULER", "")
    expected = "is not set; set it to the secret, and write only its name here"
    assert problems(write()) == [
        f"clients.scheduler.key_env: the environment variable FACADE_KEY_SCHEDULER {expected}",
        f"sources.heim.api_key_env: the environment variable HEIM_API_KEY {expected}",
    ]


@pytest.mark.parametrize("secret", [KEY, HEIM_KEY])
def test_a_secret_in_place_of_a_variables_name_is_not_shown(write, problems, secret):
    for setting in ("FACADE_KEY_SCHEDULER", "HEIM_API_KEY"):
        assert "write only its name here" in only(problems(write((setting, secret))))


@pytest.mark.parametrize("content", ["", "two words", f"{HEIM_KEY}\nand a second line", f"{HEIM_KEY}ü"])
def test_a_secret_that_is_not_one_ascii_line_is_refused(write, problems, tmp_path, monkeypatch, content):
    expected = "must hold the secret alone: one line of printable ASCII without spaces"
    (tmp_path / "key.txt").write_text(content, "utf-8")
    from_file = only(problems(write(('api_key_env = "HEIM_API_KEY"', 'api_key_file = "key.txt"'))))
    assert from_file == f"sources.heim.api_key_file: the file {tmp_path}/key.txt {expected}"
    if content:
        monkeypatch.setenv("HEIM_API_KEY", content)
        from_variable = only(problems(write()))
        assert from_variable == f"sources.heim.api_key_env: the environment variable HEIM_API_KEY {expected}"


def test_a_secret_file_that_is_no_text_is_refused(write, problems, tmp_path):
    (tmp_path / "key.txt").write_bytes(b"test_\xff")
    found = only(problems(write(('api_key_env = "HEIM_API_KEY"', 'api_key_file = "key.txt"'))))
    assert "key.txt cannot be read: it is not UTF-8 text; write the secret into it" in found


def test_a_secret_file_is_found_beside_the_configuration(write, tmp_path, monkeypatch):
    (tmp_path / "key.txt").write_text(f"{HEIM_KEY}\n", "utf-8")
    monkeypatch.chdir("/")
    assert "heim" in assemble(write(('api_key_env = "HEIM_API_KEY"', 'api_key_file = "key.txt"'))).sources


def test_a_secret_shows_in_no_repr():
    assert KEY not in f"{Secret(KEY)!r} {[Secret(KEY)]}"
    with pytest.raises(TypeError) as refused:
        str(Secret(KEY))
    assert KEY not in str(refused.value)
    assert Secret(KEY).reveal() == KEY
    assert Secret(KEY) == Secret(KEY) != Secret("other")


def test_no_key_and_no_hash_shows_in_a_repr(write):
    facade = repr(assemble(write()))
    assert KEY not in facade
    assert HEIM_KEY not in facade
    assert hashlib.sha256(KEY.encode()).hexdigest() not in facade


# Two of a kind


def test_two_clients_with_the_same_key_are_refused_naming_both(write, problems):
    expected = "clients.second: has the key of clients.scheduler; give each client its own"
    assert only(problems(write(more=SECOND_CLIENT))) == expected
    sha256 = f'key_sha256 = "{hashlib.sha256(KEY.encode()).hexdigest()}"'
    hashed = SECOND_CLIENT.replace('key_env = "FACADE_KEY_SCHEDULER"', sha256)
    assert only(problems(write(more=hashed))) == expected


@pytest.mark.parametrize(
    "base_url",
    ["https://api.heim.health", "https://api.heim.health/", "https://API.heim.health:443", "HTTPS://api.heim.health"],
)
def test_two_sources_with_one_url_and_key_are_refused(write, problems, monkeypatch, base_url):
    monkeypatch.setenv("HEIM_AGAIN", HEIM_KEY)
    second = SECOND_SOURCE.format(base_url=base_url, variable="HEIM_AGAIN")
    expected = "sources.heim-test: has the base URL and key of sources.heim; remove one of them"
    assert only(problems(write(more=second))) == expected


@pytest.mark.parametrize(
    ("base_url", "key"), [("https://api.heim.health", "test_other"), ("https://api.heim.health/uk", HEIM_KEY)]
)
def test_two_sources_with_another_key_or_another_url_are_two(write, monkeypatch, base_url, key):
    monkeypatch.setenv("HEIM_OTHER", key)
    second = SECOND_SOURCE.format(base_url=base_url, variable="HEIM_OTHER")
    assert list(assemble(write(more=second)).sources) == ["heim", "heim-test"]


# All at once


def test_all_problems_of_all_tables_come_at_once(write, refused_by_commands, monkeypatch):
    monkeypatch.delenv("HEIM_API_KEY")
    path = write(
        ('default_source = "heim"', 'default_source = "epic"\nanswer_within = 1\nexplain = true'),
        ('sources = ["*"]', 'sources = ["cerner"]\noperation = ["read"]'),
        ("https://api", "http://api"),
        ('environment = "test"', 'environment = "tset"\nfallback_reason = "none"\nconcept_map_file = "nowhere.json"'),
        more=SECOND_CLIENT + '[sources.other]\nplugin = "epic"\n[logging]\n',
    )
    lines = refused_by_commands(path)
    beginnings = [
        "facade.answer_within: must be 6 to 60",
        "facade.explain: unknown key; did you mean explain_proposed?",
        "clients.scheduler.operation: unknown key; did you mean operations?",
        "logging: unknown key; known are",
        'facade.default_source: "epic" is not configured',
        'clients.scheduler.sources: "cerner" is not configured',
        "sources.heim.base_url: is plain http",
        "sources.heim.api_key_env: the environment variable HEIM_API_KEY is not set",
        'sources.heim.environment: must be "test" or "live"',
        "sources.heim.concept_map_file: ",
        'sources.heim.fallback_reason "none" does not exist',
        'sources.other: plugin "epic" is not installed',
    ]
    assert len(lines) == len(beginnings), lines
    for beginning in beginnings:
        assert sum(line.startswith(f"facade: {beginning}") for line in lines) == 1, (beginning, lines)


# The file itself


def test_a_file_that_is_not_there_is_named(tmp_path, problems, refused_by_commands):
    path = tmp_path / "nowhere.toml"
    expected = f"{path} cannot be read: No such file or directory; name a file with --config"
    assert only(problems(path)) == expected
    assert refused_by_commands(path) == [f"facade: {expected}"]


def test_a_directory_in_place_of_a_file_is_named(tmp_path, problems):
    assert only(problems(tmp_path)) == f"{tmp_path} cannot be read: Is a directory; name a file with --config"


def test_what_is_not_toml_is_refused_with_its_line(write, problems, refused_by_commands):
    path = write(text=f'[auth]\nmode = "api-key\n[clients.{KEY}]')
    assert re.fullmatch(rf"{path} is not TOML: .*line 2.*; fix it there", only(problems(path)))
    assert len(refused_by_commands(path)) == 1


def test_what_is_not_utf_8_is_refused(tmp_path, problems):
    path = tmp_path / "facade.toml"
    path.write_bytes(b'[auth]\nmode = "\xff"\n')
    assert " is not TOML: " in only(problems(path))


# No authentication


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_without_authentication_only_loopback_is_served(write, monkeypatch, host):
    monkeypatch.setattr(serve_command, "_Server", None)
    path = write(('mode = "api-key"', 'mode = "none"'))
    result = CliRunner().invoke(main, ["serve", "--config", str(path), "--host", host])
    assert result.exit_code == 2
    assert result.stderr == (
        f'facade: auth.mode: "none" serves loopback only and --host is {host}; '
        'use mode = "api-key" or --host 127.0.0.1\n'
    )


def test_without_authentication_no_clients_are_needed(write):
    clients = SOUND[SOUND.index("[clients") : SOUND.index("[sources")]
    assert assemble(write((clients, ""), ('"api-key"', '"none"'))).config.auth_mode == "none"


# The files that are shipped


def test_the_production_file_loads_with_its_two_variables(monkeypatch):
    monkeypatch.setenv("HEIM_API_KEY", "live_key")
    facade = assemble(ROOT / "config" / "facade.toml")
    assert facade.config.base_path == ""
    assert facade.config.answer_within == 8.0
    assert facade.config.auth_mode == "api-key"
    assert [client.name for client in facade.config.clients] == ["scheduler"]
    assert facade.single_source is facade.sources["heim"]


def test_the_production_shaped_file_asks_for_its_two_variables(problems, monkeypatch):
    monkeypatch.delenv("HEIM_API_KEY")
    monkeypatch.delenv("FACADE_KEY_SCHEDULER")
    found = problems(ROOT / "config" / "facade.toml")
    assert ["FACADE_KEY_SCHEDULER" in found[0], "HEIM_API_KEY" in found[1], len(found)] == [True, True, 2]


def test_the_sandboxs_file_loads_with_nothing_set(monkeypatch):
    monkeypatch.delenv("HEIM_API_KEY")
    monkeypatch.delenv("FACADE_KEY_SCHEDULER")
    facade = assemble(ROOT / "config" / "sandbox.toml")
    assert facade.config.auth_mode == "none"
    assert facade.single_source is facade.sources["heim"]


def test_every_setting_in_the_production_file_exists(tmp_path, monkeypatch):
    """Also the ones in comments: each commented line is a setting that works when its comment mark is taken away."""
    text = (ROOT / "config" / "facade.toml").read_text("utf-8")
    used = re.sub(r"^# (\[|\w+ = )", r"\1", text, flags=re.MULTILINE)
    assert used.count("\n") == text.count("\n")
    settings = [line for line in used.splitlines() if re.match(r"\w+ = ", line)]
    assert len(settings) > 12
    monkeypatch.setenv("HEIM_API_KEY", "live_key")
    monkeypatch.setenv("HEIM_WEBHOOK_SECRET", "a-webhook-secret-of-heim")
    (tmp_path / "heim-reasons.json").write_bytes(CONCEPT_MAP.read_bytes())
    (tmp_path / "hospital-key.pem").write_text(key_pair("RS384").private)
    path = tmp_path / "facade.toml"
    path.write_text(used, "utf-8")
    facade = assemble(path)
    assert facade.config.explain_proposed is True
    assert list(facade.sources) == ["heim", "hospital"]
    assert facade.sources["heim"].mapping.fallback == "organisation_cancelled"
    alternatives = set(re.findall(r"\b(?:or set|with|or) (\w+_(?:env|file|sha256))", text))
    assert alternatives == {"key_sha256", "api_key_file", "webhook_secret_file", "token_env", "token_file"}
    assert alternatives <= {*ClientTable().fields, *HeimSettings().fields, *FhirR4Settings().fields}


# One plugin, several sources


@pytest.fixture
def two(make, heim, monkeypatch):
    """heim-north and heim-test beside heim, each with its own key; their ids and codes go by their own names."""
    monkeypatch.setenv("HEIM_NORTH", "test_north")
    monkeypatch.setenv("HEIM_TEST", "test_second")
    url = heim.source_url("heim")
    north = SECOND_SOURCE.format(base_url=url, variable="HEIM_NORTH").replace("heim-test", "heim-north")
    test = SECOND_SOURCE.format(base_url=url, variable="HEIM_TEST")
    settings = 'identifier_systems = {Appointment = "https://north.example/appointments"}\n'
    return make(more=north + settings + test)


def test_several_sources_of_one_plugin_work_side_by_side(two, simulator):
    north = two.cancel("apt_1", source="heim-north").json
    test = two.cancel("apt_2", source="heim-test").json
    assert [north["status"], test["status"]] == ["cancelled", "cancelled"]
    assert north["identifier"][0]["value"] == "heim-north"
    assert test["identifier"][0]["value"] == "heim-test"
    assert north["identifier"][1]["system"] == "https://north.example/appointments"
    assert test["identifier"][1]["system"] == "urn:fhir-facade:heim-test:Appointment"
    assert simulator.log.count("cancel") == 2
    assert two.facade.sources["heim-north"].adapter is not two.facade.sources["heim-test"].adapter


def test_several_sources_need_a_default_for_the_short_route(two):
    assert two.request("GET", "/Appointment/apt_1").status_code == 404
    assert two.facade.single_source is None


# Reasons: systems renamed, the map replaced


RENAMED = {
    "reasonCode": "https://heim.example/reasons",
    "causingEntity": "https://heim.example/causes",
    "cancellingEntity": "https://heim.example/cancellers",
}


def test_code_systems_renames_them_in_the_map_and_in_responses(make, simulator):
    table = ", ".join(f'{name} = "{uri}"' for name, uri in RENAMED.items())
    client = make(settings=f"code_systems = {{{table}}}")
    served = client.request("GET", "/ConceptMap/heim").json
    assert "urn:fhir-facade:heim:reasonCode" not in json.dumps(served)
    assert {(group["source"], group["target"]) for group in served["group"]} == {
        (SYSTEM, RENAMED["reasonCode"]),
        (RENAMED["reasonCode"], SYSTEM),
    }
    product = served["group"][0]["element"][0]["target"][0]["product"]
    assert {part["property"] for part in product} == {RENAMED["causingEntity"], RENAMED["cancellingEntity"]}

    codings = [{"system": RENAMED["reasonCode"], "code": "patient_unwell"}]
    codings.append({"system": RENAMED["causingEntity"], "code": "practitioner"})
    reason = {"cancelationReason": {"coding": codings}}
    answer = client.cancel("apt_1", {"resourceType": "Appointment", "status": "cancelled", **reason}).json
    assert RENAMED["reasonCode"] in {coding["system"] for coding in answer["cancelationReason"]["coding"]}
    sent = next(entry.body for entry in simulator.log.entries("apt_1") if entry.operation == "cancel")
    assert (sent["reasonCode"], sent["causingEntity"]) == ("patient_unwell", "practitioner")
    # Read from the source, the reason goes by the same name.
    read = client.read("apt_1").json["cancelationReason"]["coding"]
    assert {coding["system"] for coding in read} <= {SYSTEM, RENAMED["reasonCode"]}


@pytest.fixture
def concept_map(tmp_path):
    """Write Heim's own map after a change, as a source would configure it; the setting for it."""

    def write(change):
        resource = json.loads(CONCEPT_MAP.read_text("utf-8"))
        change(resource)
        (tmp_path / "reasons.json").write_text(json.dumps(resource), "utf-8")
        return 'concept_map_file = "reasons.json"'

    return write


def test_a_configured_map_is_served_and_used(make, simulator, concept_map):
    def change(resource):
        resource["title"] = "North's own"
        element = next(e for e in resource["group"][0]["element"] if e["code"] == "pat-mv")
        element["target"][0]["code"] = "no_longer_required"
        element["target"][0]["product"][0]["value"] = "organisation"

    client = make(settings=concept_map(change))
    assert client.request("GET", "/ConceptMap/heim").json["title"] == "North's own"
    body = {"resourceType": "Appointment", "status": "cancelled"}
    body["cancelationReason"] = {"coding": [{"system": SYSTEM, "code": "pat-mv"}]}
    assert client.cancel("apt_1", body).json["status"] == "cancelled"
    sent = next(entry.body for entry in simulator.log.entries("apt_1") if entry.operation == "cancel")
    assert (sent["reasonCode"], sent["causingEntity"]) == ("no_longer_required", "organisation")


def _target(resource):
    return resource["group"][0]["element"][0]["target"][0]


WRONG_CODES = {
    "source side": (lambda r: r["group"][0]["element"][0].update(code="pat-xx"), "pat-xx"),
    "target side": (lambda r: _target(r).update(code="patient_canceled"), "patient_canceled"),
    "a product's value": (lambda r: _target(r)["product"][0].update(value="patints"), "patints"),
    "source side of the way back": (lambda r: r["group"][1]["element"][0].update(code="patient_gone"), "patient_gone"),
    "target side of the way back": (
        lambda r: r["group"][1]["element"][0]["target"][0].update(code="pat-yy"),
        "pat-yy",
    ),
    "upper case": (lambda r: r["group"][0]["element"][0].update(code="PAT"), "PAT"),
}


@pytest.mark.parametrize("place", WRONG_CODES)
def test_a_map_that_names_a_code_that_does_not_exist_is_refused(write, problems, concept_map, place):
    change, code = WRONG_CODES[place]
    found = only(problems(write(more=concept_map(change))))
    beginning = f'sources.heim.concept_map_file: the ConceptMap names the code "{code}", which does not exist; '
    assert found.startswith(beginning), found
    assert re.search(r"did you mean [a-z_-]+\?$|known are ", found)


UNSEEN = {
    "a code that is said to match nothing": (
        lambda r: r["group"][0]["element"].append({"code": "pat-zz", "target": [{"equivalence": "unmatched"}]}),
        "pat-zz",
    ),
    "a code without target": (lambda r: r["group"][0]["element"].append({"code": "pat-zz"}), "pat-zz"),
    "a second target": (
        lambda r: r["group"][0]["element"][0]["target"].append({"code": "no_longer", "equivalence": "wider"}),
        "no_longer",
    ),
    "a target that is said not to match": (
        lambda r: r["group"][0]["element"][0]["target"].append({"code": "no_longer", "equivalence": "disjoint"}),
        "no_longer",
    ),
    "a group of a misspelt system": (
        lambda r: r["group"][1].update(source="urn:fhir-facade:heim:reasoncode"),
        "urn:fhir-facade:heim:reasoncode",
    ),
}


@pytest.mark.parametrize("place", UNSEEN)
def test_a_map_with_a_wrong_unmapped_code_is_refused(write, problems, concept_map, place):
    change, code = UNSEEN[place]
    assert code in only(problems(write(more=concept_map(change))))


def test_a_map_with_wrong_codes_is_refused_for_all_at_once(write, problems, concept_map):
    def change(resource):
        for edit, _ in list(WRONG_CODES.values())[:-1]:
            edit(resource)

    found = problems(write(more=concept_map(change)))
    assert len(found) == 5
    for _, code in list(WRONG_CODES.values())[:-1]:
        assert sum(f'"{code}"' in problem for problem in found) == 1


def test_a_map_with_an_unknown_property_is_refused(write, problems, concept_map):
    setting = concept_map(lambda r: _target(r)["product"][0].update(property="urn:fhir-facade:heim:causingEntitty"))
    assert 'causingEntitty" does not exist; did you mean' in only(problems(write(more=setting)))


def test_a_map_between_other_systems_is_refused(write, problems, concept_map):
    setting = concept_map(lambda r: r["group"][0].update(target="urn:other"))
    found = only(problems(write(more=setting)))
    assert "the ConceptMap's system" in found


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda r: r.update(resourceType="Patient"), "resource"),
        (lambda r: r.pop("status"), "status"),
        (lambda r: r.update(groups=[]), "groups"),
        (lambda r: r["group"][0]["element"][0]["target"][0].pop("equivalence"), "group.0.element.0.target.0"),
    ],
)
def test_a_map_that_is_not_r4_is_refused_with_the_place(write, problems, concept_map, change, where):
    found = only(problems(write(more=concept_map(change))))
    assert found.startswith("sources.heim.concept_map_file: the ConceptMap is not valid R4: fix ")
    assert where in found


@pytest.mark.parametrize("content", [b"{", b"\xff", b"", b'{"status": NaN}', b'{"a": 1, "a": 2}', b"[" * 100_000])
def test_a_map_that_is_not_json_is_refused(write, problems, tmp_path, content):
    (tmp_path / "reasons.json").write_bytes(content)
    found = only(problems(write(more='concept_map_file = "reasons.json"')))
    expected = f"sources.heim.concept_map_file: {tmp_path}/reasons.json is not strict JSON: "
    assert found.startswith(expected)
    assert found.endswith("; fix it")


def test_a_map_that_is_json_but_no_object_is_refused(write, problems, tmp_path):
    (tmp_path / "reasons.json").write_text("[]", "utf-8")
    found = only(problems(write(more='concept_map_file = "reasons.json"')))
    assert found.startswith("sources.heim.concept_map_file: the ConceptMap is not valid R4")


def test_a_map_that_is_not_there_is_refused(write, problems, tmp_path):
    expected = f"{tmp_path}/nowhere.json cannot be read: No such file or directory; name a FHIR ConceptMap"
    found = only(problems(write(more='concept_map_file = "nowhere.json"')))
    assert found == f"sources.heim.concept_map_file: {expected}"


@pytest.mark.parametrize("reason", ["refuse", "operator_error"])
def test_a_fallback_reason_that_exists_is_taken(write, reason):
    mapping = assemble(write(more=f'fallback_reason = "{reason}"')).sources["heim"].mapping
    assert mapping.fallback == (None if reason == "refuse" else reason)


# Every setting of a source


def test_every_heim_setting_of_a_wrong_type_is_refused(write, problems):
    """No setting's wrong type ends in a traceback, or in marshmallow's own words."""
    for name in HeimSettings().fields:
        text = re.sub(rf"^{name} = .*\n", "", SOUND, flags=re.MULTILINE)
        wrong = f"{name} = {{a = [[]]}}" if name not in {"places", "cancellation_places", "statuses"} else f"{name} = 5"
        found = problems(write(text=text, more=textwrap.dedent(wrong)))
        assert any(problem.startswith(f"sources.heim.{name}") for problem in found), (name, found)
        assert not any("Not a valid" in problem or "Invalid" in problem for problem in found), found


def test_the_web_application_is_built_from_what_was_configured(write):
    facade = assemble(write(("[facade]", '[facade]\nbase_path = "/fhir/r4"')))
    facade.open_store()
    client = FacadeClient(create_app(facade), facade)
    assert client.request("GET", "/fhir/r4/metadata").status_code == 200
    assert client.request("GET", "/metadata").status_code == 404
    assert client.request("GET", "/health/ready").status_code == 200
