"""Ids that lead elsewhere when they are pasted into a path, a query, a line or a segment, by what is in them."""

HOSTILE = {
    "a dot alone": ".",
    "two dots alone": "..",
    "a way up": "x/../{}",
    "a slash at the end": "{}/",
    "a slash at the start": "/{}",
    "an encoded way up": "%2e%2e",
    "an encoded slash": "x%2F..%2F{}",
    "a query": "{}?x=1",
    "a fragment": "{}#x",
    "a backslash": "{}\\x",
    "a space": "{} x",
    "a line's end": "{}\n",
    "a second line": "{}\r\nx: y",
    "a zero": "{}\x00",
    "a file separator": "{}\x1c\r",
    "half a surrogate pair": "{}\ud800",
    "ten thousand characters": "x" * 10_000,
}
"""Around an ordinary id, so that a wrong turn is seen at the appointment it leads to."""
