"""The one hook that a plugin implements.

A complete plugin, in the module that its distribution's entry point names::

    # setup.cfg:  [options.entry_points]
    #             facade.plugins =
    #                 paper = facade_paper
    from facade import SourceAdapter, SourcePlugin, SourceSettings, hookimpl


    class PaperAdapter(SourceAdapter):
        def __init__(self, config):
            self.config = config
            self.cancelled = set()

        def read(self, appointment_id):
            status = "cancelled" if appointment_id in self.cancelled else "booked"
            return {"resourceType": "Appointment", "id": appointment_id, "status": status}

        def cancel(self, request, current, permit):
            permit()
            self.cancelled.add(request.appointment_id)
            return self.read(request.appointment_id)


    @hookimpl
    def facade_source_plugin():
        return SourcePlugin(
            api="1.0",
            name="paper",
            adapter=PaperAdapter,
            settings=SourceSettings,
            id_pattern=r"[0-9]{1,9}",
            repeat="idempotent",
        )
"""

import pluggy

from facade.plugin.contract import SourcePlugin

PROJECT = "facade"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a plugin's ``facade_source_plugin``."""


@hookspec
def facade_source_plugin() -> SourcePlugin:
    """Return the declaration of this plugin's source system. The facade calls it once, at start."""
    raise NotImplementedError  # a specification: pluggy calls the plugins' functions
