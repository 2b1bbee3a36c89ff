"""The plugin seam: strict start, the hook's own example, and what a plugin author may import."""

import importlib
import inspect
import re
import sys
import textwrap
from types import ModuleType

import pytest

import facade
from facade.app import assemble
from facade.errors import ConfigurationError
from facade.plugin import api_version, discovery, hookspec
from facade.web import create_app
from tests.conftest import FacadeClient

CONFIG = """
[auth]
mode = "none"
[sources.{source}]
plugin = "{plugin}"
{settings}
"""
NEXT_STEP = (
    r"; (fix|add|write|return|name|give|remove|reinstall|upgrade|check)|must |did you mean|known are|R4: fix |"
    r"has no group from"
)
GOOD = textwrap.dedent(hookspec.__doc__.split("::\n", 1)[1])
"""The complete plugin that the hook's docstring shows: the entry point is called paper, the module facade_paper."""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a throw-away distribution: metadata, entry point, one module; gone after the test."""
    before = set(sys.modules)
    count = iter(range(100))

    def install(code=GOOD, *, plugin="paper", distribution="facade-paper", module="facade_paper", entry=""):
        folder = tmp_path / f"site-packages-{next(count)}"
        info = folder / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n", "utf-8")
        (info / "entry_points.txt").write_text(f"[facade.plugins]\n{plugin} = {entry or module}\n", "utf-8")
        (folder / f"{module}.py").write_text(code, "utf-8")
        monkeypatch.syspath_prepend(str(folder))

    yield install
    for name in set(sys.modules) - before:
        if name.startswith("facade_paper"):
            del sys.modules[name]


@pytest.fixture
def start(tmp_path):
    """Assemble a facade with one source of a plugin."""

    def start(plugin="paper", settings="", source="desk"):
        path = tmp_path / "facade.toml"
        path.write_text(CONFIG.format(source=source, plugin=plugin, settings=settings), "utf-8")
        return assemble(path)

    return start


@pytest.fixture
def refused(install, start):
    """The sentences a plugin of this code is refused with; each names the plugin, the distribution, a next step."""

    def refused(code, settings="", **kwargs):
        install(code, **kwargs)
        with pytest.raises(ConfigurationError) as error:
            start(settings=settings)
        for problem in error.value.problems:
            assert problem.startswith('sources.desk: plugin "paper" of facade-paper '), problem
            assert "\n" not in problem
            assert re.search(NEXT_STEP, problem), problem
        return error.value.problems

    return refused


def only(problems):
    assert len(problems) == 1, problems
    return problems[0].removeprefix('sources.desk: plugin "paper" of facade-paper ')


def edited(old, new, code=GOOD):
    assert old in code, old
    return code.replace(old, new)


def declared(**fields):
    """The good plugin with fields of its declaration replaced, or added, as source text."""
    code = GOOD
    for name, value in fields.items():
        code, found = re.subn(rf"\b{name}=[^\n]*,\n", lambda _, n=name, v=value: f"{n}={v},\n", code)  # type: ignore[misc]  # of no one type
        if not found:
            code = edited('repeat="idempotent",\n', f'repeat="idempotent",\n        {name}={value},\n', code)
    return f"from facade import *\n{code}"


# The example in the hook's docstring


def test_the_plugin_in_the_hooks_docstring_works_as_printed(install, start):
    install()
    built = start()
    built.open_store()
    client = FacadeClient(create_app(built), built)
    assert client.read("7", source="desk").json["status"] == "booked"
    answer = client.cancel("7", source="desk")
    assert answer.status_code == 200
    assert answer.json["status"] == "cancelled"
    assert answer.json["identifier"][0]["value"] == "desk"
    assert answer.json["identifier"][1]["value"] == "7"
    assert client.read("7", source="desk").json["status"] == "cancelled"
    assert client.cancel("not-a-number", source="desk").status_code == 404
    assert client.request("GET", "/ConceptMap/desk").status_code == 404
    assert GOOD.index("permit()") < GOOD.index("self.cancelled.add(")


def test_the_docstrings_entry_point_group_is_the_one_used():
    assert f"#             {discovery.GROUP} =\n" in GOOD
    assert "#                 paper = facade_paper\n" in GOOD


def test_an_entry_point_may_name_an_object_of_a_module(install, start):
    code = GOOD.replace("@hookimpl\ndef", "class Plugin:\n    @staticmethod\n    @hookimpl\n    def").replace(
        "    return SourcePlugin", "        return SourcePlugin"
    )
    install(code, entry="facade_paper:Plugin")
    assert list(start().sources) == ["desk"]


# Which plugins are read


def test_an_installed_unconfigured_plugin_is_never_imported(install, start, make):
    install()
    install("raise RuntimeError('imported')", plugin="broken", distribution="broken", module="facade_paper_broken")
    assert {"broken", "heim", "paper"} <= set(discovery.installed())
    assert "heim" in make().facade.sources
    assert "desk" in start().sources
    assert "facade_paper_broken" not in sys.modules


def test_a_plugin_of_several_sources_is_asked_once_a_start(install, tmp_path):
    install(
        edited(
            "@hookimpl\n",
            "asked = []\n\n\n@hookimpl\n",
            edited("    return SourcePlugin", "    asked.append(1)\n    return SourcePlugin"),
        )
    )
    path = tmp_path / "facade.toml"
    path.write_text(CONFIG.format(source="a", plugin="paper", settings='[sources.b]\nplugin = "paper"'), "utf-8")
    built = assemble(path)
    assert list(built.sources) == ["a", "b"]
    assert built.sources["a"].adapter is not built.sources["b"].adapter
    assert importlib.import_module("facade_paper").asked == [1]


def test_one_broken_plugin_does_not_hide_another(install, tmp_path):
    install(edited('repeat="idempotent"', 'repeat="perhaps"'))
    install("import nothing_of_this_name", plugin="broken", distribution="broken", module="facade_paper_broken")
    path = tmp_path / "facade.toml"
    second = '[sources.b]\nplugin = "broken"\n[sources.c]\nplugin = "absent"'
    path.write_text(CONFIG.format(source="a", plugin="paper", settings=second), "utf-8")
    with pytest.raises(ConfigurationError) as error:
        assemble(path)
    assert [problem.split(": ")[0] for problem in error.value.problems] == ["sources.a", "sources.b", "sources.c"]


def test_a_missing_plugin_is_named_with_the_installed_ones(install, start):
    install()
    with pytest.raises(ConfigurationError) as error:
        start(plugin="carrier-pigeon")
    expected = 'plugin "carrier-pigeon" is not installed; install its distribution, or: known are fhir_r4, heim, paper'
    assert error.value.problems == (f"sources.desk: {expected}",)


def test_a_name_claimed_by_two_distributions_is_refused(install, start):
    install()
    install(distribution="facade-papers", module="facade_paper_two")
    with pytest.raises(ConfigurationError) as error:
        start()
    expected = 'plugin "paper" is claimed by facade-paper and facade-papers; uninstall all but one'
    assert error.value.problems == (f"sources.desk: {expected}",)
    assert not {"facade_paper", "facade_paper_two"} & set(sys.modules)


# What a plugin may get wrong


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("from json import lodas", "ImportError: cannot import name 'lodas' from 'json'"),
        ("def broken(:", "SyntaxError: "),
        ("raise RuntimeError('first line\\nsecond line')", "RuntimeError: first line second line"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_refused(refused, code, message):
    found = only(refused(code))
    assert found.startswith(f"cannot be imported ({message}")
    assert found.endswith("; reinstall or fix it")


def test_an_entry_point_to_a_missing_module_is_refused(refused):
    found = only(refused(GOOD, entry="facade_papyrus"))
    assert found == ("cannot be imported (ModuleNotFoundError: No module named 'facade_papyrus'); reinstall or fix it")


def test_a_plugin_without_hook_is_refused(refused):
    expected = "has no hook; add @hookimpl def facade_source_plugin() to its module"
    assert only(refused("")) == expected


def test_a_hook_without_its_mark_is_refused(refused):
    expected = "has no hook; add @hookimpl def facade_source_plugin() to its module"
    assert only(refused(edited("@hookimpl\n", ""))) == expected


def test_a_misspelt_hook_is_refused(refused):
    found = only(refused(edited("def facade_source_plugin", "def facade_source_system")))
    assert found.startswith("has a wrong hook (PluginValidationError: unknown hook 'facade_source_system'")
    assert found.endswith("; write it as @hookimpl def facade_source_plugin()")


def test_a_hook_with_a_parameter_is_refused(refused):
    found = only(refused(edited("facade_source_plugin()", "facade_source_plugin(config)")))
    assert found.startswith("has a wrong hook (PluginValidationError: ")
    assert found.endswith("; write it as @hookimpl def facade_source_plugin()")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise KeyError('paper')", "KeyError: 'paper'"),
        ("raise SystemExit(1)", "SystemExit: 1"),
        ("return SourcePlugin(name='paper')", "TypeError: "),
    ],
)
def test_a_hook_that_raises_is_refused(refused, body, message):
    found = only(refused(returning(body)))
    assert found.startswith(f"fails in its hook ({message}")
    assert found.endswith("; fix its facade_source_plugin")


def returning(body):
    """The good plugin with this as the body of its hook; ``good()`` is what it would return."""
    hook = GOOD.index("@hookimpl")
    good = GOOD[hook:].replace("@hookimpl\ndef facade_source_plugin", "def good")
    return f"{GOOD[:hook]}{good}\n\n@hookimpl\ndef facade_source_plugin():\n    {body}\n"


WANTED = 'return one SourcePlugin, with name="paper"'
WRONG_RETURNS = {
    "nothing": ("return", f"None; {WANTED}"),
    "a forgotten return": ("good()", f"None; {WANTED}"),
    "a list": ("return [good()]", f"an object of list; {WANTED}, not an iterable: no yield, no list"),
    "a tuple of two": ("return good(), good()", f"an object of tuple; {WANTED}, not an iterable: no yield, no list"),
    "an empty list": ("return []", f"an object of list; {WANTED}, not an iterable: no yield, no list"),
    "a generator": ("yield good()", f"an object of generator; {WANTED}, not an iterable: no yield, no list"),
    "an empty generator": ("yield from ()", f"an object of generator; {WANTED}, not an iterable: no yield, no list"),
    "a number": ("return 5", f"an object of int; {WANTED}"),
    "false": ("return False", f"an object of bool; {WANTED}"),
    "a dict": ("return {'name': 'paper'}", f"an object of dict; {WANTED}"),
    "a text": ("return 'paper'", f"an object of str; {WANTED}"),
    "the class": ("return SourcePlugin", f"the class SourcePlugin; {WANTED}"),
}


@pytest.mark.parametrize("case", WRONG_RETURNS)
def test_a_hook_that_returns_no_source_plugin_is_refused(install, start, case):
    body, message = WRONG_RETURNS[case]
    install(returning(body))
    with pytest.raises(ConfigurationError) as error:
        start()
    expected = f'sources.desk: plugin "paper" of facade-paper: facade_source_plugin returns {message}'
    assert error.value.problems == (expected,)


@pytest.mark.parametrize(("name", "message"), [('"papyrus"', '"papyrus"'), ("5", "int")])
def test_a_declaration_under_another_name_is_refused(install, start, name, message):
    install(edited('name="paper"', f"name={name}"))
    with pytest.raises(ConfigurationError) as error:
        start()
    expected = f'facade_source_plugin returns a SourcePlugin named {message}; name it "paper", like its entry point'
    assert error.value.problems == (f'sources.desk: plugin "paper" of facade-paper: {expected}',)


def test_two_hooks_in_one_module_are_refused(refused):
    second = '\n\n@hookimpl(specname="facade_source_plugin")\ndef another():\n    return facade_source_plugin()\n'
    expected = "has 2 hooks; write one, as @hookimpl def facade_source_plugin()"
    assert only(refused(GOOD + second)) == expected


# Which version of the plugin API a plugin was built for


@pytest.mark.parametrize(
    ("built_for", "provided", "message"),
    [
        ("1.0", "1.0", None),
        ("1.0", "1.9", None),
        ("1.9", "1.10", None),
        ("1.1", "1.0", "upgrade fhir-facade, or install an older facade-paper"),
        ("2.0", "1.9", "upgrade fhir-facade, or install an older facade-paper"),
        ("1.9", "2.0", "upgrade facade-paper, or install an older fhir-facade"),
        ("0.9", "1.0", "upgrade facade-paper, or install an older fhir-facade"),
    ],
)
def test_a_plugin_fits_api_versions_up_to_the_next_major_one(built_for, provided, message):
    expected = f"is built for plugin API {built_for}, and this fhir-facade has plugin API {provided}; {message}"
    found = api_version.incompatibility(built_for, "facade-paper", provided=provided)
    assert found == (expected if message else None)


def test_a_plugin_for_another_api_version_is_refused_first(refused):
    code = edited('repeat="idempotent"', 'repeat="perhaps"', edited('api="1.0"', 'api="9.2"'))
    expected = (
        f"is built for plugin API 9.2, and this fhir-facade has plugin API {facade.PLUGIN_API}; "
        "upgrade fhir-facade, or install an older facade-paper"
    )
    assert only(refused(code)) == expected


@pytest.mark.parametrize("api", ["None", "1", "1.0", '""', '"1"', '"1.0.0"', '"01.0"', '"1.x"', '"1.0\\n"'])
def test_an_api_version_that_is_none_is_refused(refused, api):
    assert only(refused(declared(api=api))) == 'is misdeclared: api must be a version of the plugin API, like "1.0"'


def test_an_unknown_public_name_is_refused_with_the_version(refused):
    found = only(refused("from facade import SourceSytem"))
    assert found.startswith("cannot be imported (ImportError: cannot import name 'SourceSytem' from 'facade'")
    step = f"fix the name, or install the fhir-facade it was built for; this one has plugin API {facade.PLUGIN_API}"
    assert found.endswith(f"; {step}")


# Each field of a declaration


WRONG = {
    "api that is no version": ({"api": '"latest"'}, 'api must be a version of the plugin API, like "1.0"'),
    "adapter that cannot be called": (
        {"adapter": '"PaperAdapter"'},
        "adapter must be callable with a SourceConfig; give the adapter's class",
    ),
    "adapter without a method": (
        {"adapter": "type('Half', (SourceAdapter,), {'read': None})"},
        "adapter Half has no cancel; write it",
    ),
    "settings that are no class": (
        {"settings": "SourceSettings()"},
        "settings must be a subclass of facade.SourceSettings",
    ),
    "settings of another class": ({"settings": "dict"}, "settings must be a subclass of facade.SourceSettings"),
    "settings that ignore unknown keys": (
        {"settings": "type('Lax', (SourceSettings,), {'Meta': type('Meta', (), {'unknown': 'exclude'})})"},
        "settings must reject unknown keys; remove Meta.unknown",
    ),
    "id_pattern that is no expression": (
        {"id_pattern": '"[0-9"'},
        "id_pattern must be a regular expression, as a string",
    ),
    "id_pattern that is compiled": (
        {"id_pattern": "__import__('re').compile('[0-9]')"},
        "id_pattern must be a regular expression, as a string",
    ),
    "id_pattern that is absent": ({"id_pattern": "None"}, "id_pattern must be a regular expression, as a string"),
    "repeat that is another word": (
        {"repeat": '"harmless"'},
        'repeat must be "errors", "idempotent" or "harmful"',
    ),
    "repeat that is no word": ({"repeat": "[]"}, 'repeat must be "errors", "idempotent" or "harmful"'),
    "reasons of another type": ({"reasons": "{}"}, "reasons must be a facade.NativeReasons, or None"),
    "capabilities of another type": ({"capabilities": '{"read": True}'}, "capabilities must be a facade.Capabilities"),
    "a capability that is no Support": (
        {"capabilities": "Capabilities(read=True)"},
        "capabilities.read must be a facade.Support",
    ),
    "lacks that is one word": (
        {"capabilities": 'Capabilities(lacks="slot")'},
        "capabilities.lacks must be a frozenset of some of appointmentType, participant, serviceType, slot",
    ),
    "lacks of an element that is not required": (
        {"capabilities": 'Capabilities(lacks=frozenset({"slots"}))'},
        "capabilities.lacks must be a frozenset of some of appointmentType, participant, serviceType, slot",
    ),
    "webhook that is a word": (
        {"webhook": '"hook"'},
        "webhook must be a function, and settings then a subclass of facade.WebhookSettings",
    ),
    "identifiers that are one word": ({"identifiers": '"Patient"'}, "identifiers must be a tuple of names"),
    "code_systems that are numbers": ({"code_systems": "(1,)"}, "code_systems must be a tuple of names"),
    "simulator that is none": (
        {"simulator": '"simulator"'},
        "simulator must be a function without parameters that builds one, or None",
    ),
    "canonical_id that is a function": (
        {"canonical_id": "str.lower"},
        "canonical_id must be a facade.CanonicalId, or None",
    ),
    "canonical_id of version 0": (
        {"canonical_id": "CanonicalId(version=0, form=str.lower)"},
        "canonical_id.version must be a whole number, 1 or more",
    ),
    "canonical_id without a form": (
        {"canonical_id": "CanonicalId(version=1, form='lower')"},
        "canonical_id.form must be a function of an id",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_each_field_of_a_declaration_is_checked(refused, case):
    fields, expected = WRONG[case]
    assert only(refused(declared(**fields))) == f"is misdeclared: {expected}"


def test_every_field_of_a_declaration_is_tried_wrong():
    tried = {name for fields, _ in WRONG.values() for name in fields}
    assert tried | {"name"} == set(inspect.signature(facade.SourcePlugin).parameters)


def test_a_declaration_is_refused_for_all_its_wrong_fields(refused):
    assert len(refused(declared(id_pattern="None", repeat="None", settings="None"))) == 3


REASONS = """
from facade import NativeReasons

MAP = {map}
REASONS = NativeReasons(name={name}, codes={codes}, concept_map=MAP, fallback={fallback})
"""
MAP = {
    "resourceType": "ConceptMap",
    "status": "active",
    "group": [
        {
            "source": "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason",
            "target": "urn:fhir-facade:paper:why",
            "element": [{"code": "pat", "target": [{"code": "torn", "equivalence": "wider"}]}],
        }
    ],
}


def with_reasons(**changes):
    pieces = {"map": MAP, "name": "'why'", "codes": {"torn": "Torn", "lost": "Lost"}, "fallback": "'lost'", **changes}
    return REASONS.format(**pieces) + declared(reasons="REASONS")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codes": {"lost": "Lost"}}, 'reasons: the ConceptMap names the code "torn", which does not exist; '),
        ({"fallback": "'burnt'"}, 'reasons: fallback_reason "burnt" does not exist; '),
        ({"name": "'reason'"}, "reasons: the ConceptMap's system "),
        ({"map": {}}, "reasons: the ConceptMap is not valid R4: fix "),
        ({"map": None}, "reasons: the ConceptMap is not valid R4: fix "),
        ({"codes": None}, "reasons cannot be used (TypeError: "),
    ],
)
def test_a_plugins_map_is_checked_even_if_a_source_replaces_it(refused, tmp_path, changes, message):
    (tmp_path / "map.json").write_text("{}", "utf-8")
    found = only(refused(with_reasons(**changes), settings='concept_map_file = "map.json"'))
    assert found.startswith(f"is misdeclared: {message}")


def test_a_plugins_map_is_used_if_no_source_replaces_it(install, start):
    install(with_reasons())
    built = start(settings='code_systems = {why = "https://desk.example/why"}')
    client = FacadeClient(create_app(built), built)
    assert client.request("GET", "/ConceptMap/desk").json["group"][0]["target"] == "https://desk.example/why"


def test_reason_settings_without_reasons_are_refused(install, start):
    install()
    with pytest.raises(ConfigurationError) as error:
        start(settings='fallback_reason = "refuse"\nconcept_map_file = "map.json"')
    expected = 'plugin "paper" of facade-paper maps no reasons; remove the setting'
    assert error.value.problems == (
        f"sources.desk.concept_map_file: {expected}",
        f"sources.desk.fallback_reason: {expected}",
    )


# Settings and adapters


def test_a_failing_settings_schema_is_refused_without_its_text(refused):
    code = declared(settings="Failing") + (
        "\n\nclass Failing(SourceSettings):\n    def load(self, table):\n        raise KeyError('CANARY')\n"
    )
    found = only(refused(code))
    assert re.fullmatch(
        r"fails while it checks its settings \(KeyError in load .*facade_paper\.py:\d+\); fix its schema", found
    )


def test_a_settings_schema_that_loads_no_dict_is_refused(refused):
    code = declared(settings="Failing") + (
        "\n\nfrom marshmallow import post_load\n\n\nclass Failing(SourceSettings):\n    @post_load\n"
        "    def none(self, data, **_):\n        return 5\n"
    )
    assert only(refused(code)) == "loads settings that are no dict; fix its schema's post_load"


def test_a_failing_adapter_factory_is_refused_without_its_text(refused):
    found = only(refused(edited("self.config = config", "raise ValueError('CANARY')")))
    assert re.fullmatch(
        r"cannot build its adapter \(ValueError in __init__ .*facade_paper\.py:\d+\); fix its adapter factory", found
    )


def test_an_adapter_factory_that_builds_no_adapter_is_refused(refused):
    expected = "builds no facade.SourceAdapter; fix its adapter factory"
    assert only(refused(declared(adapter="lambda config: object()"))) == expected
    assert only(refused(declared(adapter="lambda config: None"), module="facade_paper_again")) == expected


def test_an_adapter_may_refuse_its_configuration_in_own_words(install, start):
    code = edited("self.config = config", "raise ConfigurationError('the tray is empty; fill it', 'no ink; buy some')")
    install(f"from facade import ConfigurationError\n{code}")
    with pytest.raises(ConfigurationError) as error:
        start()
    assert error.value.problems == (
        "sources.desk: the tray is empty; fill it",
        "sources.desk: no ink; buy some",
    )


def test_two_sources_whose_secrets_differ_are_two(install, tmp_path, monkeypatch):
    settings = "\n\nclass Tokens(SourceSettings):\n    base_url = BaseUrl()\n    token_env = SecretFromEnv()\n"
    install(declared(settings="Tokens") + settings)
    monkeypatch.setenv("TOKEN_A", "a")
    monkeypatch.setenv("TOKEN_B", "b")
    path = tmp_path / "facade.toml"
    one = 'base_url = "https://paper.example"\ntoken_env = "TOKEN_{}"'
    second = f'[sources.b]\nplugin = "paper"\n{one}'
    config = CONFIG.format(source="a", plugin="paper", settings=f"{one.format('A')}\n{second}")
    path.write_text(config.format("B"), "utf-8")
    assert list(assemble(path).sources) == ["a", "b"]
    path.write_text(config.format("A"), "utf-8")
    with pytest.raises(ConfigurationError, match=r"sources\.b: has the base URL and key of sources\.a; remove one"):
        assemble(path)


# What a plugin author may import


def test_the_public_surface_is_exactly_what_all_names():
    public = {name for name in vars(facade) if not name.startswith("_")}
    assert public - set(facade.__all__) == {
        name for name, value in vars(facade).items() if isinstance(value, ModuleType) and not name.startswith("_")
    } - set(facade.__all__)
    in_order = sorted(facade.__all__, key=lambda name: (not name.isupper(), name))  # constants first, as ruff wants
    assert in_order == facade.__all__ == list(dict.fromkeys(facade.__all__))
    for name in facade.__all__:
        assert not isinstance(getattr(facade, name), ModuleType), name


def test_every_public_name_has_its_own_docstring():
    for name in facade.__all__:
        value = getattr(facade, name)
        if isinstance(value, type) or inspect.isfunction(value):
            assert value.__doc__, name
            assert value.__module__.startswith("facade."), name
