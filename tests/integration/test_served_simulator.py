"""Serving a simulator in a test of one's own, as docs/guides/write-a-source-plugin.md shows it."""

from facade_heim.simulator import HeimSimulator

from facade.testing.simulator.faults import FAULTS, Timings
from facade.testing.simulator.host import serve
from tests.support.process import call

KEY = {"Authorization": "test_key"}


def test_what_the_source_saw():
    simulator = HeimSimulator()
    with serve({"heim": simulator}, timings=Timings(silence=1.0)) as host:
        url = f"{host.source_url('heim')}/v1/appointments/apt_1"  # give your adapter host.source_url(…)
        simulator.faults.arm("apt_1", FAULTS["read-refused"], times=1)
        simulator.clock.advance(3600)  # an hour passes
        assert call("GET", url, headers=KEY).status_code == 422
        assert call("GET", url, headers=KEY).status_code == 200
        assert [entry.fault for entry in simulator.log.entries("apt_1")] == ["read-refused", None]
