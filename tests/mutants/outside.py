"""Mutants of what meets the world outside: the exchange with a source, ids, and JSON."""

# ruff: noqa: E501 - a guard is quoted as it is written

from tests.mutants.mutant import of

HTTP = "tests/integration/test_http_client.py"
PERMIT = f"{HTTP}::test_the_permit_is_taken_once_before_the_first_byte"
REFUSED = f"{HTTP}::test_a_refused_connection_is_not_executed"
SHAPE = f"{HTTP}::test_any_other_status_in_a_strangers_shape_is_unknown"
OWN = f"{HTTP}::test_the_error_shape_proves_a_refusal_for_five_statuses"
AFTER = f"{HTTP}::test_after_sending_no_fault_is_proof_and_no_write_repeats"
SEGMENT = f"{HTTP}::test_an_id_that_is_no_path_segment_sends_no_byte"
JSON = "tests/unit/test_strict_json.py"

OUTSIDE = [
    *of(
        "facade/http_client.py",
        (
            "the permit is taken before the connection stands",
            "        self._proceed(sock)\n\n    def before_first_byte",
            "        self._proceed(sock)\n        if self._permit is not None:\n            self._permit()\n\n    def before_first_byte",
            PERMIT,
        ),
        (
            "no permit is taken",
            "        if self._permit is not None:\n            try:\n                self._permit()\n            except Exception as error:\n                raise _PermitFailed(error) from error\n",
            "",
            PERMIT,
        ),
        (
            "the first byte leaves before the permit",
            "                    state.before_first_byte(self.sock)\n                    self.begun = True\n                super().send(data)",
            "                    super().send(data)\n                    state.before_first_byte(self.sock)\n                    self.begun = True\n                    return\n                super().send(data)",
            f"{HTTP}::test_an_error_of_the_permit_is_raised_and_nothing_is_sent",
        ),
        (
            "what a permit raises is taken for the network's",
            "                raise _PermitFailed(error) from error\n",
            "                raise\n",
            f"{HTTP}::test_a_permit_that_fails_like_a_network_is_distinguished",
        ),
        (
            "a write is sent after the deadline",
            "        self._proceed(sock, sending=True)\n",
            "        self._sending = True\n",
            f"{HTTP}::test_a_thread_that_wakes_early_sees_that_time_is_over",
        ),
        (
            "a process that was frozen does not check its clock",
            "if self._abandoned or not remaining():",
            "if self._abandoned:",
            f"{HTTP}::test_a_thread_that_wakes_early_sees_that_time_is_over",
        ),
        (
            "what is abandoned is sent",
            "            self._abandoned = True\n",
            "            self._abandoned = False\n",
            f"{HTTP}::test_the_default_deadline_ends_a_call_for_good",
        ),
        (
            "what is abandoned goes on reading",
            "                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)\n",
            "                    pass\n",
            f"{HTTP}::test_what_is_abandoned_hangs_up",
        ),
        (
            "an exchange has no deadline",
            "if not wait([finished], time_left).done:",
            "if not wait([finished], None).done:",
            f"{AFTER}[a body that drips]",
        ),
        (
            "an exchange begins without time",
            "        if not time_left:\n",
            "        if False:\n",
            f"{HTTP}::test_no_time_left_is_not_executed_and_not_connected",
        ),
        (
            "a lost connection after the first byte counts as not executed",
            "            if self._sending:\n",
            "            if False:\n",
            AFTER,
        ),
        (
            "a refused connection is doubt",
            "        return NotExecuted(Cause.UNREACHABLE if cause",
            "        return OutcomeUnknown(Cause.UNREACHABLE if cause",
            REFUSED,
        ),
        (
            "an answer may be of any size",
            "if len(body) > MAX_BODY:",
            "if len(body) > 100 * MAX_BODY:",
            f"{AFTER}[a body over 1 MiB] | {AFTER}[an endless body]",
        ),
        (
            "a write is sent again",
            "super().__init__(max_retries=0)",
            "super().__init__(max_retries=requests.adapters.Retry(1, allowed_methods=None, status_forcelist=[503]))",
            f"{HTTP}::test_a_write_that_the_source_asks_to_repeat_is_not_repeated",
        ),
        (
            "every write is tried twice",
            "return self._exchange(method, path, ids, permit=permit, body=body, headers={**kind, **(headers or {})})",
            "try:\n            return self._exchange(method, path, ids, permit=permit, body=body, headers={**kind, **(headers or {})})\n        except OutcomeUnknown:\n            return self._exchange(method, path, ids, permit=permit, body=body, headers={**kind, **(headers or {})})",
            f"{AFTER}[a reset]",
        ),
        (
            "a read is repeated after any fault",
            "if error.cause not in {Cause.CONNECTION_LOST, Cause.UNREACHABLE} or not remaining():",
            "if not remaining():",
            f"{HTTP}::test_a_read_is_retried_once_after_a_lost_connection",
        ),
        (
            "netrc is read",
            "            contextlib.closing(_SingleExchangeAdapter(state)) as adapter,\n            adapter.send(prepared, stream=True, timeout=timeout) as response,",
            "            requests.Session() as adapter,\n            adapter.send(adapter.mount('http://', _SingleExchangeAdapter(state)) or adapter.prepare_request(request), stream=True, timeout=timeout) as response,",
            f"{HTTP}::test_netrc_is_ignored",
        ),
        (
            "a proxy of the environment is used",
            "adapter.send(prepared, stream=True, timeout=timeout) as response,",
            "adapter.send(prepared, stream=True, timeout=timeout, proxies=requests.utils.getproxies()) as response,",
            f"{HTTP}::test_proxies_of_the_environment_are_ignored",
        ),
        (
            "a redirect is followed",
            "            contextlib.closing(_SingleExchangeAdapter(state)) as adapter,\n            adapter.send(prepared, stream=True, timeout=timeout) as response,",
            "            requests.Session() as adapter,\n            adapter.send(adapter.mount('http://', _SingleExchangeAdapter(state)) or prepared, stream=True, timeout=timeout) as response,",
            f"{HTTP}::test_a_redirect_is_not_followed_and_is_unknown",
        ),
        (
            "calls to a source are not bounded",
            "if not self._slots.acquire(blocking=False):",
            "if self._slots.acquire(blocking=False) is None:",
            f"{HTTP}::test_one_call_too_many_is_refused_and_slots_are_freed",
        ),
        (
            "a slot is lost where no thread can be started",
            "            self._slots.release()\n            raise NotExecuted",
            "            raise NotExecuted",
            f"{HTTP}::test_a_process_out_of_threads_refuses_and_loses_no_slot",
        ),
        (
            "an id may be any part of a path",
            'if value not in {"", ".", ".."} and "/" not in value and "\\\\" not in value:',
            "if True:",
            SEGMENT,
        ),
        (
            "an id is not quoted",
            'return quote(value, safe="")',
            "return value",
            f"{HTTP}::test_any_other_id_arrives_as_exactly_one_segment",
        ),
        ("a stranger's 404 counts as not executed", "    if own_error(response):\n", "    if True:\n", SHAPE),
        ("a stranger's 202 is a success", "if status in {200, 201, 204}:", "if status in {200, 201, 202, 204}:", SHAPE),
        ("a 429 counts as not executed", "if status == 429 and throttles_before_execution:", "if status == 429:", OWN),
        ("a 409 counts as not executed", "422: Cause.REFUSED}\n", "422: Cause.REFUSED, 409: Cause.CONFLICT}\n", OWN),
        (
            "a 500 counts as not executed",
            "422: Cause.REFUSED}\n",
            "422: Cause.REFUSED, 500: Cause.SERVER_ERROR}\n",
            OWN,
        ),
        (
            "what the source says of its patience is lost",
            "    retry_after = response.retry_after()\n",
            "    retry_after = None\n",
            "tests/integration/test_retry_after.py::test_classify_gives_it_to_the_error",
        ),
        (
            "a header cut short is our own fault",
            "Cause.UNREADABLE if cause is Cause.INTERNAL else cause",
            "cause",
            f"{HTTP}::test_an_answer_cut_inside_its_headers_is_unreadable | {AFTER}[two lengths]",
        ),
        (
            "an answer that was not read whole is one",
            "            return HttpResponse(response.status_code, response.headers, bytes(body))",
            "            return HttpResponse(response.status_code, response.headers, b'')",
            f"{HTTP}::test_a_body_of_1_mib_after_decoding_is_read",
        ),
        (
            "a body cut short is an empty one",
            "            for chunk in response.iter_content(16 * 1024):\n                body += chunk\n",
            "            chunks = response.iter_content(16 * 1024)\n            while True:\n                try:\n                    body += next(chunks)\n                except (StopIteration, rx.ChunkedEncodingError):\n                    break\n",
            f"{AFTER}[a body cut short of its length] | {AFTER}[a body cut in a chunk]",
        ),
    ),
]
