"""A source that is not HTTP: one line asks, one line answers, over TCP; its adapter and its behaving simulator."""

import json
import os
import socket
import socketserver
import struct
import threading
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import quote, unquote

from marshmallow import fields

from facade import (
    AppointmentNotFound,
    Capabilities,
    Cause,
    NativeReasons,
    NotExecuted,
    OutcomeUnknown,
    SecretFromEnv,
    SourceAdapter,
    SourcePlugin,
    SourceSettings,
    Support,
    VersionConflict,
    describe,
    remaining,
)
from facade.testing.conformance import TIMINGS
from facade.testing.simulator import BareSimulator, LogEntry
from facade.testing.simulator.faults import RETRY_AFTER, Behaviour, Commit
from tests.support.waiting import join

STATES = {"open": "booked", "gone": "cancelled", "over": "fulfilled"}
CODES = {"PATIENT": "By the patient", "STAFF": "By the staff", "OTHER": "Anything else"}
HL7 = "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason"
MAP = {"pat": "PATIENT", "prov": "STAFF", "maint": "OTHER", "meds-inc": "OTHER", "other": "OTHER"}
REFUSALS = {"refused": Cause.REFUSED, "key": Cause.CREDENTIALS, "busy": Cause.THROTTLED}
LONGEST = 64 * 1024  # bytes of an answer

README = """# line
## What it does
Asks with a line, answers with a line.

## Settings
| setting | default | meaning |
|---|---|---|
| `plugin` | | `"line"` |
| `address`, `key_env` | | where it listens, and the variable that holds the key |
| `identifier_systems`, `code_systems`, `concept_map_file`, `fallback_reason`, `settle_window` | | as everywhere |

```toml
[sources.line]
plugin = "line"
address = "127.0.0.1:7000"
key_env = "LINE_KEY"
```

## Reasons
Three.

## What the response adds
Nothing.

## Simulator
In the same file.
"""


class LineSettings(SourceSettings):
    """Where it listens, and the key."""

    address = fields.String(required=True, metadata=describe("Host and port."))
    key_env = SecretFromEnv(required=True, metadata=describe("Environment variable that holds the key."))


class LineAdapter(SourceAdapter):
    """Asks ``GET key id`` and ``CANCEL key id reason version``, each word percent-encoded; 0 is any version."""

    def __init__(self, config):
        self.config = config
        host, _, port = config.settings["address"].rpartition(":")
        self.address = (host, int(port))
        self.key = config.settings["key_env"].reveal()

    def read(self, appointment_id):
        return self.translate(self.ask("GET", self.key, appointment_id))

    def cancel(self, request, current, permit):
        if current is not None and current.get("status") == "fulfilled":
            raise NotExecuted(Cause.REFUSED, "the appointment is over")
        version = current["meta"]["versionId"] if current is not None else "0"
        words = ("CANCEL", self.key, request.appointment_id, request.native_reason.code, version)
        return self.translate(self.ask(*words, permit=permit))

    def ask(self, *words, permit=None):
        """The JSON of a good answer. Raises AppointmentNotFound, NotExecuted, OutcomeUnknown."""
        line = self.line(*words)
        if not remaining():
            raise NotExecuted(Cause.TIMEOUT, "no time left")
        try:
            connection = socket.create_connection(self.address, timeout=remaining())
        except OSError:
            raise NotExecuted(Cause.UNREACHABLE, "no connection") from None
        with connection:
            if permit is not None:
                permit()
            try:
                connection.sendall(line)
                answer = self.answer(connection)
            except TimeoutError:
                raise OutcomeUnknown(Cause.TIMEOUT, "no answer in time") from None
            except OSError:
                raise OutcomeUnknown(Cause.CONNECTION_LOST, "the connection broke") from None
        return self.evaluate(answer)

    def line(self, *words):
        try:
            if not all(words):
                raise NotExecuted(Cause.INTERNAL, "an empty word cannot be sent")
            return " ".join(quote(word, safe="") for word in words).encode() + b"\n"
        except UnicodeEncodeError:
            raise NotExecuted(Cause.INTERNAL, "the id is no text") from None

    def answer(self, connection):
        received = b""
        while not received.endswith(b"\n"):
            connection.settimeout(remaining() or 1e-6)
            more = connection.recv(4096)
            received += more
            if not more or len(received) > LONGEST:
                raise OutcomeUnknown(Cause.UNREADABLE, "the answer is cut off or too long")
        return received

    def evaluate(self, answer):
        try:
            word, _, rest = answer.decode("ascii").strip().partition(" ")
            if word == "ERR":
                raise self.error(rest)
            found = json.loads(rest) if word == "OK" else None
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise OutcomeUnknown(Cause.UNREADABLE, "the answer means nothing")
        return found

    def error(self, words):
        word, _, seconds = words.partition(" ")
        if word in REFUSALS:
            return NotExecuted(
                REFUSALS[word], f"ERR {word}", retry_after=float(seconds) if seconds.isdecimal() else None
            )
        return {"unknown": AppointmentNotFound(), "stale": VersionConflict()}.get(
            word, OutcomeUnknown(Cause.SERVER_ERROR)
        )

    def translate(self, native):
        elements = {
            "resourceType": "Appointment",
            "id": native.get("ref"),
            "meta": {"versionId": str(native.get("version"))},
            "status": STATES.get(native.get("state")),
            "serviceType": [{"text": native.get("what")}],
            "participant": [{"actor": {"display": native.get("who")}, "status": "needs-action"}],
            "cancelationReason": native.get("why")
            and {"coding": [{"system": self.config.code_system("why"), "code": native["why"]}]},
        }
        return {name: value for name, value in elements.items() if value}


class UnreadableLineAdapter(LineAdapter):
    """The same of a source that only cancels."""

    def read(self, appointment_id):
        raise NotExecuted(Cause.UNSUPPORTED, "there is no read")


class LineSimulator(BareSimulator):
    """Keeps appointments; what its lines cannot show is left out of ``behaviours``."""

    behaviours = frozenset(Behaviour) - {
        Behaviour.HTML_404,
        Behaviour.JSON_404,
        Behaviour.HTML_502,
        Behaviour.HTML_200,
        Behaviour.ACCEPTED_202,
        Behaviour.CUT_HEADERS,
        Behaviour.REDIRECT,
    }
    ended_id = "apt_over"
    odd_status_id = "apt_parked"

    def listener(self, host, port, timings):
        """Lines over TCP."""
        return served(self, host, port, timings)

    def seeds(self, now):
        states = {**dict.fromkeys(self.fault_ids(), "open"), "apt_over": "over", "apt_parked": "parked"}
        return {
            ref: {"ref": ref, "version": 1, "state": state, "who": "CANARY Smith", "what": "physiotherapy"}
            for ref, state in states.items()
        }

    def put(self, appointment_id, native):
        """As given, in a new version."""
        super().put(appointment_id, {**native, "version": native.get("version", 1) + 1})

    codes = CODES

    def spelled(self, ref):
        """An id as it is kept here."""
        return ref

    def logged(self, why):
        """What the log keeps of a reason, as the source writes it."""
        return why

    def act(self, operation, ref, why, version):
        """The good or bad answer to one line, after it was obeyed."""
        native = self.get(ref)
        if native is None:
            return "ERR unknown"
        if operation == "cancel":
            if version not in ("0", str(native["version"])):
                return "ERR stale"
            if native["state"] != "open" or why not in self.codes:
                return "ERR refused"
            self.put(ref, {**native, "state": "gone", "why": why})
        return f"OK {json.dumps(self.get(ref))}"


class CaselessSimulator(LineSimulator):
    """The same of a source that takes no notice of an id's case; it keeps and answers lower case."""

    def equal_ids(self, appointment_id):
        return (appointment_id.upper(), appointment_id.title())

    def spelled(self, ref):
        return ref.lower()


SHOWN = {
    Behaviour.SERVER_ERROR: "ERR internal",
    Behaviour.UNAUTHORIZED: "ERR key",
    Behaviour.REFUSED: "ERR refused",
    Behaviour.THROTTLED: "ERR busy",
    Behaviour.THROTTLED_FOR: f"ERR busy {RETRY_AFTER}",
    Behaviour.EMPTY_200: "",
    Behaviour.GARBAGE_200: "\x80\xff\x00",
    Behaviour.OTHER_JSON_200: 'OK [{"state": "gone"}]',
    Behaviour.ERROR_200: 'OK {"error": "refused"}',
}


class _Handler(socketserver.StreamRequestHandler):
    def handle(self):
        simulator, stopping = self.server.simulator, self.server.stopping  # type: ignore[attr-defined]  # set or patched by the test
        with simulator.connections.open():
            line = self.rfile.readline(LONGEST)
        if not line:
            return
        words = [unquote(word) for word in line.decode("latin-1").split()]
        verb, _, ref, why, version = (*words, *[None] * 5)[:5]
        ref = ref and simulator.spelled(ref)
        operation = {"GET": "read", "CANCEL": "cancel"}.get(verb)  # type: ignore[arg-type]  # a double, or known to be there
        entry = LogEntry(method=verb, path=verb, operation=operation, appointment=ref, body=simulator.logged(why))  # type: ignore[arg-type]  # a double, or known to be there
        with simulator.lock:
            revision, reset_count = simulator.revision, simulator.reset_count
            fault = simulator.faults.take(ref, operation)
            acts = fault is None or fault.operation == "read" or fault.commit is Commit.YES
            shows = fault is not None and fault.behaviour is Behaviour.UNCHANGED_200
            own = simulator.act("read" if shows else operation, ref, why, version) if acts or shows else ""
            if fault is not None and fault.behaviour is Behaviour.ABOUT_ANOTHER:
                with simulator.undone():
                    own = simulator.act("cancel", ref, why, version).replace(f'"{ref}"', f'"{simulator.new_id()}"')
            simulator.log.record(replace(entry, fault=fault and fault.name, changed=simulator.revision != revision))
        if fault and fault.commit is Commit.LATE:
            waiting = (entry, why, version, fault, reset_count)
            threading.Thread(target=self.commit_late, args=waiting, daemon=True).start()
        self.say(fault and fault.behaviour, own, stopping)

    def commit_late(self, entry, why, version, fault, reset_count):
        if self.server.stopping.wait(self.server.timings.late_commit):  # type: ignore[attr-defined]  # set or patched by the test
            return
        simulator = self.server.simulator  # type: ignore[attr-defined]  # set or patched by the test
        with simulator.lock:
            if simulator.reset_count == reset_count:
                simulator.act("cancel", entry.appointment, why, version)
                late = LogEntry(operation="late-commit", appointment=entry.appointment, fault=fault.name, changed=True)
                simulator.log.record(late)

    def say(self, answer, own, stopping):
        line = f"{SHOWN.get(answer, own)}\n".encode("latin-1")
        if answer is Behaviour.SILENCE:
            stopping.wait(self.server.timings.silence)  # type: ignore[attr-defined]  # set or patched by the test
        elif answer is Behaviour.RESET:
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.request.detach())
        elif answer is Behaviour.SLOW_DRIP:
            for byte in line:
                self.wfile.write(bytes([byte]))
                if stopping.wait(self.server.timings.drip):  # type: ignore[attr-defined]  # set or patched by the test
                    break
        elif answer is Behaviour.ENDLESS:
            while not stopping.wait(0.01):
                self.wfile.write(b" " * 65536)
        else:
            self.wfile.write({Behaviour.CUT_BODY: line[: len(line) // 2], Behaviour.TWICE: line * 2}.get(answer, line))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """A client that hung up is nothing to print."""


@contextmanager
def served(simulator, host="127.0.0.1", port=0, timings=TIMINGS):
    """Serve it; gives ``host:port``."""
    simulator.reset()
    with _Server((host, port), _Handler) as server:
        server.simulator, server.stopping, server.timings = simulator, threading.Event(), timings  # type: ignore[attr-defined]  # set or patched by the test
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield "{}:{}".format(*server.server_address)
        finally:
            server.stopping.set()  # type: ignore[attr-defined]  # set or patched by the test
            server.shutdown()
            join(thread)


CAN = Capabilities(versioned_writes=Support.FULL, lacks=frozenset({"slot", "appointmentType"}))


def reasons(mapped=MAP, codes=CODES, plugin="line"):
    """The source's reasons and how HL7's lead to them, by parent for the most part."""
    element = [{"code": hl7, "target": [{"code": own, "equivalence": "wider"}]} for hl7, own in mapped.items()]
    group = {"source": HL7, "target": f"urn:fhir-facade:{plugin}:why", "element": element}
    resource = {"resourceType": "ConceptMap", "status": "active", "group": [group]}
    return NativeReasons(name="why", codes=codes, concept_map=resource, fallback="OTHER")


def declared(adapter=LineAdapter, **changes):
    """The declaration, with another adapter or other facts."""
    facts = {
        "api": "1.0",
        "name": "line",
        "adapter": adapter,
        "settings": LineSettings,
        "id_pattern": r"[A-Za-z0-9_-]{1,64}",
        "repeat": "errors",
        "reasons": reasons(plugin=changes.get("name", "line")),
        "capabilities": CAN,
        "simulator": LineSimulator,
    }
    return SourcePlugin(**{**facts, **changes})


def declared_without_read(**changes):
    """The declaration of the source that only cancels."""
    can = replace(CAN, read=Support.NONE, versioned_writes=Support.NONE)
    return declared(UnreadableLineAdapter, **{"capabilities": can, **changes})
