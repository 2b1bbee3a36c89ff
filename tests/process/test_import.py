"""What the import of the facade costs."""

import subprocess
import sys
import textwrap


def test_importing_the_facade_does_no_work():
    """No server, no model of FHIR, no plugin, no thread, no log: what a plugin author's module costs at import."""
    code = """
        import sys, threading, logging
        import facade
        heavy = {"flask", "werkzeug", "fhir", "pydantic", "click", "gunicorn", "jmespath", "plugins", "structlog"}
        print(sorted(heavy & set(sys.modules)))
        print(sorted(name for name in sys.modules if name.startswith("facade.")))
        print(threading.active_count(), logging.root.handlers)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, timeout=60
    )
    heavy, modules, work = done.stdout.splitlines()
    assert heavy == "[]"
    for name in (
        "plugin.registry",
        "plugin.discovery",
        "fhir.validation",
        "fhir.appointment",
        "ledger",
        "web",
        "app",
        "cancellation",
        "testing",
        "cli",
        "observability",
    ):
        assert f"'facade.{name}'" not in modules
    assert work == "1 []"
