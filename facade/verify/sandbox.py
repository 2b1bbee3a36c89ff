"""The sandbox's control API: fresh appointments, armed faults, and the source's own log, which is the proof."""

import json
from functools import cached_property
from typing import Any
from urllib.parse import quote

from facade.errors import ConfigurationError
from facade.testing.simulator.faults import FAULTS
from facade.verify.check import Skipped
from facade.verify.http import NoAnswer, exchange

_PATIENCE = 30.0


class Sandbox:
    """One simulator behind a control API at ``url``. ``template`` names the appointment that fresh ones are like."""

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
        """Where a facade finds the source."""
        return self._facts["address"] or f"{self.url}/{self.simulator}"

    @property
    def readable(self) -> bool:
        """Whether the source's plugin declares that it is read; taken for granted where the sandbox knows no plugin."""
        declared = self._facts["capabilities"]
        return declared is None or declared["read"] == "full"

    def only_if_readable(self) -> None:
        """Raise Skipped for a source that is not read."""
        if not self.readable:
            raise Skipped("the source cannot be read, or its plugin does not read it")

    def shows(self, fault: str) -> bool:
        """Whether the source can fail this way: its transport can show it, and a fault of reads needs reads."""
        return fault in self._facts["faults"] and (self.readable or FAULTS[fault].operation == "cancel")

    def one_of(self, *faults: str) -> str:
        """The first of these that the source can show. Raises Skipped where it can show none."""
        for fault in faults:
            if self.shows(fault):
                return fault
        if all(FAULTS[fault].operation == "read" for fault in faults):
            self.only_if_readable()
        how = " or ".join(FAULTS[fault].behaviour.value for fault in faults)
        raise Skipped(f"the sandbox's {self.simulator} cannot show a source that {how}")

    def fresh(self, fault: str | None = None, *, times: int | None = None, like: str | None = None) -> str:
        """Create an appointment that no facade has seen; its id. A fault is armed for it, ``times`` or for ever."""
        model = like or self._template
        created = self._call("POST", "appointments", {"like": model} if model else {})
        appointment_id: str = created["id"]
        if fault is not None:
            self.arm(appointment_id, fault, times)
        return appointment_id

    def replace(self, appointment_id: str, *, like: str) -> None:
        """Make an appointment of the source a copy of another, as it stands now, under its own id."""
        self._call("POST", "appointments", {"like": like, "id": appointment_id})

    def arm(self, appointment_id: str, fault: str, times: int | None = None) -> None:
        """Arm a fault, so many times or for ever. Raises Skipped for one that the source cannot show."""
        self.one_of(fault)
        wish = {"appointment": appointment_id, "fault": fault}
        self._call("POST", "faults", wish if times is None else {**wish, "times": times})

    def disarm(self, appointment_id: str) -> None:
        """Let the source behave again towards this appointment."""
        self._call("DELETE", f"faults?appointment={quote(appointment_id, safe='')}")

    def record(self, appointment_id: str) -> Any:
        """The native record."""
        return self._call("GET", f"appointments/{quote(appointment_id, safe='')}")

    def put(self, appointment_id: str, record: Any) -> None:
        """Put a native record under this id, whatever id stands in it."""
        self._call("PUT", f"appointments/{quote(appointment_id, safe='')}", record)

    def remove(self, appointment_id: str) -> None:
        """Let the source forget an appointment."""
        self._call("DELETE", f"appointments/{quote(appointment_id, safe='')}")

    def chance(self) -> float:
        """The share of requests that the source lets fail by chance, from 0 to 1."""
        share: float = self._call("GET", "chance")["share"]
        return share

    def log(self, appointment_id: str | None = None) -> list[dict[str, Any]]:
        """What the source saw, of one appointment or of all, oldest first."""
        query = f"?appointment={quote(appointment_id, safe='')}" if appointment_id else ""
        entries: list[dict[str, Any]] = self._call("GET", f"log{query}")["entries"]
        return entries

    def cancels(self, appointment_id: str) -> int:
        """How many native cancels the source received for this appointment, answered or not."""
        return sum(entry["operation"] == "cancel" for entry in self.log(appointment_id))

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        target = f"/_control/{quote(self.simulator, safe='')}/{path}"
        headers = {"Content-Type": "application/json"}
        try:
            answer = exchange(self.url, method, target, headers=headers, body=data, patience=_PATIENCE)
        except NoAnswer as error:
            raise ConfigurationError(
                f"no sandbox at {self.url} ({error}); start one with `facade sandbox`, or name it with --sandbox"
            ) from None
        try:
            found = json.loads(answer.body)
        except ValueError:
            found = None
        if answer.status == 200 and found is not None:
            return found
        why = found.get("error") if isinstance(found, dict) else None
        raise ConfigurationError(
            f"the sandbox at {self.url}: {why}"
            if why
            else f"what answers at {self.url} is no sandbox (HTTP {answer.status}); name it with --sandbox"
        )
