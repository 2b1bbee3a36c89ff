"""A client of the sandbox's control API: new appointments, armed faults, and the source's log as evidence."""

import json
from functools import cached_property
from typing import Any
from urllib.parse import quote

from facade.errors import ConfigurationError
from facade.testing.simulator.faults import FAULTS
from facade.verify.check import Skipped
from facade.verify.http import NoResponse, exchange

_PATIENCE = 30.0


class Sandbox:
    """One simulator behind a control API at ``url``. ``template`` names the appointment that new ones copy."""

    def __init__(self, url: str, simulator: str, template: str | None = None) -> None:
        self.url = url.rstrip("/")
        self.simulator = simulator
        self._template = template

    @cached_property
    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = self._call("GET", "facts")
        return facts

    @property
    def address(self) -> str:
        """Where a facade reaches the source."""
        return self._facts["address"] or f"{self.url}/{self.simulator}"

    @property
    def readable(self) -> bool:
        """Whether the source's plugin declares that it is read; True if the sandbox does not know the plugin."""
        declared = self._facts["capabilities"]
        return declared is None or declared["read"] == "full"

    def only_if_readable(self) -> None:
        """Raise Skipped for a source that is not read."""
        if not self.readable:
            raise Skipped("the source has no reads, or its plugin does not use them")

    def shows(self, fault: str) -> bool:
        """Return whether the source can fail this way: its transport can show it, and a read fault needs reads."""
        return fault in self._facts["faults"] and (self.readable or FAULTS[fault].operation == "cancel")

    def one_of(self, *faults: str) -> str:
        """Return the first of these faults that the source can show. Raises Skipped if it can show none."""
        for fault in faults:
            if self.shows(fault):
                return fault
        if all(FAULTS[fault].operation == "read" for fault in faults):
            self.only_if_readable()
        how = " or ".join(FAULTS[fault].behaviour.value for fault in faults)
        raise Skipped(f"the sandbox's {self.simulator} cannot show a source that {how}")

    def create(self, fault: str | None = None, *, times: int | None = None, like: str | None = None) -> str:
        """Create an appointment that no facade has a record of, and return its id.

        The fault is armed for it, for ``times`` requests or for all.
        """
        model = like or self._template
        created = self._call("POST", "appointments", {"like": model} if model else {})
        appointment_id: str = created["id"]
        if fault is not None:
            self.arm(appointment_id, fault, times)
        return appointment_id

    def replace(self, appointment_id: str, *, like: str) -> None:
        """Replace an appointment by a copy of another one's current state, under its own id."""
        self._call("POST", "appointments", {"like": like, "id": appointment_id})

    def arm(self, appointment_id: str, fault: str, times: int | None = None) -> None:
        """Arm a fault, for ``times`` requests or for all. Raises Skipped if the source cannot show it."""
        self.one_of(fault)
        body = {"appointment": appointment_id, "fault": fault}
        self._call("POST", "faults", body if times is None else {**body, "times": times})

    def disarm(self, appointment_id: str) -> None:
        """Disarm the faults of an appointment."""
        self._call("DELETE", f"faults?appointment={quote(appointment_id, safe='')}")

    def record(self, appointment_id: str) -> Any:
        """Return the native record."""
        return self._call("GET", f"appointments/{quote(appointment_id, safe='')}")

    def put(self, appointment_id: str, record: Any) -> None:
        """Store a native record under this id, whatever id it contains."""
        self._call("PUT", f"appointments/{quote(appointment_id, safe='')}", record)

    def remove(self, appointment_id: str) -> None:
        """Remove an appointment from the source."""
        self._call("DELETE", f"appointments/{quote(appointment_id, safe='')}")

    def chance(self) -> float:
        """Return the share of requests that fail by chance, from 0 to 1."""
        share: float = self._call("GET", "chance")["share"]
        return share

    def log(self, appointment_id: str | None = None) -> list[dict[str, Any]]:
        """Return the requests that the source received, about one appointment or all, oldest first."""
        query = f"?appointment={quote(appointment_id, safe='')}" if appointment_id else ""
        entries: list[dict[str, Any]] = self._call("GET", f"log{query}")["entries"]
        return entries

    def cancels(self, appointment_id: str) -> int:
        """Count the native cancels that the source received for this appointment, with or without a response."""
        return sum(entry["operation"] == "cancel" for entry in self.log(appointment_id))

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        target = f"/_control/{quote(self.simulator, safe='')}/{path}"
        headers = {"Content-Type": "application/json"}
        try:
            response = exchange(self.url, method, target, headers=headers, body=data, patience=_PATIENCE)
        except NoResponse as error:
            raise ConfigurationError(
                f"no sandbox at {self.url} ({error}); start one with `facade sandbox`, or name it with --sandbox"
            ) from None
        try:
            found = json.loads(response.body)
        except ValueError:
            found = None
        if response.status == 200 and found is not None:
            return found
        why = found.get("error") if isinstance(found, dict) else None
        raise ConfigurationError(
            f"the sandbox at {self.url}: {why}"
            if why
            else f"the server at {self.url} is not a sandbox (HTTP {response.status}); name the sandbox with --sandbox"
        )
