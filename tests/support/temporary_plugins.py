"""Distributions that exist for the length of a test: metadata, an entry point and a module that declares a source."""

import os

from tests.support.paths import ROOT

LINE = """
from dataclasses import replace

from facade import hookimpl
from tests.support import line_source


class Mute(line_source.LineSimulator):
    listener = line_source.BareSimulator.listener


NUMBERS = {"10": "By the patient", "50": "By the staff", "500": "Anything else"}
MAP = {"pat": "10", "prov": "50", "maint": "500", "meds-inc": "500", "other": "500"}


class Numbers(line_source.LineSimulator):
    codes = NUMBERS

    def logged(self, why):
        return {"cancellation": {"reason": int(why)}} if why else None


class Segments(line_source.LineSimulator):
    def logged(self, why):
        return f"SRM|apt_1||{why}^reason^local|" if why else None


def numbers():
    return replace(line_source.reasons(MAP, NUMBERS, "line-numbers"), fallback="500")


@hookimpl
def facade_source_plugin():
    return DECLARED
"""
DECLARED = {
    "line": "line_source.declared()",
    "line-blind": 'line_source.declared_without_read(name="line-blind")',
    "line-numbers": 'line_source.declared(name="line-numbers", simulator=Numbers, reasons=numbers())',
    "line-segments": 'line_source.declared(name="line-segments", simulator=Segments)',
    "line-one": ('line_source.declared(name="line-one", capabilities=replace(line_source.CAN, max_connections=1))'),
    "line-mute": 'line_source.declared(name="line-mute", simulator=Mute)',
    "line-bare": 'line_source.declared(name="line-bare", simulator=None)',
}
"""A source in lines over TCP; one that cannot be read; one whose codes are numbers; one whose codes stand in a longer
text; one whose simulator has no listener; one without any."""


def installed(folder, *names):
    """A folder to put on the path, in which these plugins are installed."""
    for name in names:
        module = f"facade_of_tests_{name.replace('-', '_')}"
        info = folder / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        distribution = module.replace("_", "-")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n", "utf-8")
        (info / "entry_points.txt").write_text(f"[facade.plugins]\n{name} = {module}\n", "utf-8")
        (folder / f"{module}.py").write_text(LINE.replace("DECLARED", DECLARED[name]), "utf-8")
    return folder


def on_the_path(folder):
    """The environment of a process that has them."""
    root = ROOT
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(root), os.environ.get("PYTHONPATH", "")])}
