"""Run the conformance kit against Paper's plugin."""

from typing import Any

from facade.testing.conformance import SourceConformance


class TestPaper(SourceConformance):
    """The kit's tests, against the simulator."""

    plugin = "paper"
    secrets = {"PAPER_API_KEY": "CANARY-key"}

    def settings(self, url: str) -> dict[str, Any]:
        """Return the settings as an operator would write them."""
        return {"base_url": url, "api_key_env": "PAPER_API_KEY"}
