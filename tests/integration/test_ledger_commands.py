"""``facade ledger`` and ``facade db``, as a person uses them."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from click.testing import CliRunner

from facade import CanonicalId
from facade.cli import main
from facade.ledger.maintenance import KnownSource, Maintenance
from facade.plugin import discovery, registry
from facade.testing.simulator.faults import FAULTS


@pytest.fixture
def facade(client, tmp_path):
    def run(*arguments):
        return CliRunner().invoke(main, [*arguments, "--config", str(tmp_path / "facade.toml")])

    return run


@pytest.fixture
def in_doubt(client, simulator):
    simulator.faults.arm("apt_1", FAULTS["reset-before-commit"], times=1)
    assert client.cancel("apt_1", headers={"X-Request-Id": "call-7"}).json["status"] == "proposed"
    client.cancel("apt_2")


def test_list_shows_what_is_there_and_what_is_in_a_state(facade, in_doubt):
    everything = facade("ledger", "list").output.splitlines()
    assert [line.split()[0] for line in everything] == ["in-doubt", "cancelled"]
    assert "heim apt_1" in everything[0]
    assert "connection-lost" in everything[0]
    assert facade("ledger", "list", "--state", "in-doubt").output.splitlines() == everything[:1]
    assert "no cancellations in state operator" in facade("ledger", "list", "--state", "operator").output


def test_a_list_that_is_cut_says_so(facade, in_doubt):
    cut = facade("ledger", "list", "--limit", "1")
    assert len(cut.stdout.splitlines()) == 1
    assert "there are more than 1 records; give a larger --limit" in cut.stderr
    assert facade("ledger", "list", "--limit", "2").stderr == ""


def test_show_prints_the_journal_as_a_timeline(facade, in_doubt):
    shown = facade("ledger", "show", "heim", "apt_1").output
    assert shown.startswith("heim apt_1: in-doubt, attempt 1, version 0\nnext read ")
    order = [shown.index(f"  {event} ") for event in ("claim", "send", "doubt")]
    assert order == sorted(order)
    assert "request call-7" in shown
    assert "scheduler: cancel → in-doubt (connection-lost)" in shown


def test_not_applied_lets_the_next_request_try_again(facade, in_doubt, client, simulator):
    done = facade("ledger", "resolve", "heim", "apt_1", "--as", "not-applied", "--because", "Heim says so")
    assert (done.exit_code, done.output) == (0, "heim apt_1 is not-applied now\n")
    shown = facade("ledger", "show", "heim", "apt_1").output
    assert "because Heim says so" in shown
    assert "operator " in shown
    assert client.cancel("apt_1").json["status"] == "cancelled"
    assert simulator.log.count("cancel", "apt_1") == 2


def test_a_resolution_as_cancelled_holds_for_later_requests(facade, in_doubt, client, simulator):
    assert facade("ledger", "resolve", "heim", "apt_1", "--as", "cancelled", "--because", "by phone").exit_code == 0
    assert client.cancel("apt_1").json["status"] == "cancelled"
    assert simulator.log.count("cancel", "apt_1") == 1


def test_only_doubt_is_resolved_and_for_a_reason(facade, in_doubt):
    settled = facade("ledger", "resolve", "heim", "apt_2", "--as", "not-applied", "--because", "x")
    assert settled.exit_code == 1
    assert "is cancelled; an operator resolves only the states in-doubt and operator" in settled.output
    assert facade("ledger", "resolve", "heim", "apt_1", "--as", "cancelled", "--because", " ").exit_code == 2
    assert facade("ledger", "resolve", "heim", "apt_1", "--as", "cancelled").exit_code == 2
    unknown = facade("ledger", "show", "heim", "apt_3")
    assert unknown.exit_code == 1
    assert "has no record of heim apt_3: it was not cancelled through this facade, or its record was purged" in (
        unknown.output
    )


def test_purge_deletes_old_settled_rows_only(facade, in_doubt, client):
    assert facade("ledger", "purge", "--older-than", "365d").output == "0 cancellations deleted\n"
    for young in ("0d", "23h", "1h"):
        refused = facade("ledger", "purge", "--older-than", young)
        assert refused.exit_code == 2
        assert f"--older-than {young} is less than a day; write 1d or more" in refused.output
    assert "is not an age" in facade("ledger", "purge", "--older-than", "a year").output
    now = client.facade.ledger.clock.now
    client.facade.ledger.clock.now = lambda: now() - 90_000
    client.cancel("apt_3")
    del client.facade.ledger.clock.now
    assert facade("ledger", "purge", "--older-than", "24h", "--source", "other").output == "0 cancellations deleted\n"
    assert facade("ledger", "purge", "--older-than", "24h", "--source", "heim").output == "1 cancellations deleted\n"
    assert len(facade("ledger", "list").output.splitlines()) == 2


def test_db_upgrade_says_where_the_store_is(facade):
    assert facade("db", "upgrade").output == "the ledger is at revision 0003\n"


def test_a_store_that_cannot_be_opened_is_one_sentence(facade, client, tmp_path):
    path = tmp_path / "facade.toml"
    path.write_text(path.read_text().replace("[facade]", '[facade]\nstore = "postgresql+psycopg://127.0.0.1:1/x"'))
    shown = facade("ledger", "list")
    assert shown.exit_code == 2
    assert shown.output == (
        "facade: facade.store: cannot be opened (OperationalError); check that the server runs and the URL is right\n"
    )


def test_a_url_that_fails_to_open_names_its_option(tmp_path):
    for name in (["ledger", "list"], ["db", "upgrade"]):
        shown = CliRunner().invoke(main, [*name, "--store", "postgresql+psycopg://127.0.0.1:1/x"])
        assert shown.exit_code == 2
        assert shown.output.startswith("facade: --store: cannot be ")
        assert "facade.store" not in shown.output


def test_an_unknown_argument_of_a_sqlite_url_is_one_sentence(tmp_path, recwarn):
    for url in (f"sqlite:///{tmp_path}/x.db?mode=ro", f"sqlite:///{tmp_path}/x.db?timeout=5&secret=x"):
        shown = CliRunner().invoke(main, ["db", "upgrade", "--store", url])
        assert (shown.exit_code, shown.output) == (
            2,
            "facade: --store: has an argument after ? that SQLite does not know; write the path only\n",
        )
    assert not recwarn.list
    assert not (tmp_path / "x.db").exists()


def test_a_ledger_that_is_not_there_is_not_an_empty_one(facade, make, tmp_path):
    make()
    (tmp_path / "var" / "facade.db").unlink()
    for arguments in (["list"], ["show", "heim", "apt_1"], ["purge", "--older-than", "1d"]):
        done = facade("ledger", *arguments)
        assert done.exit_code == 2
        assert (
            f"there is no ledger at {tmp_path}/var/facade.db; name the facade's own ledger with --store" in done.output
        )


def test_another_ledger_is_named_as_for_serve(facade, in_doubt, tmp_path):
    files = (tmp_path / "var" / "facade.db", tmp_path / "other.db")
    with closing(sqlite3.connect(files[0])) as served, closing(sqlite3.connect(files[1])) as other:
        served.backup(other)
    assert "heim apt_1" in facade("ledger", "list", "--store", f"sqlite:///{tmp_path}/other.db").output


def test_rekey_moves_a_sources_records_to_the_canonical_form(facade, in_doubt, client, monkeypatch):
    declared = discovery.load_plugin("heim")
    form = CanonicalId(version=2, form=lambda spelling: spelling.replace("apt_", "apt-"))
    system = replace(declared.declaration, canonical_id=form)
    monkeypatch.setattr(discovery, "load_plugin", lambda _: replace(declared, declaration=system))
    monkeypatch.setattr(registry.build, "__defaults__", (discovery.load_plugin,))
    done = facade("ledger", "rekey", "heim")
    assert (done.exit_code, done.output) == (0, "heim: 2 records moved, 0 merged\n")
    assert "from apt_1" in facade("ledger", "show", "heim", "apt-1").output
    assert facade("ledger", "rekey", "heim").output == "heim: 0 records moved, 0 merged\n"
    assert "nowhere is not configured" in facade("ledger", "rekey", "nowhere").output


def test_a_start_with_another_id_form_names_the_next_step(facade, in_doubt, client):
    Maintenance(client.facade.ledger).remember("heim", KnownSource(1, True, None))
    for arguments in (["serve", "--port", "0"], ["reconcile"]):
        refused = facade(*arguments)
        assert refused.exit_code == 2
        assert "sources.heim: the ledger's ids are not in the canonical form" in refused.output
        assert "facade ledger rekey heim" in refused.output
