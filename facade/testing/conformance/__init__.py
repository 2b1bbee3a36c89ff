"""The conformance kit: what every source's adapter must do, as tests that its author inherits."""

from facade.testing.conformance.base import TIMINGS
from facade.testing.conformance.declaration import Declared
from facade.testing.conformance.failures import Faulty
from facade.testing.conformance.happy_path import Ordinary
from facade.testing.conformance.responses import Answers
from facade.testing.conformance.secrecy import Secrecy
from facade.testing.conformance.write_permits import WritePermits

__all__ = ["TIMINGS", "SourceConformance"]


# pytest begins with the last of them: what is declared, and the ordinary, come before what fails.
class SourceConformance(Secrecy, Faulty, WritePermits, Answers, Ordinary, Declared):
    """Every test that a source passes, run through the real use case on a real ledger.

    A plugin's whole test file::

        from facade.testing.conformance import SourceConformance


        class TestPaper(SourceConformance):
            plugin = "paper"
            secrets = {"PAPER_KEY": "test_CANARY-key"}

            def settings(self, url):
                return {"base_url": url, "api_key_env": "PAPER_KEY"}

    **Must** be given: ``plugin``, the entry point's name; ``settings(url)``, the source's table in the
    configuration without ``plugin``, where ``url`` is where the simulator is reached; ``secrets``, the environment
    variables that the settings and the README's examples name, and ``files``, name → text, the files that they
    name, where there are any.

    **May** be overridden: ``serve(simulator)``, a context manager that serves the simulator and gives what
    ``settings`` gets, for a source that is not HTTP (serve it with ``TIMINGS``); ``source_system()``, the
    declaration under test, by default the installed plugin's; ``readme()``, the README's text. What the source
    cannot show is said by its simulator: ``answers``, ``ended_id``, ``odd_status_id``.

    **Must never** be overridden: a test, and the fixtures ``bench``, ``trial`` and ``under``. A test that cannot
    apply skips itself and says whether the source *cannot* or the plugin does *not yet*.

    New tests may appear in minor releases of fhir-facade, never in patch releases; CHANGELOG.md announces each.
    """
