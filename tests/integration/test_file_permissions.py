"""Who on the machine can read the ledger and the keys."""

import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from facade.app import assemble
from facade.cli import main
from facade.cli.common.permissions import SANDBOX
from facade.cli.common.reloading import Served
from facade.errors import ConfigurationError
from facade.ledger import migrate
from facade.ledger.engine import connect
from facade.ledger.store import Ledger
from tests.conftest import HEIM_KEY

OPEN = 0o644


def mode(path):
    return stat.S_IMODE(Path(path).stat().st_mode)


@pytest.fixture(params=[0o022, 0o000, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def facade(make, tmp_path):
    """A facade with its key in a file of this mode; its configuration file."""

    def build(key_mode, *, url="https://api.heim.health", auth="api-key"):
        key = tmp_path / "heim key"
        key.write_text(HEIM_KEY)
        key.chmod(key_mode)
        make(base_url=url, **{'api_key_env = "HEIM_API_KEY"': 'api_key_file = "heim key"', '"api-key"': f'"{auth}"'})
        return tmp_path / "facade.toml"

    return build


def check(path):
    done = CliRunner().invoke(main, ["check", "--config", str(path)])
    assert done.exit_code == 0, done.output
    return done.output


# The ledger


def test_a_ledger_is_made_for_its_owner_alone_with_its_folders(tmp_path, umask):
    folder = tmp_path / "a" / "b"
    engine = connect(f"sqlite:///{folder}/ledger.db")
    migrate.upgrade(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
        assert {file.name: oct(mode(file)) for file in folder.iterdir()} == {
            "ledger.db": "0o600",
            "ledger.db-wal": "0o600",
            "ledger.db-shm": "0o600",
        }
    assert (mode(folder), mode(folder.parent)) == (0o700, 0o700)
    engine.dispose()


def test_a_ledger_made_later_or_behind_a_link_is_private_too(tmp_path, umask):
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "there.db")
    for name, made in (("alone.db", "alone.db"), ("link.db", "there.db")):
        engine = connect(f"sqlite:///{tmp_path}/{name}")
        with Ledger(engine).reading():
            pass
        engine.dispose()
        assert mode(tmp_path / made) == 0o600


def test_the_commands_make_it_so_too(make, tmp_path, umask):
    make()
    path = tmp_path / "facade.toml"
    for arguments in (
        ["db", "upgrade", "--config", str(path)],
        ["db", "upgrade", "--store", f"sqlite:///{tmp_path}/x/y.db"],
    ):
        assert CliRunner().invoke(main, arguments).exit_code == 0
    assert [mode(tmp_path / name) for name in ("var", "x")] == [0o700, 0o700]
    assert [mode(tmp_path / name) for name in ("var/facade.db", "x/y.db")] == [0o600, 0o600]


def test_existing_modes_are_kept_and_check_warns(make, tmp_path):
    make()
    file = tmp_path / "var" / "facade.db"
    assert "ledger        file" not in check(tmp_path / "facade.toml")
    file.chmod(0o640)
    file.parent.chmod(0o755)
    assert (
        f"ledger        file        warning: {file} is accessible to other users (mode 0640) and "
        f"contains patient data; run chmod 600 {file}"
    ) in check(tmp_path / "facade.toml")
    assert (mode(file), mode(file.parent)) == (0o640, 0o755)


# Keys


@pytest.mark.parametrize("key_mode", [0o644, 0o604, 0o602, 0o666])
def test_a_key_file_open_to_everyone_is_refused(facade, key_mode):
    path = facade(key_mode)
    with pytest.raises(ConfigurationError) as refused:
        Served(path, None, "127.0.0.1")
    key = path.parent / "heim key"
    (problem,) = refused.value.problems
    assert problem == (
        f"sources.heim.api_key_file: {key} is accessible to every user (mode {key_mode:04o}); run chmod 600 '{key}'"
    )
    for command in ("serve", "reconcile"):
        done = CliRunner().invoke(main, [command, "--config", str(path)])
        assert (done.exit_code, done.output) == (2, f"facade: {problem}\n")


@pytest.mark.parametrize("key_mode", [0o600, 0o400, 0o440, 0o640])
def test_a_key_file_of_its_owner_or_group_is_served(facade, key_mode):
    assert Served(facade(key_mode), None, "127.0.0.1").facade.sources


@pytest.mark.parametrize(("key_mode", "warned"), [(0o600, False), (0o640, True), (0o644, True)])
def test_check_warns_of_a_key_file_that_others_can_read(facade, key_mode, warned):
    path = facade(key_mode)
    key = path.parent / "heim key"
    line = (
        f"heim          keys        warning: sources.heim.api_key_file: {key} is accessible to other users "
        f"(mode {key_mode:04o}); run chmod 600 '{key}'\n"
    )
    assert (line in check(path)) == warned


def test_a_reload_with_an_open_key_file_is_refused(facade):
    path = facade(0o600)
    served = Served(path, None, "127.0.0.1")
    (path.parent / "heim key").chmod(OPEN)
    assert not served.reload()


def test_each_of_several_key_files_and_lines_is_checked(make, tmp_path):
    for name in ("old", "new", "pem"):
        (tmp_path / name).write_text("a-secret-of-the-tests")
        (tmp_path / name).chmod(OPEN)
    hospital = '[sources.hospital]\nplugin = "fhir_r4"\nbase_url = "https://fhir.hospital.example"\n'
    hospital += 'token_file = "pem"\n'
    make(settings='webhook_secret_file = ["old", "new"]', more=hospital)
    named = [entry for source in assemble(tmp_path / "facade.toml").sources.values() for entry in source.secret_files]
    assert named == [
        ("webhook_secret_file", str(tmp_path / "old")),
        ("webhook_secret_file", str(tmp_path / "new")),
        ("token_file", str(tmp_path / "pem")),
    ]


@pytest.mark.parametrize(
    ("url", "auth", "env", "served"),
    [
        ("http://127.0.0.1:9/heim", "none", "", True),  # as config/sandbox.toml
        ("http://127.0.0.1:9/heim", "api-key", "1", True),  # as facade sandbox --serve starts it
        ("https://api.heim.health", "none", "", False),
        ("http://127.0.0.1:9/heim", "api-key", "", False),
        ("http://127.0.0.1.example.org:9/heim", "none", "", False),
    ],
)
def test_in_a_sandbox_anybody_may_read_the_key(facade, monkeypatch, url, auth, env, served):
    monkeypatch.setenv(SANDBOX, env)
    if "example.org" in url:
        url = url.replace("http:", "https:")
    path = facade(OPEN, url=url, auth=auth)
    if served:
        assert Served(path, None, "127.0.0.1").facade
    else:
        with pytest.raises(ConfigurationError, match="chmod 600"):
            Served(path, None, "127.0.0.1")


def test_a_configuration_with_the_ledgers_password_is_warned_of(make, tmp_path):
    make()
    path = tmp_path / "facade.toml"
    path.write_text(
        path.read_text().replace("[facade]", '[facade]\nstore = "postgresql+psycopg://u:s3cret@127.0.0.1:1/x"')
    )
    path.chmod(OPEN)
    done = CliRunner().invoke(main, ["check", "--config", str(path)])
    assert (
        f"{path} is accessible to other users (mode 0644) and contains the ledger's password; run chmod 600 {path}"
        in done.output
    )
    assert "s3cret" not in done.output
