"""The conformance kit: tests that the author of a plugin inherits, and that every adapter must pass."""

from facade.testing.conformance.base import TIMINGS
from facade.testing.conformance.declaration import Declaration
from facade.testing.conformance.failures import Failures
from facade.testing.conformance.happy_path import HappyPath
from facade.testing.conformance.responses import Responses
from facade.testing.conformance.secrecy import Secrecy
from facade.testing.conformance.write_permits import WritePermits

__all__ = ["TIMINGS", "SourceConformance"]


# pytest begins with the last base class: the declaration and the happy path come before the failures.
class SourceConformance(Secrecy, Failures, WritePermits, Responses, HappyPath, Declaration):
    """The tests that every source's plugin passes. They run the real use case on a real ledger.

    The whole test file of a plugin::

        from facade.testing.conformance import SourceConformance


        class TestPaper(SourceConformance):
            plugin = "paper"
            secrets = {"PAPER_KEY": "test_CANARY-key"}

            def settings(self, url):
                return {"base_url": url, "api_key_env": "PAPER_KEY"}

    **The author defines**: ``plugin``, the entry point's name; ``settings(url)``, which returns the source's table in
    the configuration without ``plugin``, where ``url`` is the simulator's address; ``secrets``, the environment
    variables that the settings and the README's examples name; ``files``, file name → text, the files that they name.

    **The author may override**: ``serve(simulator)``, a context manager that serves the simulator and gives the address
    for ``settings``, for a source that is not HTTP (serve it with ``TIMINGS``); ``source_plugin()``, the declaration
    under test, by default the installed plugin's; ``readme()``, the README's text. The simulator states what the source
    cannot show: ``behaviours``, ``ended_id``, ``odd_status_id``.

    **The author must not override** a test, or the fixtures ``harness``, ``trial`` and ``fault_run``. A test that does
    not apply is skipped. The reason begins with *not supported* (the source has no such feature) or *not implemented*
    (the plugin does not use the feature).

    New tests may appear in minor releases of fhir-facade, never in patch releases; CHANGELOG.md announces each.
    """
