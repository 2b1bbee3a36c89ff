"""Cancels through a pooler in transaction mode."""

import shutil
import socket
import subprocess
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, make_url

from facade.ledger import migrate
from facade.ledger.engine import connect
from tests.integration import test_ledger_round_trips
from tests.integration.test_ledger_round_trips import cancel
from tests.support.stores import POSTGRESQL, need_postgresql

before = test_ledger_round_trips.before


@contextmanager
def pgbouncer(folder):
    """A pooler in transaction mode in front of a database of its own; each transaction may get another connection."""
    executable = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    if not shutil.which(executable):
        pytest.skip("pgbouncer is not installed here; apt-get install pgbouncer")
    need_postgresql()
    parsed = make_url(POSTGRESQL)
    name = f"facade_{uuid.uuid4().hex[:12]}"
    admin = create_engine(POSTGRESQL, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        user = connection.exec_driver_sql("SELECT current_user").scalar()
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "users.txt").write_text(f'"{user}" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{name} = host={parsed.host or '127.0.0.1'} port={parsed.port or 5432} user={user}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\npool_mode = transaction\n"
        f"default_pool_size = 4\nserver_round_robin = 1\nlogfile = {folder / 'log'}\nunix_socket_dir =\n"
    )
    command = [executable, *(["-u", "nobody"] if user == "root" else []), str(folder / "pgbouncer.ini")]
    folder.chmod(0o777)
    for parent in folder.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o055)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        ends_at = time.monotonic() + 60
        while not _listens(port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < ends_at
            time.sleep(0.02)
        yield f"postgresql+psycopg://{user}@127.0.0.1:{port}/{name}"
    finally:
        process.terminate()
        process.wait(60)
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        admin.dispose()


def _listens(port):
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def test_behind_a_transaction_pooler_each_cancel_is_made_once(tmp_path, before):
    with pgbouncer(tmp_path) as url:
        engine = connect(url)
        migrate.upgrade(engine)
        engine.dispose()
        facades = [before(url) for _ in range(2)]
        adapter = facades[0].sources["heim"].adapter
        facades[1].sources["heim"].adapter.__dict__ = adapter.__dict__  # one source behind both
        start = threading.Barrier(8, timeout=60)

        def work(n):
            start.wait()
            return [cancel(facades[n % 2], f"apt_{number}") for number in range(10)]

        with ThreadPoolExecutor(8) as pool:
            assert {outcome for outcomes in pool.map(work, range(8)) for outcome in outcomes} == {"cancelled"}
        assert adapter.writes == 10
        for facade in facades:
            facade.ledger.engine.dispose()
