"""A secret is found in every form in which it may leak, and nothing else is taken for one."""

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest

from facade.testing.secret_search import encodings, leaks, without

SECRETS = ["test_CANARY-key", "a/b+c=d?e&f g", 'pä"ss\\wörd<>', "0123456789", "ÿþýüûú>>>???"]
FORMS = {
    "as it is": lambda secret: secret,
    "percent-encoded": lambda secret: quote(secret, safe=""),
    "percent-encoded in lower case": lambda secret: quote(secret, safe="").lower() if "%" in quote(secret) else secret,
    "a path's": quote,
    "a form's": quote_plus,
    "every byte percent-encoded": lambda secret: "".join(f"%{byte:02x}" for byte in secret.encode()),
    "hexadecimal": lambda secret: secret.encode().hex(),
    "HEXADECIMAL": lambda secret: secret.encode().hex().upper(),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64url": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode().rstrip("="),
    "Basic, as password": lambda secret: "Basic " + base64.b64encode(f"user:{secret}".encode()).decode(),
    "Basic, as user": lambda secret: "Basic " + base64.b64encode(f"{secret}:".encode()).decode(),
    "Basic, another user": lambda secret: base64.b64encode(f"me:{secret}:x".encode()).decode(),
    "Basic, yet another": lambda secret: base64.urlsafe_b64encode(f"abc:{secret}".encode()).decode(),
    "JSON": json.dumps,
    "JSON in UTF-8": lambda secret: json.dumps(secret, ensure_ascii=False),
    "XML": html.escape,
    "a repr": repr,
}


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("form", FORMS)
def test_it_is_found_in_every_form(secret, form):
    text = f"sent with {FORMS[form](secret)}, and so on"
    assert leaks(text, secret)
    assert FORMS[form](secret) == secret or any(one in text for one in encodings(secret))


@pytest.mark.parametrize("secret", SECRETS)
def test_what_is_not_the_secret_is_not_found(secret):
    for text in ("", "GET /appointments/apt_1 200", "QmFzaWM=", "test_CANARY", secret[:-1], "0" * 200):
        assert not leaks(text, secret)


def test_a_long_one_is_found_in_base64_of_several_lines():
    secret = "CANARY-" + "k3y" * 40
    broken = base64.encodebytes(b"user:" + secret.encode()).decode()
    assert "\n" in broken.strip()
    for text in (broken, json.dumps(broken), broken.replace("\n", "\r\n")):
        assert leaks(f"sent with {text}", secret)


def test_a_short_piece_of_base64_is_not_searched():
    assert all(len(form) >= 3 for form in encodings("abc"))
    assert leaks("abc", "abc")
    assert not leaks("YWJj", "abc")


def test_what_is_taken_out_is_not_found_any_more():
    secret = SECRETS[0]
    text = " ".join(form(secret) for form in FORMS.values())
    assert not leaks(without(text, secret), secret)
