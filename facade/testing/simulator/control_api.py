"""The simulators' control API: appointments, faults, logs and the clock. JSON in and out; rejects unknown names."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import TypeVar

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from facade.errors import BadRequest, Forbidden, NotFound, RequestError
from facade.plugin.contract import Capabilities
from facade.testing.simulator import BareSimulator, Clock
from facade.testing.simulator.control_bodies import armed_fault, as_json, copied, instant, json_object
from facade.testing.simulator.faults import FAULTS
from facade.testing.simulator.native_records import renamed

_Found = TypeVar("_Found")


def control_app(
    simulators: Mapping[str, BareSimulator],
    clock: Clock,
    capabilities: Mapping[str, Capabilities],
    addresses: Mapping[str, str],
) -> Flask:
    """Build the API for these simulators, by source name. The host mounts it at ``/_control``.

    ``capabilities``: what the plugins declare, for the sources whose plugin is known. ``addresses``: where the sources
    are reached.
    """
    app = Flask("facade.testing.simulator.control_api")
    app.json.sort_keys = False  # type: ignore[attr-defined]  # Flask types the provider by its base class
    app.before_request(_require_json)
    app.register_error_handler(RequestError, _request_error)
    app.register_error_handler(HTTPException, _http_error)
    _host_routes(app, simulators, clock)
    _appointment_routes(app, simulators)
    _fact_routes(app, simulators, capabilities, addresses)
    _fault_routes(app, simulators)
    _log_routes(app, simulators)
    return app


def _host_routes(app: Flask, simulators: Mapping[str, BareSimulator], clock: Clock) -> None:
    @app.get("/faults")
    def list_faults() -> Response:
        return jsonify(
            [
                {
                    "name": fault.name,
                    "operation": fault.operation,
                    "commits": fault.commit.value,
                    "description": fault.description,
                    "endsIn": fault.ends_in,
                }
                for fault in FAULTS.values()
            ]
        )

    @app.post("/reset")
    def reset() -> Response:
        for simulator in simulators.values():
            simulator.reset()
        return jsonify({"reset": list(simulators)})

    @app.get("/time")
    def get_time() -> Response:
        return jsonify({"now": clock.now().isoformat().replace("+00:00", "Z")})

    @app.put("/time")
    def set_time() -> Response:
        body = json_object()
        try:
            match list(body.items()):
                case []:
                    clock.back_to_real_time()
                case [("now", str(text))]:
                    clock.move_to(instant(text))
                case [("advance", int() | float() as seconds)]:
                    clock.advance(seconds)
                case _:
                    raise BadRequest(
                        f'{body} does not set the time. Send {{"now": "2026-01-31T12:00:00Z"}}, '
                        '{"advance": seconds}, or {} for the real time.'
                    )
        except (OverflowError, ValueError) as error:
            raise BadRequest(
                f"The clock cannot be set to that time. Stay within the years 1970 to 2999 ({error})."
            ) from error
        return get_time()


def _appointment_routes(app: Flask, simulators: Mapping[str, BareSimulator]) -> None:
    route = "/<source>/appointments/<appointment_id>"

    @app.post("/<source>/appointments")
    def copy_appointment(source: str) -> Response:
        simulator = _simulator(simulators, source)
        like, appointment_id = copied(json_object())
        if like is None:
            like = next(iter(simulator.fault_ids()))
            native = simulator.seeds(simulator.clock.now())[like]
        else:
            native = _existing(source, like, simulator.get(like))
        appointment_id = appointment_id or simulator.new_id()
        simulator.put(appointment_id, renamed(native, like, appointment_id))
        return jsonify({"id": appointment_id, "appointment": simulator.get(appointment_id)})

    @app.get(route)
    def get_appointment(source: str, appointment_id: str) -> Response:
        return jsonify(_existing(source, appointment_id, _simulator(simulators, source).get(appointment_id)))

    @app.put(route)
    def put_appointment(source: str, appointment_id: str) -> Response:
        simulator = _simulator(simulators, source)
        simulator.put(appointment_id, json_object())
        return jsonify(simulator.get(appointment_id))

    @app.patch(route)
    def patch_appointment(source: str, appointment_id: str) -> Response:
        patched = _simulator(simulators, source).patch(appointment_id, json_object())
        return jsonify(_existing(source, appointment_id, patched))

    @app.post(f"{route}/move")
    def move_appointment(source: str, appointment_id: str) -> Response:
        simulator = _simulator(simulators, source)
        match json_object():
            case {"seconds": int() | float() as seconds, **rest} if not rest and not isinstance(seconds, bool):
                by = seconds
            case body:
                raise BadRequest(f'{body} does not move an appointment. Send {{"seconds": -3600}}.')
        try:
            moved = simulator.move(appointment_id, timedelta(seconds=by))
        except (OverflowError, ValueError) as error:
            raise BadRequest(
                "The appointment cannot be moved to that time. Stay within the years 1 to 9999."
            ) from error
        return jsonify(_existing(source, appointment_id, moved))

    @app.delete(route)
    def delete_appointment(source: str, appointment_id: str) -> Response:
        _existing(source, appointment_id, _simulator(simulators, source).remove(appointment_id) or None)
        return jsonify({"deleted": appointment_id})


def _fact_routes(
    app: Flask,
    simulators: Mapping[str, BareSimulator],
    capabilities: Mapping[str, Capabilities],
    addresses: Mapping[str, str],
) -> None:
    @app.get("/<source>/facts")
    def get_facts(source: str) -> Response:
        simulator, declared = _simulator(simulators, source), capabilities.get(source)
        support = declared and {"read": declared.read.value, "versionedWrites": declared.versioned_writes.value}
        shown = [name for name, fault in FAULTS.items() if fault.behaviour in simulator.behaviours]
        return jsonify({"address": addresses.get(source), "faults": shown, "capabilities": support})


def _fault_routes(app: Flask, simulators: Mapping[str, BareSimulator]) -> None:
    route = "/<source>/faults"

    @app.post(route)
    def arm_fault(source: str) -> Response:
        simulator = _simulator(simulators, source)
        armed = armed_fault(json_object())
        if armed.fault.behaviour not in simulator.behaviours:
            raise BadRequest(
                f'"{source}" cannot show a source that {armed.fault.behaviour.value}. Use another fault: '
                f"GET /_control/{source}/facts names them."
            )
        _existing(source, armed.appointment, simulator.get(armed.appointment))
        simulator.faults.arm(armed.appointment, armed.fault, armed.times)
        return jsonify(as_json(armed))

    @app.get(route)
    def list_armed(source: str) -> Response:
        return jsonify([as_json(armed) for armed in _simulator(simulators, source).faults])

    @app.delete(route)
    def disarm(source: str) -> Response:
        simulator = _simulator(simulators, source)
        simulator.faults.disarm(request.args.get("appointment"))
        return list_armed(source)

    @app.get("/<source>/chance")
    def get_chance(source: str) -> Response:
        chance = _simulator(simulators, source).faults.chance
        return jsonify({"share": chance.share if chance else 0.0})


def _log_routes(app: Flask, simulators: Mapping[str, BareSimulator]) -> None:
    route = "/<source>/log"

    @app.get(route)
    def get_log(source: str) -> Response:
        log = _simulator(simulators, source).log
        appointment_id = request.args.get("appointment")
        return jsonify(
            {
                "cancels": log.count("cancel", appointment_id),
                "reads": log.count("read", appointment_id),
                "entries": [asdict(entry) for entry in log.entries(appointment_id)],
            }
        )

    @app.delete(route)
    def clear_log(source: str) -> Response:
        _simulator(simulators, source).log.clear()
        return get_log(source)


def _require_json() -> None:
    """Reject the kinds of requests that a web page can send anywhere without a CORS preflight."""
    # A chunked body has no Content-Length.
    has_body = bool(request.content_length) or "Transfer-Encoding" in request.headers
    if (has_body or request.method == "POST") and request.mimetype != "application/json":
        raise Forbidden(
            f"The header Content-Type of {request.method} {request.path} is not application/json. "
            "Send Content-Type: application/json, and {} as an empty body."
        )


def _simulator(simulators: Mapping[str, BareSimulator], source: str) -> BareSimulator:
    if source not in simulators:
        raise NotFound(f'There is no source system "{source}" here. Use one of: {", ".join(simulators)}.')
    return simulators[source]


def _existing(source: str, appointment_id: str, found: _Found | None) -> _Found:
    if found is None:
        raise NotFound(
            f'The source system "{source}" has no appointment "{appointment_id}". '
            f"Create it with PUT /_control/{source}/appointments/{appointment_id}."
        )
    return found


def _request_error(error: RequestError) -> tuple[Response, int]:
    return jsonify({"error": error.text}), error.status


def _http_error(error: HTTPException) -> tuple[Response, int]:
    text = (
        f"The control API has no {request.method} {request.path} ({error.name}). Use /time, /reset, /faults, "
        "/<source>/appointments/<id>, /<source>/facts, /<source>/faults, /<source>/chance or /<source>/log "
        "below /_control."
    )
    return jsonify({"error": text}), error.code or 500
