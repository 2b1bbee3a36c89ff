"""All HTTP operations. To add a route, decorate a view with ``@operation`` in a module of this package."""

from facade.web.operation import Operation
from facade.web.operations import api_description, appointments, concept_map, health, metadata, webhooks

OPERATIONS = tuple(
    member
    for module in (health, webhooks, appointments, concept_map, metadata, api_description)
    for member in vars(module).values()
    if isinstance(member, Operation)
)
"""Every operation of the facade, in the order of the modules and of the definitions in them."""
