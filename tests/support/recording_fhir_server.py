"""A behaving FHIR server that keeps what it receives, and whose answers a test can set."""

from typing import Any

from facade_fhir_r4.simulator import FhirR4Simulator

TOKEN = "test_CANARY-fhir-token"
SOURCE = '[sources.fhir]\nplugin = "fhir_r4"\nbase_url = "{url}"\n{settings}\n'
BY_TOKEN = 'token_env = "FHIR_TOKEN"\n'


class WatchedFhir(FhirR4Simulator):
    """``received`` has method, headers and body of each request; ``canned`` and ``before`` are by method.

    A canned answer takes the place of the server's own; what is to happen before happens as a request arrives.
    """

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.canned: dict[str, Any] = {}
        self.before: dict[str, Any] = {}
        self.received: list[tuple[str, dict[str, Any], bytes]] = []

    def reset(self) -> None:
        super().reset()
        self.stale_status, self.empty_responses, self.strong_tags = 412, False, False
        self.token_life, self.clients = 300, {}
        self.canned, self.before, self.received = {}, {}, []

    def app(self) -> Any:
        own = super().app()

        def app(environ: Any, start_response: Any) -> Any:
            method = environ["REQUEST_METHOD"]
            headers = {name[5:]: value for name, value in environ.items() if name.startswith("HTTP_")}
            headers |= {"CONTENT_TYPE": environ.get("CONTENT_TYPE")}
            self.received.append((method, headers, environ["wsgi.input"].getvalue()))
            self.before.get(method, int)()
            return self.canned.get(method, own)(environ, start_response)

        return app

    def writes(self) -> int:
        """How many PATCHes and PUTs came."""
        return self.log.count("cancel")

    def methods(self) -> list[str]:
        """The methods of all requests, in their order."""
        return [method for method, _, _ in self.received]
