"""The conformance kit passes for the sources of this project, and its page tells what it tests."""

from facade.testing.conformance import SourceConformance


class TestHeim(SourceConformance):
    plugin = "heim"
    secrets = {"HEIM_API_KEY": "test_CANARY-key"}

    def settings(self, url: str) -> dict:
        return {"base_url": url, "api_key_env": "HEIM_API_KEY", "environment": "test"}
