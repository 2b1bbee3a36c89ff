"""``facade ledger`` at night: neither secrets nor plugins, the store only; resolutions, and their undoing."""

import getpass
import json
import re
import shlex
from dataclasses import replace

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from facade import CanonicalId, OutcomeUnknown, SourceAdapter
from facade.app import assemble, compose
from facade.cancellation.known_sources import check_sources
from facade.cancellation.timers import Timers
from facade.cli import main
from facade.errors import Cause, ConfigurationError
from facade.ledger.engine import connect
from facade.ledger.maintenance import KnownSource, Maintenance
from facade.ledger.store import JournalEntry, Ledger
from facade.plugin import discovery
from facade.testing.simulator.faults import FAULTS
from facade.web import create_app
from tests.conftest import FacadeClient, remember
from tests.support.stores import store_url

DOUBT = {
    "resourceType": "Appointment",
    "status": "cancelled",
    "cancelationReason": {
        "coding": [
            {"system": "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason", "code": "pat-mv"}
        ],
        "text": "Moved to Leeds",
    },
}


def run(*arguments, code=0):
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    return done.output


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path):
    with store_url(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def client(store, make):
    """A facade on each kind of store, with an appointment in doubt."""
    return make(facade=f'store = "{store}"', answer_within=2.0)


@pytest.fixture
def in_doubt(client, simulator):
    simulator.faults.arm("apt_1", FAULTS["reset-before-commit"], times=1)
    assert client.cancel("apt_1", DOUBT).json["status"] == "proposed"


@pytest.fixture
def night(monkeypatch):
    """Begin to be called at night: no secret is set, and no plugin is installed."""

    def begin():
        monkeypatch.delenv("FACADE_KEY_SCHEDULER")
        monkeypatch.delenv("HEIM_API_KEY")
        monkeypatch.setattr(discovery, "entry_points", lambda **_: [])

    return begin


def resolve(store, *arguments, code=0):
    return run(
        "ledger", "resolve", "heim", "apt_1", *arguments, "--because", "Heim says so", "--store", store, code=code
    )


def row_of(client):
    return client.facade.ledger.find(("heim", "apt_1"))


# Only the store is needed


def test_every_command_works_without_secrets_and_plugins(in_doubt, client, store, night, tmp_path):
    night()
    with pytest.raises(ConfigurationError):
        assemble(tmp_path / "facade.toml")
    for ledger in (["--store", store], ["--config", tmp_path / "facade.toml"]):
        assert "heim apt_1" in run("ledger", "list", *ledger)
        assert "doubt" in run("ledger", "show", "heim", "apt_1", *ledger)
        assert run("ledger", "purge", "--older-than", "1d", *ledger) == "0 cancellations deleted\n"
        assert "revision" in run("db", "upgrade", *ledger)
        assert run("ledger", "resolve", "heim", "apt_1", "--as", "cancelled", "--because", "x", *ledger)
        assert run("ledger", "resolve", "heim", "apt_1", "--undo", "--because", "x", *ledger)
        run("ledger", "rename", "heim", "clinic", *ledger)
        run("ledger", "rename", "clinic", "heim", *ledger)


def test_of_the_configuration_only_the_store_is_read(in_doubt, client, store, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(f'[facade]\nstore = "{store}"\nanswer_within = "long"\nunknown = 1\n[sources]\nx = 5\n')
    assert "heim apt_1" in run("ledger", "list", "--config", other)
    other.write_text("[facade]\nstore = 5\n")
    refused = run("ledger", "list", "--config", other, code=2)
    assert refused == f'facade: facade.store in {other}: must be a string, like "sqlite:///var/facade.db"\n'


def test_without_a_ledger_named_it_is_asked_for():
    assert "name its configuration file with --config, or its URL with --store" in run("ledger", "list", code=2)


def test_a_rekey_needs_the_one_plugin_and_no_secret(in_doubt, store, monkeypatch, tmp_path):
    monkeypatch.delenv("HEIM_API_KEY")
    same = "heim: 0 records moved, 0 merged\n"
    assert run("ledger", "rekey", "heim", "--plugin", "heim", "--store", store) == same
    assert run("ledger", "rekey", "heim", "--config", tmp_path / "facade.toml") == same
    assert "name it with --plugin" in run("ledger", "rekey", "heim", "--store", store, code=2)
    assert 'plugin "hiem" is not installed' in run("ledger", "rekey", "x", "--plugin", "hiem", "--store", store, code=2)


def test_the_commands_that_a_refused_start_names_can_be_pasted(in_doubt, client, store, night, tmp_path):
    """Of an unconfigured source, and of another form of ids; from a start with --config, and with --store."""
    path = tmp_path / "facade.toml"
    path.write_text(path.read_text().replace("[sources.heim]", "[sources.clinic]"))
    for facade in (assemble(path), assemble(path, store=store)):
        with pytest.raises(ConfigurationError) as refused:
            check_sources(facade.ledger, facade.sources.values())
        commands = re.findall(r"facade (ledger (?:list|rename) [^;]+)", str(refused.value))
        facade.ledger.engine.dispose()
        assert len(commands) == 2, str(refused.value)
    Maintenance(client.facade.ledger).remember("heim", KnownSource(7, True, None))
    path.write_text(path.read_text().replace("[sources.clinic]", "[sources.heim]"))
    with pytest.raises(ConfigurationError) as refused:
        check_sources(client.facade.ledger, client.facade.sources.values())
    (rekey,) = re.findall(r"facade (ledger rekey .+)", str(refused.value))
    assert run(*shlex.split(rekey)) == "heim: 0 records moved, 0 merged\n"
    night()
    for command in sorted(commands):
        assert "apt_1" in (done := run(*shlex.split(command))) or "records moved" in done


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://facade:s3cret@db.example/facade",
        "postgresql+psycopg://facade@db.example/facade?password=s3cret",
        "postgresql+psycopg://db.example/facade?user=facade&sslpassword=s3cret",
    ],
)
def test_a_password_of_the_store_is_in_no_printed_command(url):
    shown = Ledger(connect(url)).option
    assert "s3cret" not in shown
    assert "***" in shlex.split(shown)[1]
    assert "db.example/facade" in shown


# check says what a start would be refused for


def test_check_reports_what_a_start_would_be_refused_for(in_doubt, client, tmp_path, store):
    path = tmp_path / "facade.toml"
    assert "ledger        store       exists, at this version\n" in run("check", "--config", path)
    before = Maintenance(client.facade.ledger).sources()
    path.write_text(path.read_text().replace("[sources.heim]", "[sources.clinic]"))
    shown = run("check", "--config", path, code=2)
    assert "ledger        sources     problem: sources.heim: is not configured, and the ledger has 1 unsettled" in shown
    assert f"facade ledger list --source heim --config {path}" in shown
    assert Maintenance(client.facade.ledger).sources() == before, "a check remembers nothing"
    Maintenance(client.facade.ledger).remember("heim", KnownSource(7, True, None))
    path.write_text(path.read_text().replace("[sources.clinic]", "[sources.heim]"))
    assert f"facade ledger rekey heim --plugin heim --config {path}" in run("check", "--config", path, code=2)


def test_check_creates_no_ledger_and_reports_a_bad_one(make, tmp_path):
    make()
    path, ledger = tmp_path / "facade.toml", tmp_path / "var" / "facade.db"
    for file in ledger.parent.iterdir():
        file.unlink()
    ledger.parent.rmdir()
    assert "the first start creates it, or upgrades it to this version" in run("check", "--config", path)
    assert not ledger.parent.exists()
    ledger.parent.mkdir()
    ledger.write_bytes(b"this is no database file, and it is longer than a header of one would be, by some way" * 20)
    assert "ledger        store       problem: facade.store: cannot be opened" in run("check", "--config", path, code=2)


# Resolutions from the row alone


def test_a_resolution_is_served_from_what_the_row_holds(in_doubt, client, store, night, simulator):
    read = client.read("apt_1").json
    night()
    assert resolve(store, "--as", "cancelled", "--by", "Night Shift") == "heim apt_1 is cancelled now\n"
    recorded = json.loads(row_of(client).response)
    remember(recorded)
    assert recorded["status"] == "cancelled"
    for element in ("id", "identifier", "slot", "participant", "serviceType", "start"):
        assert recorded.get(element) == read.get(element), element
    codings = recorded["cancelationReason"]["coding"]
    assert [coding["code"] for coding in codings] == ["pat-mv", "patient_cancelled"]
    assert recorded["cancelationReason"]["text"] == "Moved to Leeds"
    assert "contained" not in recorded
    assert "supportingInformation" not in recorded
    assert "operator Night Shift: resolve → cancelled" in run("ledger", "show", "heim", "apt_1", "--store", store)
    assert client.cancel("apt_1").json == recorded
    assert simulator.log.count("cancel", "apt_1") == 1


def test_a_resolution_without_a_response_is_an_appointment(in_doubt, client, store, night):
    """As where the owner was lost, and as an older version wrote it."""
    night()
    for cancel_request in (
        row_of(client).cancel_request,
        {"codings": [], "text": "Moved", "native": ["patient_cancelled", {}]},
    ):
        with client.facade.ledger.engine.begin() as connection:
            connection.execute(
                text(
                    "UPDATE cancellations SET response = NULL, cancel_request = :cancel_request, "
                    "state = 'operator', by_operator = false"
                ),
                {"cancel_request": json.dumps(cancel_request)},
            )
        resolve(store, "--as", "cancelled")
        recorded = json.loads(row_of(client).response)
        remember(recorded)
        assert recorded["status"] == "cancelled"
        assert [identifier["value"] for identifier in recorded["identifier"]] == ["heim", "apt_1"]
        assert "text" in recorded["cancelationReason"]
        resolve(store, "--undo")


def test_not_applied_lets_the_next_request_try_again(in_doubt, client, store, simulator):
    resolve(store, "--as", "not-applied")
    answered = json.loads(row_of(client).response)
    remember(answered)
    assert answered["status"] == "proposed"
    assert len(answered["contained"]) == len(answered["supportingInformation"]) == 1
    assert client.cancel("apt_1").json["status"] == "cancelled"
    assert simulator.log.count("cancel", "apt_1") == 2


# Undo


@pytest.mark.parametrize("resolution", ["cancelled", "not-applied"])
def test_a_resolution_without_consequences_is_undone(in_doubt, client, store, resolution, night):
    night()
    resolve(store, "--as", resolution)
    assert resolve(store, "--undo", "--by", "Day Shift") == "heim apt_1 is operator again\n"
    row = row_of(client)
    assert (row.state, row.by_operator, row.response) == ("operator", False, None)
    assert row.read_due is not None
    shown = run("ledger", "show", "heim", "apt_1", "--store", store)
    assert re.search(r"undo +→ operator +because Heim says so", shown)
    assert "operator Day Shift: resolve → undone" in shown
    assert "there is no operator's resolution to undo" in resolve(store, "--undo", code=1)
    resolve(store, "--as", "cancelled")


def test_an_undo_schedules_no_read_of_an_unreadable_source(in_doubt, client, store):
    Maintenance(client.facade.ledger).remember("heim", KnownSource(0, False, None))
    resolve(store, "--as", "cancelled")
    resolve(store, "--undo")
    assert row_of(client).read_due is None


def test_what_a_client_got_is_not_undone(in_doubt, client, store):
    resolve(store, "--as", "cancelled")
    assert client.cancel("apt_1").json["status"] == "cancelled"
    assert resolve(store, "--undo", code=1) == (
        'Error: heim apt_1: nothing was undone; a client has received "cancelled" since the resolution, '
        "and cancelled is final\n"
    )
    assert row_of(client).state == "cancelled"


def test_a_resolution_is_not_undone_after_a_new_request(in_doubt, client, store, simulator):
    resolve(store, "--as", "not-applied")
    simulator.faults.arm("apt_1", FAULTS["reset-before-commit"], times=1)
    client.cancel("apt_1")
    assert "a new request has started since the resolution; it is in-doubt" in resolve(store, "--undo", code=1)
    assert row_of(client).state == "in-doubt"


def test_evidence_after_a_resolution_is_not_undone(in_doubt, client, store, simulator):
    resolve(store, "--as", "not-applied")
    simulator.patch("apt_1", {"status": "cancelled"})
    assert client.read("apt_1").json["status"] == "cancelled"
    assert "the source system itself has shown" in resolve(store, "--undo", code=1)
    assert row_of(client).state == "cancelled"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --as, or --undo"),
        (["--as", "cancelled", "--undo"], "give --as, or --undo"),
        (["--as", "cancelled", "--by", " "], "name yourself with --by"),
    ],
)
def test_a_wrong_resolve_says_what_is_wrong(in_doubt, client, store, arguments, message):
    assert message in resolve(store, *arguments, code=2)
    assert row_of(client).state == "in-doubt"


def test_a_user_without_a_name_is_asked_for_one(in_doubt, client, store, monkeypatch):
    def no_one():
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(getpass, "getuser", no_one)
    assert "name yourself with --by" in resolve(store, "--as", "cancelled", code=2)
    assert resolve(store, "--as", "cancelled", "--by", "Me") == "heim apt_1 is cancelled now\n"


# The ids that a person may know


class Spelled(SourceAdapter):
    """A source in memory that spells the ids 7 and 007 as 00007."""

    def read(self, appointment_id):
        return {"id": appointment_id.rjust(5, "0"), "status": "booked"}

    def cancel(self, request, current, permit):
        permit()
        raise OutcomeUnknown(Cause.TIMEOUT)


@pytest.fixture
def spelled(client):
    """The same facade before such a source; its appointment 7 is in doubt."""
    built = client.facade
    source = built.sources["heim"]
    form = CanonicalId(version=1, form=lambda spelling: spelling.lstrip("0") or "0")
    declared = replace(source.plugin, canonical_id=form, id_pattern=r"[0-9]{1,9}")
    source = replace(source, adapter=Spelled(), plugin=declared)
    facade = compose(built.config, {"heim": source}, built.ledger, Timers.for_response_within(2.0))
    facade.check_sources()
    before = FacadeClient(create_app(facade), facade)
    answer = before.cancel("007").json
    assert [each["value"] for each in answer["identifier"]] == ["heim", "00007"]
    return before


def test_a_record_is_found_by_its_key_and_by_what_clients_see(store, spelled, night):
    night()
    for spelling in ("7", "00007"):
        assert "heim 7: in-doubt" in run("ledger", "show", "heim", spelling, "--store", store)
    run("ledger", "resolve", "heim", "00007", "--as", "cancelled", "--because", "message", "--store", store)
    assert spelled.cancel("7").json["status"] == "cancelled"


def test_another_spelling_is_never_reported_as_not_cancelled(store, spelled, night):
    night()
    said = run("ledger", "show", "heim", "007", "--store", store, code=1)
    assert "not cancelled" not in said
    assert "canonical form" in said
    assert "facade ledger list --source heim --store" in said


def answered(client, appointment_id, answer):
    """Cancel, and put this in the place of the recorded answer."""
    client.cancel(appointment_id)
    values = {"response": json.dumps(answer)}
    key = ("heim", appointment_id)
    assert client.facade.ledger.change(key, {"state": "cancelled"}, values, JournalEntry(event="revised"))


def test_a_record_is_found_by_its_responses_id_only(store, client, night):
    official = {"use": "official", "value": "a b"}
    answered(client, "apt_1", {"id": "_Encoded", "identifier": [{"value": "heim"}, official], "comment": "apt_9"})
    night()
    for seen in ("_Encoded", "a b"):
        assert "heim apt_1: cancelled" in run("ledger", "show", "heim", seen, "--store", store)
    for other in ("apt_9", "_encoded", "_Enc%", "heim"):
        assert "has no record" in run("ledger", "show", "heim", other, "--store", store, code=1)


def test_of_several_records_under_one_id_none_is_chosen(store, client, night):
    for key in ("apt_1", "apt_2"):
        answered(client, key, {"identifier": [{"use": "official", "value": "X"}]})
    night()
    said = run("ledger", "show", "heim", "X", "--store", store, code=1)
    assert "apt_1" in said
    assert "apt_2" in said


def test_records_that_were_moved_to_another_name_are_pointed_to(store, in_doubt, night):
    night()
    run("ledger", "rename", "heim", "clinic", "--store", store)
    said = run("ledger", "show", "heim", "apt_1", "--store", store, code=1)
    assert "facade ledger show clinic apt_1 --store" in said
