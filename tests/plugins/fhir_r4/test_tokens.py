"""The fhir_r4 plugin's way in: tokens by SMART Backend Services, when one is fetched, kept, dropped, and what fails."""

import json
import sys
import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from types import SimpleNamespace
from urllib.parse import parse_qs

import jwt
import pytest
from facade_fhir_r4 import credentials
from facade_fhir_r4.adapter import FhirR4Adapter
from facade_fhir_r4.settings import FhirR4Settings
from structlog.testing import capture_logs
from werkzeug.wrappers import Response

from facade import ConfigurationError, NotExecuted, SourceConfig, deadline, remaining
from facade.errors import Cause
from tests.support.hang_detection import give_up_once_reached
from tests.support.keys import CLIENT, KEY_ID, key_pair
from tests.support.waiting import LIMIT


@pytest.fixture(autouse=True)
def _time_enough(monkeypatch):
    monkeypatch.setattr(credentials, "_FETCH_WITHIN", LIMIT)
    monkeypatch.setattr(credentials, "remaining", lambda: remaining(LIMIT))  # threads begin without a deadline
    with deadline(LIMIT):
        yield


@pytest.fixture
def client(fhir, tmp_path):
    """Settings of client credentials that the server knows, as TOML; the key is in a file of its own."""

    def build(algorithm="ES384", *, register=True, text=None, **settings):
        pair = key_pair(algorithm)
        (tmp_path / "key.pem").write_text(text if text is not None else pair.private)
        if register:
            fhir.clients[CLIENT, KEY_ID] = pair.public
        table = {
            "token_url": f"{fhir.url}/token",
            "client_id": CLIENT,
            "private_key_file": "key.pem",
            "key_id": KEY_ID,
            "algorithm": algorithm,
            **settings,
        }
        return "".join(f"{name} = {json.dumps(value)}\n" for name, value in table.items() if value is not None)

    return build


@pytest.fixture
def clock(monkeypatch):
    """The monotonic clock that decides when a token has ended."""
    time = SimpleNamespace(seconds=1000.0)
    time.monotonic = lambda: time.seconds
    monkeypatch.setattr(credentials, "time", time)
    return time


def tokens(fhir):
    return fhir.methods().count("POST")


def cancel(client, appointment_id="apt-1"):
    return client.cancel(appointment_id, source="fhir").json


def why(answer):
    return answer["contained"][-1]["issue"][0]["code"]


def adapter(fhir, tmp_path, settings):
    """An adapter alone, with the settings that a configuration file would give it."""
    import tomllib

    table = {**tomllib.loads(settings), "plugin": "fhir_r4", "base_url": fhir.url}
    table["private_key_file"] = str(tmp_path / table["private_key_file"])
    return FhirR4Adapter(SourceConfig(plugin="fhir_r4", name="fhir", settings=FhirR4Settings().load(table)))


@pytest.mark.parametrize("algorithm", ["RS384", "ES384"])
def test_a_cancel_with_client_credentials_signs_in_once(fhir_facade, fhir, client, algorithm):
    assert cancel(fhir_facade(access=client(algorithm)))["status"] == "cancelled"
    assert fhir.methods() == ["POST", "GET", "PATCH"]
    _, headers, body = fhir.received[0]
    form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
    assertion = form.pop("client_assertion")
    assert headers["CONTENT_TYPE"] == "application/x-www-form-urlencoded"
    assert form == {
        "grant_type": "client_credentials",
        "scope": "system/Appointment.read system/Appointment.write",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }
    assert jwt.get_unverified_header(assertion) == {"alg": algorithm, "kid": KEY_ID, "typ": "JWT"}
    assert "AUTHORIZATION" not in headers


def test_the_key_may_be_a_jwk_that_names_itself(fhir_facade, fhir, client):
    text = json.dumps({**key_pair("ES384").jwk, "kid": KEY_ID})
    assert cancel(fhir_facade(access=client(text=text, key_id=None)))["status"] == "cancelled"


def test_a_token_is_kept_until_near_its_end(fhir_facade, fhir, client, clock):
    client = fhir_facade(access=client())
    for seconds, fetched in ((0, 1), (269, 1), (2, 2), (269, 2)):
        clock.seconds += seconds
        assert client.read("apt-1", source="fhir").status_code == 200
        assert tokens(fhir) == fetched


@pytest.mark.parametrize(
    ("stated", "kept"),
    [
        (10, 4.9),
        ("3600", 3569.0),
        ("soon", 0.0),
        ("1" * 10, 0.0),
        ("\u0663", 0.0),
        (-1, 0.0),
        (True, 0.0),
        (10**9, 86_000.0),
    ],
    ids=["short", "digits", "a word", "too many digits", "other digits", "over", "no number", "for ever"],
)
def test_a_token_that_expires_soon_or_unclearly_is_not_kept(fhir, client, clock, tmp_path, stated, kept):
    body = json.dumps({"access_token": "t", "token_type": "Bearer", "expires_in": stated})
    found = adapter(fhir, tmp_path, client())
    fhir.canned["POST"] = Response(body)
    found._credentials.token()
    clock.seconds += kept
    found._credentials.token()
    assert tokens(fhir) == (1 if kept else 2)
    clock.seconds += 1000
    found._credentials.token()
    assert tokens(fhir) == (2 if kept else 3)


def test_many_that_need_a_token_wait_for_one_request(fhir, client, tmp_path):
    found = adapter(fhir, tmp_path, client())
    all_here = threading.Barrier(8, timeout=LIMIT)

    def token(_):
        all_here.wait()
        return found._credentials.token()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(token, range(8)))) == 1
    assert tokens(fhir) == 1


def test_a_token_that_comes_late_serves_the_next_request(gate, fhir, client, tmp_path):
    found = adapter(fhir, tmp_path, client(max_concurrent=1))._credentials
    fhir.before["POST"] = gate.wait
    for _ in range(2):
        with deadline(0.05), pytest.raises(NotExecuted) as raised:
            found.token()
        assert raised.value.cause is Cause.TIMEOUT
    gate.open()
    assert found.token()
    assert tokens(fhir) == 1


def test_one_more_than_may_wait_for_a_token_is_refused_at_once(gate, fhir, client, tmp_path):
    found = adapter(fhir, tmp_path, client(max_concurrent=2))._credentials
    fhir.before["POST"] = gate.wait
    with ThreadPoolExecutor(3) as pool, gate:
        asked = [pool.submit(found.token) for _ in range(3)]
        done, waiting = wait(asked, LIMIT, return_when=FIRST_COMPLETED)
        gate.open()
        assert [refused.exception().cause for refused in done] == [Cause.THROTTLED]
        assert len({waited.result(LIMIT) for waited in waiting}) == 1


def test_a_hung_token_endpoint_is_given_up_and_asked_anew(gate, fhir, client, tmp_path, monkeypatch):
    found = adapter(fhir, tmp_path, client())._credentials
    fhir.before["POST"] = gate.wait
    with monkeypatch.context() as patched:
        give_up_once_reached(patched, gate)
        with pytest.raises(NotExecuted, match="no token: the deadline passed") as raised:
            found.token()
    assert raised.value.cause is Cause.TIMEOUT
    gate.open()
    assert found.token()


def test_a_401_to_a_read_fetches_a_token_and_reads_once_more(fhir_facade, fhir, client):
    client = fhir_facade(access=client())
    client.read("apt-1", source="fhir")
    fhir.expire_tokens()
    assert client.read("apt-1", source="fhir").json["status"] == "booked"
    assert fhir.methods() == ["POST", "GET", "GET", "POST", "GET"]


def test_a_401_to_every_read_ends_after_the_second(fhir_facade, fhir, client):
    assert why(cancel(fhir_facade(access=client()), "apt-read-unauthorized")) == "security"
    assert fhir.log.count("read") == 2
    assert fhir.writes() == 0


def test_a_static_token_that_is_refused_is_not_tried_again(fhir_facade, fhir, monkeypatch):
    monkeypatch.setenv("FHIR_TOKEN", "another")
    assert why(cancel(fhir_facade())) == "security"
    assert fhir.methods() == ["GET"]


def test_a_401_to_the_write_drops_the_token_without_a_resend(fhir_facade, fhir, client):
    client = fhir_facade(access=client())
    fhir.before["PATCH"] = fhir.expire_tokens
    assert why(cancel(client)) == "security"
    assert fhir.methods() == ["POST", "GET", "PATCH", "POST", "GET"]
    fhir.before.clear()
    assert cancel(client)["status"] == "cancelled"
    assert fhir.writes() == 2


def test_a_late_refusal_does_not_drop_the_newer_token(fhir, client, tmp_path):
    found = adapter(fhir, tmp_path, client())._credentials
    old = found.token()
    assert found.drop(old)
    new = found.token()
    assert found.drop(old)
    assert found.token() == new != old
    assert tokens(fhir) == 2


@pytest.mark.parametrize(
    ("answer", "issue"),
    [
        (Response('{"error": "invalid_client", "error_description": "CANARY"}', 401), "security"),
        (Response('{"error": "CANARY"}', 400), "security"),
        (Response('{"error": ["CANARY"]}', 400), "security"),
        (Response("<html>CANARY</html>", 403), "security"),
        (Response("CANARY", 500), "transient"),
        (Response("CANARY", 429), "throttled"),
        (Response("", 302, {"Location": "/CANARY"}), "processing"),
        (Response("CANARY", 404), "processing"),
        (Response("CANARY", 200), "processing"),
        (Response('["CANARY"]', 200), "processing"),
        (Response('{"access_token": "CANARY CANARY", "token_type": "bearer"}'), "processing"),
        (Response('{"access_token": "CANARY", "token_type": "mac"}'), "processing"),
    ],
    ids=lambda value: value.get_data(as_text=True)[:40] if isinstance(value, Response) else value,
)
def test_without_a_token_nothing_is_sent_and_nothing_leaks(fhir_facade, fhir, client, answer, issue):
    client = fhir_facade(access=client())
    fhir.canned["POST"] = answer
    with capture_logs() as logs:
        stated = cancel(client)
    assert (stated["status"], why(stated)) == ("proposed", issue)
    assert fhir.log.count("read") == fhir.writes() == 0
    assert "CANARY" not in json.dumps([stated, logs], default=str)
    assert "eyJ" not in json.dumps(logs, default=str)  # what a JWT begins with
    fhir.canned.clear()
    assert cancel(client)["status"] == "cancelled"


def test_an_oauth_error_code_is_logged_for_operators(fhir, client, tmp_path):
    with pytest.raises(NotExecuted) as raised:
        adapter(fhir, tmp_path, client(register=False)).read("apt-1")
    assert raised.value.cause is Cause.CREDENTIALS
    assert raised.value.detail == "no token: the token endpoint responded HTTP 401 invalid_client"


def test_an_unreachable_token_endpoint_is_reported_as_such(fhir_facade, fhir, client):
    assert why(cancel(fhir_facade(access=client(token_url="http://127.0.0.1:9/token")))) == "transient"
    assert fhir.received == []


def test_a_slow_token_endpoint_costs_no_more_than_the_deadline(gate, fhir_facade, fhir, client, monkeypatch):
    client = fhir_facade(access=client())
    fhir.before["POST"] = gate.wait
    with monkeypatch.context() as patched:
        patched.setattr(credentials, "remaining", lambda: 0.05)  # what is left of the answer's time
        assert why(cancel(client)) == "timeout"
    gate.open()
    assert cancel(client)["status"] == "cancelled"
    assert fhir.methods() == ["POST", "GET", "PATCH"]


def test_the_token_endpoint_keeps_its_final_slash(fhir, client, tmp_path):
    found = adapter(fhir, tmp_path, client(token_url=f"{fhir.url}/token/"))
    with pytest.raises(NotExecuted):
        found.read("apt-1")  # the simulator has none there
    (entry,) = fhir.log.entries()
    assert entry.path == "/token/"


# The key


@pytest.mark.parametrize(
    ("algorithm", "text", "problem"),
    [
        ("RS384", "CANARY", "contains no private key that can sign RS384; give one as PEM or JWK"),
        ("RS384", '{"kty": "CANARY"}', "contains no private key that can sign RS384"),
        ("RS384", "{CANARY", "contains no private key that can sign RS384"),
        ("RS384", key_pair("ES384").private, "contains no private key that can sign RS384"),
        ("ES384", key_pair("RS384").private, "contains no private key that can sign ES384"),
        ("ES384", key_pair("ES384").public, "contains no private key that can sign ES384"),
        ("ES384", "", "is empty; write the secret into it"),
    ],
)
def test_a_key_that_cannot_sign_stops_the_start_unshown(fhir_facade, client, algorithm, text, problem):
    with pytest.raises(ConfigurationError, match=problem) as raised:
        fhir_facade(access=client(algorithm, text=text))
    assert "private_key_file" in str(raised.value)
    assert "CANARY" not in str(raised.value)


def test_a_key_without_a_name_needs_key_id(fhir_facade, client):
    with pytest.raises(ConfigurationError, match="key_id: the private key file does not contain it; give"):
        fhir_facade(access=client(key_id=None))


def test_without_pyjwt_the_error_says_what_to_install(fhir_facade, client, monkeypatch):
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(ConfigurationError, match=r"need PyJWT; pip install 'fhir-facade\[smart\]'"):
        fhir_facade(access=client())
    assert fhir_facade().read("apt-1", source="fhir").status_code == 200
