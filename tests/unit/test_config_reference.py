"""Each setting is declared once; the tables, the example configuration and the messages follow the declarations."""

import re
import tomllib

import pytest
from facade_fhir_r4 import facade_source_plugin as fhir_r4
from facade_heim import facade_source_plugin as heim
from marshmallow import ValidationError, fields

from facade import HttpSourceSettings, SourceSettings, WebhookSettings, describe, secret_pair
from facade.config_messages import sentences
from facade.config_reference import core_settings, plugin_settings, setting_names, shared_settings, table, toml
from facade.testing.conformance import SourceConformance
from facade.web.auth import AUTHENTICATORS
from tests.support import line_source
from tests.support.paths import ROOT

EXAMPLE = (ROOT / "config" / "facade.toml").read_text("utf-8")
PLUGINS = {"heim": heim(), "fhir_r4": fhir_r4(), "line": line_source.declared()}


def every_setting():
    return [
        *core_settings(),
        *shared_settings(),
        *(setting for plugin in PLUGINS.values() for setting in plugin_settings(plugin)),
    ]


@pytest.mark.parametrize("setting", every_setting(), ids=lambda setting: setting.path)
def test_each_setting_has_a_type_a_meaning_and_a_default(setting):
    assert setting.type
    assert re.fullmatch(r"[A-Z][^\n]*(\.|\*Unverified\*)", setting.description), setting.description
    assert not (setting.is_required and setting.default)


def test_the_core_settings_are_those_of_the_configuration_file():
    paths = [setting.path for setting in core_settings()]
    assert len(paths) == len(set(paths))
    assert {path.rpartition(".")[0] for path in paths} == {"facade", "auth", "clients.NAME"}
    found = {setting.path: setting for setting in core_settings()}
    assert found["facade.answer_within"].default == "`8.0`"
    assert found["facade.connections"].type == "whole number, 64 to 10000"
    assert found["clients.NAME.sources"].is_required
    modes = re.findall(r'"([^"]+)"', found["auth.mode"].description)
    assert modes == list(AUTHENTICATORS)


def test_a_plugins_own_settings_are_those_that_it_declares():
    assert {setting.name for setting in plugin_settings(PLUGINS["line"])} == {"address", "key_env"}
    own = {setting.name for setting in plugin_settings(PLUGINS["heim"])}
    shared = {setting.name for setting in shared_settings()}
    assert own & shared == {"base_url"}  # with a default of its own
    assert own | shared == set(PLUGINS["heim"].settings().fields)


def test_a_table_has_a_row_for_each_setting():
    rows = table(core_settings()).splitlines()
    assert rows[0] == "| setting | type | default | meaning |"
    assert "| `auth.allowed_origins` | array: origin | `[]` |" in "\n".join(rows)
    assert len(rows) == 2 + len([*core_settings()])
    for row in rows:
        assert len(re.findall(r"(?<!\\)\|", row)) == 5, row


@pytest.mark.parametrize("value", ['a "b"', 8, 8.5, True, [], ["a", 1], {"a": "b", "c": [1]}])
def test_an_example_is_written_as_toml(value):
    assert tomllib.loads(f"value = {toml(value)}")["value"] == value


# The example configuration


def shown():
    """Each setting of the example: its table, its name, its value, and the comment above it."""
    section, comment = "", ""
    for line in EXAMPLE.splitlines():
        if found := re.fullmatch(r"(?:# )?\[(\w+)(?:\.(\w+))?\]", line):
            section = f"{found[1]}.{found[2] or ''}"
        elif found := re.fullmatch(r"(?:# )?(\w+) = (.*)", line):
            yield section, found[1], tomllib.loads(f"value = {found[2]}")["value"], comment
        comment = line.removeprefix("# ")


def declared():
    """The settings by the example's tables."""
    found = {"facade.": {}, "auth.": {}, "clients.scheduler": {}}
    for setting in core_settings():
        section = setting.path.partition(".")[0]
        found["clients.scheduler" if section == "clients" else f"{section}."][setting.name] = setting
    for section, name in (("sources.heim", "heim"), ("sources.hospital", "fhir_r4")):
        settings = [*shared_settings(), *plugin_settings(PLUGINS[name])]
        found[section] = {setting.name: setting for setting in settings}
    return found


def test_each_setting_of_the_example_has_its_meaning_above_it():
    for section, name, _, comment in shown():
        assert comment == declared()[section][name].comment, (section, name)


def test_the_example_shows_each_core_setting_and_its_default():
    values = {(section, name): value for section, name, value, _ in shown()}
    for section in ("facade.", "auth.", "clients.scheduler"):
        for name, setting in declared()[section].items():
            if name != "key_sha256":  # in place of key_env
                assert values.pop((section, name)) == setting.example, name
    assert {section for section, _ in values} == {"sources.heim", "sources.hospital"}


# What facade check says


def test_a_missing_required_setting_is_refused_with_its_meaning():
    error = ValidationError(HttpSourceSettings().validate({"plugin": "x"}))
    expected = "sources.desk.base_url: is required; set it (Base URL of the source system)"
    assert sentences(error, HttpSourceSettings(), "sources.desk") == [expected]


# The pair of settings of one secret


class Keyed(SourceSettings):
    key_env, key_file = secret_pair("key", "the key", required=True)
    spare_env, spare_file = secret_pair("spare", "the spare key")
    old_env, old_file = secret_pair("old", "the old keys", several=True)


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        ({}, ["give key_env or key_file"]),
        ({"key_env": "KEY", "key_file": "key.txt"}, ["give key_env or key_file, not both"]),
        ({"key_env": "KEY", "spare_env": "KEY", "spare_file": "key.txt"}, ["give spare_env or spare_file, not both"]),
        (
            {"spare_env": "KEY", "spare_file": "x"},
            ["give key_env or key_file", "give spare_env or spare_file, not both"],
        ),
        ({"key_env": "NOT_SET", "key_file": "key.txt"}, ["give key_env or key_file, not both"]),
    ],
)
def test_of_the_two_settings_of_a_secret_one_is_given(monkeypatch, tmp_path, given, problems):
    monkeypatch.setenv("KEY", "a-key")
    (tmp_path / "key.txt").write_text("a-key")
    monkeypatch.chdir(tmp_path)
    assert Keyed().validate({"plugin": "x", **given}).get("_schema") == problems


def test_a_secret_is_loaded_from_either_setting(monkeypatch, tmp_path):
    monkeypatch.setenv("KEY", "a-key")
    (tmp_path / "key.txt").write_text("another-key")
    loaded = Keyed().load({"plugin": "x", "key_env": "KEY", "old_file": [str(tmp_path / "key.txt")]})
    assert loaded["key"].reveal() == "a-key"
    assert loaded["spare"] is None
    assert [secret.reveal() for secret in loaded["old"]] == ["another-key"]
    assert Keyed().load({"plugin": "x", "key_file": str(tmp_path / "key.txt")})["old"] == ()


# A shared setting that a later version adds


class Kit(SourceConformance):
    plugin = "line"

    def __init__(self, settings):
        self.schema = settings

    def source_plugin(self):
        return line_source.declared(settings=self.schema)

    def readme(self):
        return line_source.README


@pytest.mark.parametrize("base", [SourceSettings, HttpSourceSettings, WebhookSettings])
def test_a_new_shared_setting_fails_no_plugins_kit(monkeypatch, base):
    monkeypatch.setitem(base._declared_fields, "brand_new", fields.String(metadata=describe("New.")))
    address, key = fields.String(metadata=describe("Host and port.")), fields.String(metadata=describe("The key."))
    schema = type("LaterSettings", (base,), {"address": address, "key_env": key})
    assert "brand_new" in schema().fields
    assert setting_names(line_source.declared(settings=schema)) == (set(schema().fields), {"address", "key_env"})
    kit = Kit(schema)
    kit.test_the_readme_has_a_row_for_every_setting()
    kit.test_each_setting_has_a_meaning()


def test_a_new_setting_fails_a_plugins_kit_until_it_has_a_row():
    class More(line_source.LineSettings):
        brand_new = fields.String()

    kit = Kit(More)
    with pytest.raises(pytest.fail.Exception, match="no row under Settings for brand_new"):
        kit.test_the_readme_has_a_row_for_every_setting()
    with pytest.raises(pytest.fail.Exception, match="the setting brand_new has no meaning"):
        kit.test_each_setting_has_a_meaning()
