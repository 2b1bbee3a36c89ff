"""``facade verify``: the acceptance run that an integration tester points at any deployed facade."""

import fnmatch
import sys
import time

import click
from marshmallow import ValidationError

from facade.cli.cancel import client_key
from facade.cli.terminal import show, show_json_text
from facade.config_messages import nearest
from facade.errors import ConfigurationError
from facade.setting_fields import BaseUrl
from facade.verify import report
from facade.verify.catalogue import catalogue
from facade.verify.check import Check
from facade.verify.runner import Run, prove
from facade.verify.sandbox import Sandbox
from facade.verify.target import Key, Target

_FAILED = 1


@click.command()
@click.option("--url", required=True, help="The facade's base URL, for example http://127.0.0.1:8080.")
@click.option("--source", default="heim", show_default=True, help="The source system's name in the facade's paths.")
@click.option(
    "--sandbox", "sandbox_url", default="http://127.0.0.1:8081", show_default=True, help="Where the sandbox serves."
)
@click.option("--simulator", help="The source system's name in the sandbox, where it has another.")
@click.option(
    "--template", metavar="ID", help="The sandbox's appointment that new ones are like; else an ordinary one."
)
@click.option("--out-of-reach", metavar="NAME", help="A source that exists and that the key may not know of.")
@click.option(
    "--within",
    default=8.0,
    show_default=True,
    type=click.FloatRange(min=0.1),
    help="Seconds in which every answer must come.",
)
@click.option(
    "--parallel", default=4, show_default=True, type=click.IntRange(1, 6), help="Checks that run side by side."
)
@click.option("--only", metavar="NAME", multiple=True, help="A check to run, fault-* for several; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON and nothing else.")
def verify(
    url: str,
    source: str,
    sandbox_url: str,
    simulator: str | None,
    template: str | None,
    out_of_reach: str | None,
    within: float,
    parallel: int,
    only: tuple[str, ...],
    as_json: bool,
) -> None:
    """Hold a facade in front of a sandbox against its contract, over HTTP alone.

    The key comes from the environment variable FACADE_CLIENT_KEY. Every appointment is made anew in the sandbox, so
    the run can be repeated. Exit code 0: every check passed; 1: some failed; 2: the command is wrong, the facade or
    the sandbox was not reached or went away, or the sandbox fails by chance.
    """
    checks = _chosen(only)
    if not sandbox_url.startswith(("http://", "https://")):
        raise click.UsageError(f"--sandbox {sandbox_url} is not a URL; write one like http://127.0.0.1:8081")
    facade = Target(_base_url(url), source, Key(client_key()), within)
    run = Run(facade, Sandbox(sandbox_url, simulator or source, template), out_of_reach)
    begun = time.monotonic()
    run.begin()
    show(f"{len(checks)} checks of {facade.url}, source {source}; half a minute if it is all of them ...", "", err=True)
    results = prove(run, checks, parallel)
    seconds = time.monotonic() - begun
    if as_json:
        show_json_text(report.as_json(run, results, seconds))
    else:
        show(*report.as_text(results, seconds))
    sys.exit(_FAILED if any(result.outcome == "failed" for result in results) else 0)


def _base_url(url: str) -> str:
    try:
        return str(BaseUrl().deserialize(url))
    except ValidationError as error:
        raise click.UsageError(f"--url {error.messages[0]}") from None


def _chosen(only: tuple[str, ...]) -> list[Check]:
    checks = [check for theme in catalogue().values() for check in theme]
    names = [check.name for check in checks]
    for pattern in only:
        if not fnmatch.filter(names, pattern):
            raise ConfigurationError(f"--only {pattern}: there is no such check; {nearest(pattern, names)}")
    return [check for check in checks if not only or any(fnmatch.fnmatchcase(check.name, p) for p in only)]
