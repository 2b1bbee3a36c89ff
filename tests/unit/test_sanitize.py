"""What a source's malformed members cost: themselves, never their neighbours, and never a security label."""

import pytest
from facade_heim.adapter import HeimAdapter

from facade.cancellation import native
from facade.errors import Cause, OutcomeUnknown
from facade.fhir import data_absent
from tests.integration.test_responses import BOOKED, completed

ABSENT = data_absent.reference("unknown")
PATIENT = {"resourceType": "Patient", "id": "p", "birthDate": "1971-02-03"}
LABEL = {"system": "urn:labels", "code": "R"}
TO_PATIENT = {"actor": {"reference": "#p"}, "status": "accepted"}


def test_a_malformed_contained_resource_costs_itself_alone():
    contained = [PATIENT, {"resourceType": "Nothing", "id": "n"}, {"id": "x"}, "text", {**PATIENT, "id": "_"}]
    answer, rejected = completed({"contained": contained, "participant": [TO_PATIENT]})
    assert answer["contained"] == [PATIENT]
    assert answer["participant"] == [TO_PATIENT]
    assert rejected == ["contained"]


def test_a_malformed_contained_element_costs_that_element():
    patient = {**PATIENT, "birthDate": "long ago", "gender": "female", "active": "yes"}
    answer, _ = completed({"contained": [patient], "participant": [TO_PATIENT]})
    assert answer["contained"] == [{"resourceType": "Patient", "id": "p", "gender": "female"}]


def test_a_local_reference_that_does_not_resolve_is_data_absent():
    display = {"actor": {"reference": "#gone", "display": "The patient"}, "status": "accepted"}
    answer, _ = completed({"participant": [display], "slot": [{"reference": "#gone"}]})
    actor = answer["participant"][0]["actor"]
    assert "reference" not in actor
    assert actor["display"] == "The patient"
    assert actor["extension"] == [data_absent.extension("unknown")]
    assert answer["slot"] == [ABSENT]


def test_a_reference_to_a_removed_contained_resource_is_removed():
    patient = {**PATIENT, "managingOrganization": {"reference": "#o"}}
    answer, _ = completed({"contained": [patient, {"resourceType": "Nothing", "id": "o"}], "participant": [TO_PATIENT]})
    assert answer["contained"] == [{**PATIENT, "managingOrganization": ABSENT}]


def test_contained_resources_may_refer_to_their_container():
    organization = {"resourceType": "Organization", "id": "o", "name": "Ward"}
    about = {
        "resourceType": "Provenance",
        "id": "q",
        "target": [{"reference": "#"}],
        "recorded": "2026-12-01T09:00:00Z",
    }
    about["agent"] = [{"who": {"reference": "#o"}}]
    answer, rejected = completed({"contained": [organization, about], "participant": [TO_PATIENT]})
    assert answer["contained"] == [organization, about]
    assert rejected == []


def test_an_unreferenced_contained_resource_is_left_out():
    answer, _ = completed({"contained": [PATIENT, {**PATIENT, "id": "other"}], "participant": [TO_PATIENT]})
    assert [resource["id"] for resource in answer["contained"]] == ["p"]


def test_a_malformed_extension_costs_itself_alone():
    good = {"url": "urn:good", "valueString": "x"}
    bad = [
        {"url": "urn:empty", "valueString": ""},
        {"valueString": "x"},
        {"url": "urn:type", "valueBoolean": "true"},
        7,
    ]
    both = {"url": "urn:both", "valueString": "x", "extension": [good]}
    answer, rejected = completed({"extension": [*bad, good, both], "comment": "kept"})
    assert answer["extension"] == [good]
    assert answer["comment"] == "kept"
    assert rejected == ["extension"]


def test_a_malformed_tag_costs_no_security_label():
    label = {"system": "urn:labels", "code": "R"}
    answer, rejected = completed({"meta": {"tag": [{"code": 5}, label], "security": [label]}, "comment": "kept"})
    assert answer["meta"] == {"versionId": "0", "security": [label], "tag": [label]}
    assert (answer["comment"], rejected) == ("kept", ["meta"])


@pytest.mark.parametrize(
    "security",
    [
        [{"system": "urn:labels", "code": 5}],
        [{"system": "urn:labels", "code": "R"}, "V"],
        [{"system": "urn:labels", "code": "R"}, None],
        {"code": "R"},
        "R",
    ],
)
def test_without_security_labels_nothing_native_is_shown(security):
    native_one = {
        "meta": {"security": security},
        "comment": "CANARY",
        "participant": [TO_PATIENT],
        "contained": [PATIENT],
    }
    answer, rejected = completed({**BOOKED, **native_one}, "cancelled")
    assert answer["status"] == "cancelled"
    assert answer["participant"] == [{"actor": data_absent.reference("error"), "status": "needs-action"}]
    assert not {"comment", "contained", "start"} & answer.keys()
    assert "meta" in rejected


def test_a_label_whose_display_is_malformed_is_a_label_still():
    label = {"system": "urn:labels", "code": "R"}
    answer, _ = completed({"meta": {"security": [{**label, "display": 7}]}, "comment": "kept"})
    assert answer["meta"]["security"] == [label]
    assert answer["comment"] == "kept"


def test_every_participant_has_an_actor_and_a_status():
    types = [{"type": [{"text": role}], "status": "accepted"} for role in ("attender", "consultant")]
    coming = [{"actor": {"display": name}, "status": "coming"} for name in ("first", "second")]
    wrong = {"actor": {"display": "third"}, "status": "accepted", "required": "perhaps"}
    answer, rejected = completed({"participant": [*types, *coming, wrong, 7]})
    assert [participant["status"] for participant in answer["participant"]] == ["accepted"] * 2 + [
        "needs-action"
    ] * 2 + ["accepted"]
    assert [participant["actor"] for participant in answer["participant"]] == [
        ABSENT,
        ABSENT,
        {"display": "first"},
        {"display": "second"},
        {"display": "third"},
    ]
    assert answer["participant"][0]["type"] == [{"text": "attender"}]
    assert rejected == ["participant"]


def test_a_repeating_primitives_member_goes_with_its_extension():
    about = [{"id": "a"}, {"id": "b"}, {"id": "c"}]
    patient = {**PATIENT, "name": [{"given": ["First", 2, "Third"], "_given": about}]}
    answer, _ = completed({"contained": [patient], "participant": [TO_PATIENT]})
    assert answer["contained"][0]["name"] == [{"given": ["First", "Third"], "_given": [about[0], about[2]]}]


def test_a_no_show_keeps_its_reason():
    reason = {"text": "did not come"}
    answer, _ = completed({**BOOKED, "status": "noshow"}, "noshow", reason=reason)
    assert answer["cancelationReason"] == reason
    assert "cancelationReason" not in completed({**BOOKED, "status": "noshow"}, "noshow")[0]


@pytest.mark.parametrize(
    "modifier",
    [
        {"modifierExtension": [{"url": "urn:not", "valueBoolean": True}]},
        {"modifierExtension": "malformed"},
        {"implicitRules": "urn:rules"},
        {"participant": [{**TO_PATIENT, "modifierExtension": [{"url": "urn:not", "valueBoolean": True}]}]},
    ],
)
def test_an_appointment_with_a_modifier_is_not_understood(modifier):
    with pytest.raises(OutcomeUnknown) as raised:
        native.checked({"id": "1", "status": "cancelled", **modifier}, "1")
    assert raised.value.cause is Cause.UNREADABLE
    assert "modifier" in raised.value.detail


def test_a_modifier_prevents_cancelling_and_showing(client, simulator, monkeypatch):
    read = HeimAdapter.read
    monkeypatch.setattr(HeimAdapter, "read", lambda self, id_: {**read(self, id_), "implicitRules": "urn:rules"})
    assert client.read("apt_1").status_code == 503
    answer = client.cancel("apt_1").json
    assert (answer["status"], answer["contained"][0]["issue"][0]["code"]) == ("proposed", "processing")
    assert simulator.log.count("cancel") == 0


def test_a_contained_resource_with_a_modifier_is_not_shown():
    patient = {**PATIENT, "modifierExtension": [{"url": "urn:not", "valueBoolean": True}]}
    answer, _ = completed({"contained": [patient], "participant": [TO_PATIENT]})
    assert "contained" not in answer
    assert answer["participant"][0]["actor"] == ABSENT


def test_a_part_with_a_modifier_is_not_shown():
    contacts = [{"name": {"text": "not"}, "modifierExtension": [{"url": "urn:not", "valueBoolean": True}]}]
    contacts.append({"name": {"text": "shown"}})
    bundle = {"resourceType": "Bundle", "id": "b", "type": "collection", "entry": [{"resource": PATIENT}]}
    bundle["entry"].append({"resource": {**PATIENT, "implicitRules": "urn:rules"}})  # type: ignore[attr-defined]  # set or patched by the test
    to_bundle = [{"reference": "#b"}]
    contained = [{**PATIENT, "contact": contacts}, bundle]
    answer, _ = completed({"contained": contained, "participant": [TO_PATIENT], "supportingInformation": to_bundle})
    assert answer["contained"][0] == {**PATIENT, "contact": contacts[1:]}
    assert answer["contained"][1]["entry"] == [{"resource": PATIENT}]


def test_a_huge_appointment_loses_its_largest_members():
    labels = {"security": [{"system": "urn:labels", "code": "R"}]}
    many = [{"text": "x"}] * (native.MAX_MEMBERS + 1)
    found = native.checked({"id": "1", "status": "booked", "reasonCode": many, "meta": labels, "comment": "kept"}, "1")
    assert found.keys() == {"id", "status", "meta", "comment"}
    wide = {"id": "1", "status": "booked", "comment": "CANARY", "meta": {**labels, "tag": [{"code": "x" * 200_000}]}}
    assert native.checked(wide, "1") == {"id": "1", "status": "booked"}


@pytest.mark.parametrize("meta", [[{"security": [{"code": "R"}]}], "R", 7, [LABEL]])
def test_a_meta_that_is_no_object_may_have_held_labels(meta):
    answer, rejected = completed(
        {**BOOKED, "meta": meta, "comment": "CANARY", "participant": [TO_PATIENT]}, "cancelled"
    )
    assert answer["participant"] == [{"actor": data_absent.reference("error"), "status": "needs-action"}]
    assert not {"comment", "start"} & answer.keys()
    assert rejected == ["meta"]


@pytest.mark.parametrize("meta", [None, {}, [], "", {"security": []}, {"security": None}])
def test_a_meta_that_is_empty_held_no_labels(meta):
    assert completed({**BOOKED, "meta": meta, "comment": "kept"}, "cancelled")[0]["comment"] == "kept"


@pytest.mark.parametrize(
    "meta",
    [
        "junk",
        [{"security": [LABEL]}],
        {"security": [{"code": 5}], "tag": [{"code": "x"}]},
        {"security": [LABEL, {**LABEL, "code": ["V"]}]},
        {"security": [LABEL, None]},
        {"security": [LABEL, {}]},
        {"security": LABEL},
        {"security": "R"},
    ],
)
def test_a_contained_resource_without_its_labels_is_not_shown(meta):
    within = {
        "resourceType": "Bundle",
        "id": "b",
        "type": "collection",
        "entry": [{"resource": {**PATIENT, "meta": meta}}],
    }
    contained = [{**PATIENT, "meta": meta}, within, {**PATIENT, "id": "other", "meta": {"security": [LABEL]}}]
    seen = [{"reference": "#other"}, {"reference": "#b"}]
    answer, rejected = completed({"contained": contained, "participant": [TO_PATIENT], "supportingInformation": seen})
    assert answer["contained"] == [{**PATIENT, "id": "other"}]
    assert answer["meta"]["security"] == [LABEL]
    assert answer["participant"] == [{"actor": ABSENT, "status": "accepted"}]
    assert answer["supportingInformation"] == [{"reference": "#other"}, ABSENT]
    assert rejected == ["contained"]


@pytest.mark.parametrize("meta", [{"security": [{**LABEL, "display": 7}]}, {"tag": [5], "security": [LABEL]}])
def test_a_contained_resource_that_keeps_its_labels_is_shown(meta):
    answer, _ = completed({"contained": [{**PATIENT, "meta": meta}], "participant": [TO_PATIENT]})
    assert answer["contained"] == [PATIENT]
    assert answer["meta"]["security"] == [LABEL]  # the whole has it: R4 forbids it where it was (dom-5)


def test_labels_of_contained_resources_are_the_wholes_once():
    other, tag = {**LABEL, "code": "V"}, {"system": "urn:tags", "code": "t"}
    patient = {**PATIENT, "meta": {"security": [other, LABEL], "tag": [tag]}}
    answer, _ = completed({"meta": {"security": [LABEL]}, "contained": [patient], "participant": [TO_PATIENT]})
    assert answer["contained"] == [{**PATIENT, "meta": {"tag": [tag]}}]
    assert answer["meta"]["security"] == [LABEL, other]
    unreferenced, _ = completed({"contained": [patient]})
    assert "security" not in unreferenced["meta"]


@pytest.mark.parametrize("meta", [None, {}, [], "", {"security": []}, {"security": None}, {"tag": [LABEL]}])
def test_a_later_answer_without_labels_takes_none_away(meta):
    found = native.merge({"status": "booked", "meta": {"security": [LABEL]}}, {"status": "cancelled", "meta": meta})
    assert found["meta"]["security"] == [LABEL]


def test_a_later_response_has_labels_of_its_own():
    other = {"security": [{**LABEL, "code": "V"}]}
    for meta in (other, "junk", [LABEL], {"security": "junk"}):
        found = native.merge({"meta": {"source": "urn:x", "security": [LABEL]}}, {"meta": meta})["meta"]
        assert found == ({"source": "urn:x", **meta} if isinstance(meta, dict) else meta)
    assert native.merge({"meta": "junk"}, {"meta": {"tag": [LABEL]}})["meta"] == "junk"
    assert native.merge({"meta": "junk"}, {"meta": None})["meta"] == "junk"
    assert native.merge({"meta": "junk"}, {"meta": other})["meta"] == other
    assert native.merge({"meta": {"security": "junk"}}, {"meta": {"security": []}})["meta"] == {"security": "junk"}


def test_a_contained_resource_holds_no_other_and_has_no_version():
    meta = {"versionId": "3", "lastUpdated": "2026-01-01T10:00:00Z", "security": [LABEL]}
    nested = {**PATIENT, "contained": [{"resourceType": "Organization", "id": "o"}], "meta": meta}
    nested["managingOrganization"] = {"reference": "#o"}
    answer, rejected = completed({"contained": [nested], "participant": [TO_PATIENT]})
    assert answer["contained"] == [{**PATIENT, "managingOrganization": ABSENT}]
    assert answer["meta"]["security"] == [LABEL]
    assert rejected == ["contained"]
    answer, _ = completed({"contained": [{**PATIENT, "meta": {"versionId": "3"}}], "participant": [TO_PATIENT]})
    assert answer["contained"] == [PATIENT]


@pytest.mark.parametrize("other", ["p", " p ", "p\x00"])
def test_of_contained_resources_with_one_id_none_is_shown(other):
    contained = [PATIENT, {**PATIENT, "id": other, "birthDate": "1999-09-09"}, {**PATIENT, "id": "q"}]
    answer, rejected = completed({"contained": contained, "participant": [TO_PATIENT, {"actor": {"reference": "#q"}}]})
    assert answer["contained"] == [{**PATIENT, "id": "q"}]
    assert answer["participant"][0] == {"actor": ABSENT, "status": "accepted"}
    assert rejected == ["contained"]


BACKWARD = [
    ("2027-01-01", "2026-01-01"),
    ("2027", "2026-12-31"),
    ("2026-02", "2026-01-31T23:00:00Z"),
    ("2026-01-01T11:00:00Z", "2026-01-01T10:00:00Z"),
    ("2026-01-01T10:00:00Z", "2026-01-01T10:30:00+02:00"),
    ("2026-01-01T10:00:00.5Z", "2026-01-01T10:00:00.25Z"),
]
FORWARD = [
    ("2026-01-01", "2026-01-01"),
    ("2026", "2026-01-01"),
    ("2026-05", "2026"),
    ("2026-01-01T10:00:00+02:00", "2026-01-01T09:30:00Z"),
    ("2026-01-01T10:00:00Z", "2026-01-01"),
    ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00Z"),
]


@pytest.mark.parametrize(("start", "end"), BACKWARD)
def test_a_period_that_ends_before_it_begins_is_left_out(start, end):
    period, good = {"start": start, "end": end}, {"start": "2026-01-01", "end": "2026-01-02"}
    participant = {**TO_PATIENT, "period": period}
    patient = {**PATIENT, "name": [{"family": "F", "period": period}]}
    answer, rejected = completed(
        {"requestedPeriod": [period, good], "participant": [participant], "contained": [patient]}
    )
    assert answer["requestedPeriod"] == [good]
    assert answer["participant"] == [TO_PATIENT]
    assert answer["contained"] == [{**PATIENT, "name": [{"family": "F"}]}]
    assert set(rejected) == {"requestedPeriod", "participant", "contained"}


@pytest.mark.parametrize(("start", "end"), FORWARD)
def test_a_period_that_may_end_after_it_begins_is_kept(start, end):
    period = {"start": start, "end": end}
    assert completed({"requestedPeriod": [period]})[0]["requestedPeriod"] == [period]


XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'
INACTIVE = [
    f"<div {XHTML}>Booked</div>",
    f'<div {XHTML} xml:lang="no"><!-- on --><p class="a" style="color: red">Br&#xF8;d <b>&amp;</b><br/></p></div>',
    f'<div {XHTML}><table border="1"><tbody><tr><td colspan="2">x</td></tr></tbody></table><a href="#a">a</a></div>',
    f'<div {XHTML}><img src="data:image/png;base64,AAAA" alt="x"/><a href="https://x.example/a:b">x</a></div>',
    f'<div {XHTML}><a href="Patient/1" name="n">x</a></div>',
]
ACTIVE = [
    "<p>no div</p>",
    "Booked",
    "<div>no namespace</div>",
    f"<p {XHTML}>no div</p>",
    f"<div {XHTML}>not well-formed",
    f"<div {XHTML}>a&nbsp;b</div>",
    f"<div {XHTML}> <p/></div>",
    f"<div {XHTML}>a</div><div {XHTML}>b</div>",
    f"<div {XHTML}>a<script>alert(1)</script></div>",
    f"<div {XHTML}>a<SCRIPT>alert(1)</SCRIPT></div>",
    f'<div {XHTML}>a<iframe src="https://x.example"/></div>',
    f"<div {XHTML}>a<form><input/></form></div>",
    f"<div {XHTML}>a<object/></div>",
    f"<div {XHTML}>a<style>p {{}}</style></div>",
    f'<div {XHTML} onclick="alert(1)">a</div>',
    f'<div {XHTML}>a<a href="javascript:alert(1)">b</a></div>',
    f'<div {XHTML}>a<a href=" java&#10;script:alert(1)">b</a></div>',
    f'<div {XHTML}>a<a href="data:text/html,x">b</a></div>',
    f'<div {XHTML}>a<img src="vbscript:x"/></div>',
    f'<div {XHTML}>a<p style="background: URL(https://x.example)">b</p></div>',
    f'<div {XHTML}>a<svg xmlns="http://www.w3.org/2000/svg"/></div>',
    f'<!DOCTYPE div [<!ENTITY a "b">]><div {XHTML}>&a;</div>',
    f"<?xml-stylesheet href='x'?><div {XHTML}>a</div>",
    f"<div {XHTML}>a<?php x ?></div>",
    f"<div {XHTML}>a<!--><script>alert(1)</script>--></div>",
    f"<div {XHTML}>a<![CDATA[<script>alert(1)</script>]]></div>",
    '<x:div xmlns:x="http://www.w3.org/1999/xhtml">a</x:div>',
]


@pytest.mark.parametrize("div", ACTIVE)
def test_a_narrative_that_is_no_plain_xhtml_div_is_left_out(div):
    text = {"status": "generated", "div": div}
    given = {"status": "proposed", "text": text, "contained": [{**PATIENT, "text": text}], "participant": [TO_PATIENT]}
    answer, rejected = completed(given)
    assert "text" not in answer
    assert answer["contained"] == [PATIENT]
    assert rejected == ["text", "contained"]


@pytest.mark.parametrize("div", INACTIVE)
def test_a_narrative_of_plain_xhtml_is_kept(div):
    text = {"status": "generated", "div": div}
    assert completed({"status": "proposed", "text": text})[0]["text"] == text
