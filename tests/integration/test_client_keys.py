"""Keys and other words from outside: what is long enough, and that only ASCII space may stand around them."""

import hashlib

import pytest
from click.testing import CliRunner
from marshmallow import ValidationError

from facade.app import assemble
from facade.cli import main
from facade.errors import ConfigurationError
from facade.setting_fields import AbsoluteUri, SecretFromFile, SecretTextFromFile
from tests.conftest import KEY

# Whitespace to str.strip(), and no ASCII space: controls, NEL, no-break and other spaces, line separators, byte order
UNICODE_SPACES = ["\x1c", "\x1f", "\x0b", "\x85", "\xa0", "\u2003", "\u2028", "\u3000", "\ufeff", "\x00"]
IN_A_HEADER = [space for space in UNICODE_SPACES if "\x80" <= space <= "\xff"]


def problems(path):
    with pytest.raises(ConfigurationError) as refused:
        assemble(path)
    return list(refused.value.problems)


@pytest.mark.parametrize("key", ["k", "123456789012345"])
def test_a_short_client_key_is_refused_at_start_and_by_check(make, tmp_path, monkeypatch, key):
    make()
    monkeypatch.setenv("FACADE_KEY_SCHEDULER", key)
    (problem,) = problems(tmp_path / "facade.toml")
    assert problem == (
        "clients.scheduler.key_env: the environment variable FACADE_KEY_SCHEDULER holds a key of fewer than 16 "
        "characters; make one with openssl rand -hex 32"
    )
    done = CliRunner().invoke(main, ["check", "--config", str(tmp_path / "facade.toml")])
    assert (done.exit_code, done.output) == (2, f"facade: {problem}\n")


def test_a_client_key_of_sixteen_characters_is_long_enough(make, monkeypatch):
    monkeypatch.setenv("FACADE_KEY_SCHEDULER", "1234567890123456")
    client = make()
    assert client.read("apt_1", key="1234567890123456").status_code == 200


def test_the_hash_of_no_key_at_all_is_refused(make, tmp_path):
    nothing = hashlib.sha256(b"").hexdigest()
    with pytest.raises(ConfigurationError, match=r"clients\.second\.key_sha256: is the SHA-256 of nothing"):
        make(clients=f'[clients.second]\nkey_sha256 = "{nothing}"\nsources = ["*"]')


@pytest.mark.parametrize("kind", [SecretFromFile, SecretTextFromFile])
@pytest.mark.parametrize("space", UNICODE_SPACES)
def test_around_a_key_in_a_file_only_ascii_space_is_taken_away(tmp_path, kind, space):
    path = tmp_path / "key"
    path.write_bytes(b" \t test_key-0123456789 \r\n\n")
    assert kind().deserialize(str(path)).reveal() == "test_key-0123456789"
    for content in (f"test_key{space}", f"{space}test_key", f"test{space}key\n"):
        path.write_text(content, "utf-8", newline="")
        with pytest.raises(ValidationError, match="must hold") as refused:
            kind().deserialize(str(path))
        assert "test_key" not in str(refused.value)


@pytest.mark.parametrize("space", ["", " ", "\t", "  \t"])
def test_ascii_space_around_a_presented_key_is_not_part_of_it(make, space):
    client = make()
    for header in (f"Bearer {space}{KEY}", f"bearer {KEY}{space}", f"BEARER {KEY}"):
        assert client.read("apt_1", headers={"Authorization": header}).status_code == 200


@pytest.mark.parametrize("space", IN_A_HEADER)
def test_any_other_space_in_an_authorization_is_no_space(make, space):
    client = make()
    for header in (f"Bearer {KEY}{space}", f"Bearer {space}{KEY}", f"Bearer{space}{KEY}", f"{space}Bearer {KEY}"):
        answer = client.read("apt_1", headers={"Authorization": header})
        assert answer.status_code == 401, header
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("space", IN_A_HEADER)
def test_in_no_other_header_either(make, space):
    client = make()
    for name, value, status in [
        ("Content-Type", f"application/fhir+json{space}", 415),
        ("Accept", f"application/fhir+json{space}", 406),
        ("If-Match", f"*{space}", 400),
        ("If-Match", f'{space}W/"0"', 400),
    ]:
        assert client.cancel("apt_1", headers={name: value}).status_code == status, name
    assert client.read(f"apt_1?_format=json{space}").status_code == 406


def test_a_uri_of_the_configuration_has_no_control_characters():
    with pytest.raises(ValidationError, match="absolute URI"):
        AbsoluteUri().deserialize("urn:x\x00y")


@pytest.mark.parametrize("command", [["cancel", "heim", "apt_1", "--url"], ["verify", "--url"]])
def test_a_key_that_no_header_can_hold_is_refused_without_it(monkeypatch, command):
    monkeypatch.setenv("FACADE_CLIENT_KEY", "s3cret\nand more")
    done = CliRunner().invoke(main, [*command, "http://127.0.0.1:9"])
    assert done.exit_code == 2
    assert "FACADE_CLIENT_KEY must hold the key alone" in done.output
    assert "s3cret" not in done.output


# The ledger's URL


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://facade:s3cret/x@db/facade",
        "postgresql+psycopg://facade:s3cret@db:port/facade",
        "postgresql+psycopg://facade:s3cret@more@db/facade",
        "postgresql+psycopg://facade:s3cret",
        "postgresql+psycopg://facade:s3cret@[::1/facade",
        "postgresql+psycopg://facade:s3cret%00@db/facade",
        "postgresql+psycopg://facade:s3cret@db/facade?plugin=nothing",
        "mysql://facade:s3cret@db/facade",
        "sqlite://facade:s3cret@/x",
        "sqlite:///x.db?timeout=s3cret",
        "s3cret",
    ],
)
def test_a_malformed_store_is_one_sentence_without_its_password(make, tmp_path, url):
    make()
    path = tmp_path / "facade.toml"
    commands = [["ledger", "list", "--store", url], ["db", "upgrade", "--store", url]]
    commands += [["serve", "--config", str(path), "--store", url]]
    path.write_text(path.read_text().replace("[facade]", f'[facade]\nstore = "{url}"'))
    commands += [["ledger", "list", "--config", str(path)], ["check", "--config", str(path)]]
    for command in commands:
        done = CliRunner().invoke(main, command)
        named = "--store" if "--store" in command else "facade.store"
        assert done.exit_code == 2, done.output
        assert "s3cret" not in done.output
        assert done.exception is None or isinstance(done.exception, SystemExit)
        if url.startswith("postgresql+psycopg://facade:s3cret/x@"):
            continue  # a URL after all: of a host that is not there
        assert done.output.startswith(f"facade: {named}: "), done.output
        assert done.output.count("\n") == 1
