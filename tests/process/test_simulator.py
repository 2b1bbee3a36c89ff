"""A process that serves a simulator ends on an interrupt."""

import signal
import subprocess
import sys

import pytest
import requests

from tests.integration.test_simulator import KEY
from tests.support.waiting import LIMIT


def test_an_interrupt_ends_a_process_that_serves() -> None:
    program = (
        "from facade.testing.simulator.host import serve\n"
        "from facade_heim.simulator import HeimSimulator\n"
        "try:\n"
        "    with serve({'heim': HeimSimulator()}) as host:\n"
        "        print(host.url, flush=True)\n"
        "        host.wait()\n"
        "except KeyboardInterrupt:\n"
        "    print('stopped')\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            with pytest.raises(requests.ReadTimeout):
                requests.get(f"{url}/heim/v1/appointments/apt_read-timeout", headers=KEY, timeout=0.1)
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=LIMIT) == ("stopped\n", "")
        finally:
            process.kill()
