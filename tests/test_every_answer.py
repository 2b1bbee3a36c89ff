"""Runs last: an R4 validator that shares no code with the facade judges every answer the tests were given."""

import json


def test_every_answer_of_every_test_is_valid_r4(validate, every_answer):
    distinct = list({json.dumps(answer, sort_keys=True): answer for answer in every_answer}.values())
    if not distinct:
        return  # this file was run alone
    found = [(answer, problems) for answer, problems in zip(distinct, validate(distinct), strict=True) if problems]
    assert not found, json.dumps(found[:3], indent=1)
    print(f"{len(distinct)} distinct answers are valid R4")


def test_the_validator_catches_what_it_is_here_for(validate):
    participant = [{"actor": {"display": "x"}, "status": "needs-action"}]
    proposed = {"resourceType": "Appointment", "status": "proposed", "participant": participant}
    wrong = {
        "app-1": {**proposed, "participant": [{"status": "needs-action"}]},
        "app-2": {**proposed, "start": "2026-12-01T09:00:00Z"},
        "app-3": {**proposed, "status": "booked"},
        "app-4": {**proposed, "cancelationReason": {"text": "x"}},
        "Invalid additional property": {**proposed, "cancellationReason": {"text": "R5's spelling"}},
        "Missing required property": {"resourceType": "Appointment", "status": "proposed"},
    }
    for (rule, _), problems in zip(wrong.items(), validate(list(wrong.values())), strict=True):
        assert any(rule in problem for problem in problems), (rule, problems)
    assert validate([proposed]) == [[]]
