"""Several facade processes share one native call."""

from facade.testing.simulator.faults import FAULTS
from tests.conftest import remember
from tests.integration.test_at_most_once import CANCEL, all_at_once
from tests.support.process import configuration, facade


def test_several_processes_share_one_native_call(tmp_path, heim, simulator):
    path = configuration(tmp_path, heim.source_url("heim"))
    simulator.faults.arm("apt_1", FAULTS["timeout-after-commit"])
    with facade(path) as one, facade(path) as two:
        calls = [lambda p=p: p.call("POST", "/Appointment/heim/apt_1", json=CANCEL) for p in (one, two) * 3]
        answers = all_at_once(calls)
    assert simulator.log.count("cancel") == 1
    assert {answer.json()["status"] for answer in answers} == {"cancelled"}
    assert len({answer.content for answer in answers}) == 1
    for answer in answers:
        remember(answer.json())
