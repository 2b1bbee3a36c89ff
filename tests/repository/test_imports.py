"""Each import rule is proven by a deliberate violation in a copy of the project."""

import re
import tomllib

import pytest

from tests.support.paths import ROOT
from tests.support.project import run

pytestmark = pytest.mark.timeout(400)  # tools that end after 300 s

CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
NAMES = {contract["id"]: contract["name"] for contract in CONTRACTS}

VIOLATIONS = [
    ("layers", "facade/errors.py", "from facade.observability import logs"),
    ("layers", "facade/setting_fields.py", "from facade.config import Client"),
    ("layers", "facade/fhir/ids.py", "from facade.config import Client"),
    ("layers", "facade/http_client.py", "from facade.fhir import ids"),
    ("layers", "facade/config.py", "from facade.plugin.registry import ConfiguredSource"),
    ("layers", "facade/plugin/registry.py", "from facade.cancellation.budget import Budget"),
    ("layers", "facade/web/auth/api_key.py", "from facade.app import assemble"),
    ("layers", "facade/web/operations/appointments.py", "from facade.testing.simulator.faults import FAULTS"),
    ("layers", "facade/testing/simulator/host.py", "import facade.cli"),
    ("layers", "facade/a_new_module.py", ""),
    ("inside", "facade/web/operations/appointments.py", "from facade import Secret"),
    ("no-plugins", "facade/cli/sandbox/__init__.py", "from facade_heim.simulator import HeimSimulator"),
    ("public-surface", "plugins/facade_heim/adapter.py", "from facade.http_client import HttpClient"),
    ("public-surface", "plugins/facade_heim/adapter.py", "from facade import http_client"),
    ("public-surface", "plugins/facade_heim/simulator.py", "from facade.fhir import ids"),
    ("public-surface", "plugins/facade_fhir_r4/adapter.py", "from facade.fhir.reasons import SYSTEM"),
    ("apart", "plugins/facade_heim/translate.py", "from facade_fhir_r4 import seeds"),
    ("apart", "plugins/facade_fhir_r4/translate.py", "from facade_heim import codes"),
    ("requests", "facade/cli/cancel.py", "import requests"),
    ("requests", "plugins/facade_heim/adapter.py", "from requests import get"),
    ("fhir-resources", "facade/web/operations/metadata.py", "from fhir.resources.R4B.appointment import Appointment"),
    ("fhir-resources", "plugins/facade_heim/schemas.py", "import pydantic"),
    ("fhir-resources", "facade/verify/checks/reasons.py", "import pydantic"),
    ("acceptance", "facade/verify/hl7.py", "from facade.fhir.ids import encode"),
    ("acceptance", "facade/verify/hl7.py", "from facade.web import create_app"),
    ("acceptance", "facade/verify/hl7.py", "import facade.app"),
    ("acceptance", "facade/testing/text_search.py", "from facade.fhir.validation import find_problems"),
    ("flask", "facade/cancellation/service.py", "from flask import request"),
    ("flask", "facade/app.py", "import werkzeug"),
    ("flask", "plugins/facade_heim/translate.py", "from werkzeug.http import parse_date"),
    ("sqlalchemy", "facade/cancellation/repository.py", "from sqlalchemy import select"),
    ("pytest", "facade/testing/simulator/host.py", "import pytest"),
    ("pytest", "facade/testing/simulator/host.py", "from facade.testing import conformance"),
    ("pluggy", "facade/app.py", "import pluggy"),
    ("pluggy", "plugins/facade_heim/__init__.py", "import pluggy"),
]


def broken_contracts(folder):
    """The ids of the contracts that are broken in a copy of the project."""
    done = run("lint-imports", "--no-cache", "--no-logo", cwd=folder, env={"PYTHONPATH": str(folder / "plugins")})
    results = dict(re.findall(r"^(.+?) (KEPT|BROKEN)\b", done.stdout, re.MULTILINE))
    assert set(results) == set(NAMES.values()), done.stdout + done.stderr
    broken = {contract for contract, name in NAMES.items() if results[name] == "BROKEN"}
    assert (done.returncode != 0) == bool(broken)
    return broken


@pytest.fixture
def with_line(clone):
    """Add a line to a module of the clone for the length of a test."""
    undo = []

    def add(module, line):
        path = clone / module
        before = path.read_text("utf-8") if path.exists() else None
        undo.append((path, before))
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{before or ''}\n{line}\n", "utf-8")

    yield add
    for path, before in undo:
        if before is not None:
            path.write_text(before, "utf-8")
        else:
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()


def test_the_clone_breaks_no_contract(clone):
    assert broken_contracts(clone) == set()


@pytest.mark.parametrize(("contract", "module", "line"), VIOLATIONS)
def test_a_forbidden_import_breaks_its_contract_and_no_other(clone, with_line, contract, module, line):
    with_line(module, line)
    assert broken_contracts(clone) == {contract}


def test_the_contracts_know_every_plugin():
    plugins = {folder.name for folder in (ROOT / "plugins").iterdir() if (folder / "__init__.py").exists()}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    assert {"facade", *plugins} == set(settings["root_packages"])


def test_every_contract_is_proven():
    assert {contract for contract, _, _ in VIOLATIONS} == set(NAMES)


def test_an_import_for_types_alone_is_free(clone, with_line):
    with_line(
        "facade/plugin/contract.py",
        "if TYPE_CHECKING:\n    from facade.plugin.registry import ConfiguredSource\n    import requests",
    )
    assert broken_contracts(clone) == set()
