"""The conformance kit: Heim passes it, and so do sources that are not HTTP; its page lists what it tests."""

from facade.testing.conformance import SourceConformance
from tests import line_source


class TestHeim(SourceConformance):
    plugin = "heim"
    secrets = {"HEIM_API_KEY": "test_CANARY-key"}

    def settings(self, url):
        return {"base_url": url, "api_key_env": "HEIM_API_KEY", "environment": "test"}


class TestLine(SourceConformance):
    """Over TCP, and not installed: everything that may be overridden is."""

    plugin = "line"
    secrets = {"LINE_KEY": "CANARY-key"}

    def settings(self, url):
        return {"address": url, "key_env": "LINE_KEY"}

    def source_system(self):
        return line_source.declared()

    def serve(self, simulator):
        return line_source.served(simulator)

    def readme(self):
        return line_source.README


class TestLineWithoutRead(TestLine):
    def source_system(self):
        return line_source.declared_without_read()
