"""Ids that begin with ``-``, which FHIR allows: https://hl7.org/fhir/R4/datatypes.html#id."""

import json

import click
import pytest
from click.testing import CliRunner

from facade.cancellation.known_sources import command
from facade.cli import main
from facade.cli.common.appointment_ids import TakesId

STRANGE = ["-a", "-1", "-abc-7", "-.", "-help"]


@click.command(cls=TakesId, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source")
@click.argument("id")
@click.option("--store")
@click.option("--json", "as_json", is_flag=True)
def shown(source, id, store, as_json):  # noqa: A002 - click passes arguments by name
    click.echo(json.dumps([source, id, store, as_json]))


def run(*arguments):
    return CliRunner().invoke(shown, arguments)


@pytest.mark.parametrize("given", STRANGE)
def test_an_id_that_begins_with_a_hyphen_is_an_id(given):
    for arguments in (
        ["heim", given, "--store", "-u"],
        ["--store", "-u", "heim", given],
        ["heim", "--store=-u", given],
        ["heim", "--store", "-u", "--", given],
    ):
        assert json.loads(run(*arguments).output) == ["heim", given, "-u", False]
    assert json.loads(run("heim", given, "--json").output) == ["heim", given, None, True]


@pytest.mark.parametrize("given", ["--a", "---", "--store", "-h", "--help", "--"])
def test_any_id_can_be_given_after_two_hyphens(given):
    assert json.loads(run("--json", "--", "heim", given).output) == ["heim", given, None, True]


@pytest.mark.parametrize(
    "arguments",
    [
        ["heim", "apt_1", "--stor", "x", "--bogus"],
        ["heim", "apt_1", "-x"],
        ["-x", "heim", "apt_1"],
        ["heim", "--bogus"],
        ["heim", "--bogus", "x"],
        ["--bogus=1", "heim", "apt_1"],
        ["heim", "-a", "-b"],
    ],
)
def test_unknown_options_are_refused_with_the_way_to_give_an_id(arguments):
    done = run(*arguments)
    assert done.exit_code == 2
    assert "No such option" in done.output
    assert "An id that begins with - goes after --: shown [OPTIONS] -- SOURCE ID" in " ".join(done.output.split())


def test_help_is_help():
    for arguments in (["-h"], ["heim", "-h"], ["heim", "--help"], ["heim", "-1", "--help"]):
        done = run(*arguments)
        assert (done.exit_code, done.output.startswith("Usage: shown")) == (0, True)


@pytest.mark.parametrize("options_first", [True, False])
def test_the_ledger_is_asked_about_such_an_id(client, tmp_path, options_first):
    at = ["--config", str(tmp_path / "facade.toml")]
    for name, more in (("show", []), ("resolve", ["--as", "cancelled", "--because", "by phone"])):
        words = ["heim", "-a"]
        done = CliRunner().invoke(main, ["ledger", name, *(at + more + words if options_first else words + at + more)])
        assert (done.exit_code, "has no record of heim -a" in done.output) == (1, True), done.output


def every_command(group):
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        yield command
        if isinstance(command, click.Group):
            yield from every_command(command)


def test_every_command_that_takes_an_id_takes_such_an_id():
    takers = [
        command
        for command in every_command(main)
        if any(isinstance(parameter, click.Argument) and parameter.name == "id" for parameter in command.params)
    ]
    assert {command.name for command in takers} == {"cancel", "show", "resolve", "arm", "disarm", "log", "move"}
    assert all(isinstance(command, TakesId) for command in takers)


def test_a_printed_command_has_two_hyphens_before_such_an_id():
    assert command("--store x", "show", "heim", "-a") == "facade ledger show --store x -- heim -a"
    assert command("--store x", "show", "heim", "a b") == "facade ledger show heim 'a b' --store x"
    assert command("--store x", "rekey", "-s", options=("--plugin", "p")) == (
        "facade ledger rekey --plugin p --store x -- -s"
    )
