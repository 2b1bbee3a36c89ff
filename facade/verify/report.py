"""The report of a run, as text and as JSON."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from facade.verify.catalogue import catalogue
from facade.verify.runner import Result, Run

_SHOWN = 3  # findings of one check; the report counts the others
_WORDS = {"passed": "pass", "failed": "FAIL", "skipped": "skip"}


def as_json(run: Run, results: Sequence[Result], seconds: float) -> str:
    """Return the report as JSON. Its members are stable; docs/reference/verify.md describes them."""
    themes = {check.name: theme for theme, checks in catalogue().items() for check in checks}
    report: dict[str, Any] = {
        "facade": run.facade.url,
        "source": run.facade.source,
        "sandbox": run.sandbox.url,
        "seconds": round(seconds, 1),
        "counts": {outcome: _counted(results)[outcome] for outcome in _WORDS},
        "checks": [
            {
                "name": result.check.name,
                "theme": themes[result.check.name],
                "promise": result.check.promise,
                "outcome": result.outcome,
                "findings": list(result.findings),
                "seconds": round(result.seconds, 2),
            }
            for result in results
        ],
    }
    return json.dumps(report, indent=2, ensure_ascii=False)


def as_text(results: Sequence[Result], seconds: float) -> Iterator[str]:
    """Yield the lines of the report: each theme, then the failed checks with their findings, then the totals."""
    by_name = {result.check.name: result for result in results}
    for theme, checks in catalogue().items():
        found = [by_name[check.name] for check in checks if check.name in by_name]
        if found:
            yield theme
            yield from (_line(result) for result in found)
            yield ""
    failed = [result for result in results if result.outcome == "failed"]
    for result in failed:
        yield f"FAIL  {result.check.name}"
        yield f"      {result.check.promise}"
        yield from (f"      - {finding}" for finding in result.findings[:_SHOWN])
        if len(result.findings) > _SHOWN:
            yield f"      - and {len(result.findings) - _SHOWN} more findings; --json lists them all"
        yield ""
    counts = _counted(results)
    yield f"{len(results)} checks in {seconds:.0f} s: " + ", ".join(
        f"{counts[outcome]} {outcome}" for outcome in _WORDS
    )


def _line(result: Result) -> str:
    line = f"  {_WORDS[result.outcome]}  {result.check.name:<38}{result.seconds:6.1f} s"
    return f"{line}  {result.findings[0]}" if result.outcome == "skipped" else line


def _counted(results: Sequence[Result]) -> Counter[str]:
    return Counter(result.outcome for result in results)
