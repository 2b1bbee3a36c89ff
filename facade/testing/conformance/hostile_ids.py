"""Ids that reach another resource if they are inserted into a path, a query or a line without encoding."""

HOSTILE = {
    "a dot alone": ".",
    "two dots alone": "..",
    "a path to the parent": "x/../{}",
    "a slash at the end": "{}/",
    "a slash at the start": "/{}",
    "an encoded path to the parent": "%2e%2e",
    "an encoded slash": "x%2F..%2F{}",
    "a query": "{}?x=1",
    "a fragment": "{}#x",
    "a backslash": "{}\\x",
    "a space": "{} x",
    "a line break": "{}\n",
    "a second line": "{}\r\nx: y",
    "a null character": "{}\x00",
    "a file separator": "{}\x1c\r",
    "half a surrogate pair": "{}\ud800",
    "ten thousand characters": "x" * 10_000,
}
"""What the id contains → a template. Most contain an ordinary id: a stray request then names that appointment."""
