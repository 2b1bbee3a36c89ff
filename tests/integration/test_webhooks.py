"""Webhooks: a signed hint brings a read forward, and nothing more."""

import base64
import hashlib
import hmac
import json
import time

import pytest

from facade.errors import ConfigurationError
from facade.ledger.store import JournalEntry
from facade.testing.simulator.faults import FAULTS
from tests.conftest import SEED

KEY = b"the secret of Heim's webhooks"
SECRET = "whsec_" + base64.b64encode(KEY).decode()


@pytest.fixture
def client(make, monkeypatch):
    monkeypatch.setenv("HEIM_WEBHOOK_SECRET", SECRET)
    return make(settings='webhook_secret_env = "HEIM_WEBHOOK_SECRET"')


def signed(body, *, key=KEY, at=None, message_id="msg_1", prefix="webhook"):
    at = str(int(time.time()) if at is None else at)
    digest = hmac.new(key, f"{message_id}.{at}.".encode() + body, hashlib.sha256).digest()
    signature = "v1a,xyz v1," + base64.b64encode(digest).decode()
    return {f"{prefix}-id": message_id, f"{prefix}-timestamp": at, f"{prefix}-signature": signature}


def about(appointment_id):
    return json.dumps({"type": "appointment.cancelled", "data": {"appointment": {"id": appointment_id}}}).encode()


def send(client, body, headers, source="heim"):
    return client.request("POST", f"/webhooks/{source}", key=None, data=body, headers=headers)


def reconcile(client):
    """What is due now is read; the time it would take to be due is skipped."""
    source, ledger = client.facade.sources["heim"], client.facade.ledger
    now = ledger.clock.now
    ledger.clock.now = lambda: now() + 2
    try:
        while client.facade.reconciler.tick(source):
            pass
    finally:
        del ledger.clock.now


def test_an_edit_in_the_source_is_a_new_recorded_version(client, simulator):
    first = client.cancel("apt_1", SEED.replace("1839594", "apt_1"))
    simulator.patch("apt_1", {"cancellation": {"reasonCode": "platform_service_issue", "causingEntity": "platform"}})
    assert client.cancel("apt_1").data == first.data
    assert send(client, about("apt_1"), signed(about("apt_1"))).status_code == 202
    reconcile(client)
    second = client.cancel("apt_1")
    assert second.headers["ETag"] == 'W/"2"'
    assert second.json["meta"]["versionId"] == "2"
    assert second.json["status"] == "cancelled"
    assert second.json["cancelationReason"]["coding"][-1]["code"] == "platform_service_issue"
    assert simulator.log.count("cancel") == 1
    kept = [e for e in second.json["extension"] if e["url"].endswith("chargeability")]
    assert kept == [e for e in first.json["extension"] if e["url"].endswith("chargeability")]


def test_an_edit_of_the_causing_entity_is_a_new_version_too(client, simulator):
    client.cancel("apt_1")
    simulator.patch("apt_1", {"cancellation": {"causingEntity": "patient"}})
    send(client, about("apt_1"), signed(about("apt_1")))
    reconcile(client)
    assert client.cancel("apt_1").headers["ETag"] == 'W/"2"'


def test_a_webhook_with_nothing_new_changes_nothing(client):
    first = client.cancel("apt_1")
    send(client, about("apt_1"), signed(about("apt_1")))
    reconcile(client)
    assert client.cancel("apt_1").data == first.data


def test_a_hint_settles_doubt_before_its_next_read_is_due(client, simulator):
    simulator.faults.arm("apt_1", FAULTS["reset-before-commit"], times=1)
    client.cancel("apt_1")
    client.facade.ledger.change(
        ("heim", "apt_1"),
        {"state": "in-doubt"},
        {"read_due": time.time() + 900},
        JournalEntry(event="test"),
    )
    simulator.patch("apt_1", {"status": "cancelled"})
    send(client, about("apt_1"), signed(about("apt_1")))
    reconcile(client)
    assert client.facade.ledger.find(("heim", "apt_1")).state == "cancelled"


def test_a_flood_of_hints_for_one_appointment_is_one_read(client, simulator):
    client.cancel("apt_1")
    before = simulator.log.count("read", "apt_1")
    for n in range(50):
        assert send(client, about("apt_1"), signed(about("apt_1"), message_id=f"msg_{n}")).status_code == 202
    reconcile(client)
    assert simulator.log.count("read", "apt_1") == before + 1


def test_a_lie_is_not_believed(client, simulator):
    simulator.faults.arm("apt_1", FAULTS["reset-before-commit"], times=1)
    client.cancel("apt_1")
    body = json.dumps({"type": "appointment.cancelled", "appointmentId": "apt_1", "status": "cancelled"}).encode()
    for _ in range(3):
        assert send(client, body, signed(body)).status_code == 202
        reconcile(client)
    assert client.cancel("apt_1").json["status"] == "proposed"
    assert simulator.log.count("cancel") == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        signed(about("apt_1"), key=b"another"),
        signed(about("apt_2")),
        signed(about("apt_1"), at=int(time.time()) - 3600),
        {**signed(about("apt_1")), "webhook-timestamp": "soon"},
        {**signed(about("apt_1")), "webhook-signature": "v1,"},
        signed(about("apt_1"), prefix="svix"),
    ],
)
def test_what_is_not_signed_now_and_by_the_source_is_401(client, simulator, headers):
    client.cancel("apt_1")
    response = send(client, about("apt_1"), headers)
    assert response.status_code == 401
    assert client.facade.ledger.find(("heim", "apt_1")).read_due is None


def test_an_unknown_source_is_like_one_without_a_secret(client, make):
    body = about("apt_1")
    unknown = send(client, body, signed(body), source="nowhere")
    without = send(make(), body, signed(body))
    assert (unknown.status_code, without.status_code) == (401, 401)
    assert unknown.data == without.data


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b'{"a": 1, "a": 2}', 400),
        (b"[]", 202),
        (b'{"type": "task.created"}', 202),
        (about("../x"), 202),
        (about("apt_no-such"), 202),
        (b" " * (64 * 1024 + 1), 413),
    ],
)
def test_a_signed_webhook_of_another_kind_does_no_harm(client, simulator, body, status):
    assert send(client, body, signed(body)).status_code == status
    reconcile(client)
    assert simulator.log.entries() == []


def test_the_scheme_and_its_headers_are_configurable(make, monkeypatch):
    monkeypatch.setenv("HEIM_WEBHOOK_SECRET", "plain-secret-of-heim")
    settings = 'webhook_secret_env = "HEIM_WEBHOOK_SECRET"\nwebhook_scheme = "hmac-sha256"\n'
    client = make(settings=settings + 'webhook_signature_header = "X-Heim-Signature"')
    digest = hmac.new(b"plain-secret-of-heim", about("apt_1"), hashlib.sha256)
    for signature in (digest.hexdigest(), "sha256=" + digest.hexdigest(), base64.b64encode(digest.digest()).decode()):
        assert send(client, about("apt_1"), {"X-Heim-Signature": signature}).status_code == 202
    assert send(client, about("apt_1"), {"X-Heim-Signature": "0" * 64}).status_code == 401


# Rotation: several secrets of one source


@pytest.mark.parametrize("kind", ["env", "file"])
def test_several_secrets_of_one_source_verify_while_they_change(make, monkeypatch, tmp_path, kind):
    for name, secret in (("OLD", SECRET), ("NEW", "plain-new-secret"), ("OTHER", "of no one")):
        monkeypatch.setenv(f"HEIM_{name}", secret)
        (tmp_path / f"HEIM_{name}").write_text(secret)
        (tmp_path / f"HEIM_{name}").chmod(0o600)
    client = make(settings=f'webhook_secret_{kind} = ["HEIM_OLD", "HEIM_NEW"]')
    body = about("apt_1")
    for key, status in ((KEY, 202), (b"plain-new-secret", 202), (b"of no one", 401)):
        assert send(client, body, signed(body, key=key)).status_code == status
    alone = make(settings=f'webhook_secret_{kind} = "HEIM_NEW"')
    assert send(alone, body, signed(body)).status_code == 401
    assert send(alone, body, signed(body, key=b"plain-new-secret")).status_code == 202


def test_of_several_secrets_each_verifies_a_plain_hmac(make, monkeypatch):
    monkeypatch.setenv("HEIM_OLD", "the-old-secret-of-heim")
    monkeypatch.setenv("HEIM_NEW", "the-new-secret-of-heim")
    client = make(settings='webhook_secret_env = ["HEIM_OLD", "HEIM_NEW"]\nwebhook_scheme = "hmac-sha256"\n')
    body = about("apt_1")
    for key, status in ((b"the-old-secret-of-heim", 202), (b"the-new-secret-of-heim", 202), (b"other", 401)):
        signature = hmac.new(key, body, hashlib.sha256).hexdigest()
        assert send(client, body, {"X-Signature": signature}).status_code == status


def test_every_secret_is_compared_whichever_matches(make, monkeypatch):
    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b, real=hmac.compare_digest: compared.append(1) or real(a, b))
    monkeypatch.setenv("HEIM_OLD", SECRET)
    monkeypatch.setenv("HEIM_NEW", "the-new-secret-of-heim")
    client = make(settings='webhook_secret_env = ["HEIM_OLD", "HEIM_NEW"]')
    body = about("apt_1")
    counts = []
    for key in (KEY, b"the-new-secret-of-heim", b"of no one"):
        compared.clear()
        send(client, body, signed(body, key=key))
        counts.append(len(compared))
    assert len(set(counts)) == 1


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("[]", "webhook_secret_env: must be one, or an array of 1 to 5"),
        ('["A", "A", "A", "A", "A", "A"]', "webhook_secret_env: must be one, or an array of 1 to 5"),
        ('["HEIM_NOWHERE"]', "webhook_secret_env: the environment variable HEIM_NOWHERE is not set"),
        ("[5]", "webhook_secret_env: must be a string, in quotes"),
        ("5", "webhook_secret_env: must be a string, in quotes"),
    ],
)
def test_wrong_webhook_secrets_are_one_sentence(make, given, problem):
    with pytest.raises(ConfigurationError) as refused:
        make(settings=f"webhook_secret_env = {given}")
    assert refused.value.problems[0].startswith(f"sources.heim.{problem}")
    assert len(refused.value.problems) == 1


def whsec(length):
    return "whsec_" + base64.b64encode(b"k" * length).decode()


@pytest.mark.parametrize(
    ("secret", "scheme", "is_long"),
    [
        ("x", "standard", False),
        ("x" * 15, "standard", False),
        ("x" * 16, "standard", True),
        ("x" * 15, "hmac-sha256", False),
        ("x" * 16, "hmac-sha256", True),
        (whsec(15), "standard", False),
        (whsec(16), "standard", True),
        ("whsec_", "standard", False),
        ("whsec_no-base64", "standard", False),
        (whsec(12), "hmac-sha256", True),  # there it is text
    ],
)
def test_a_webhook_secret_has_at_least_16_characters(make, monkeypatch, secret, scheme, is_long):
    monkeypatch.setenv("HEIM_OLD", SECRET)
    monkeypatch.setenv("HEIM_NEW", secret)
    alone, several = ('webhook_secret_env = "HEIM_NEW"', 'webhook_secret_env = ["HEIM_OLD", "HEIM_NEW"]')
    for setting, which in ((alone, "the secret"), (several, "secret 2 of 2")):
        settings = f'{setting}\nwebhook_scheme = "{scheme}"'
        if is_long:
            make(settings=settings)
            continue
        with pytest.raises(ConfigurationError) as refused:
            make(settings=settings)
        (problem,) = refused.value.problems
        assert problem.startswith(f"sources.heim.webhook_secret_env: {which} is too short: it must have 16 characters")
        assert secret not in problem or secret in ("x", "whsec_")
