"""``facade verify``: run the acceptance checks against any deployed facade."""

import fnmatch
import sys
import time

import click
from marshmallow import ValidationError

from facade.cli.common.client_key import client_key
from facade.cli.common.terminal import show, show_json_text
from facade.config_messages import nearest
from facade.errors import ConfigurationError
from facade.setting_fields import BaseUrl
from facade.verify import report
from facade.verify.catalogue import catalogue
from facade.verify.check import Check
from facade.verify.runner import Run, run_checks
from facade.verify.sandbox import Sandbox
from facade.verify.target import Key, Target

_FAILED = 1


@click.command()
@click.option("--url", required=True, help="The facade's base URL, for example http://127.0.0.1:8080.")
@click.option("--source", default="heim", show_default=True, help="The source system's name in the facade's paths.")
@click.option(
    "--sandbox", "sandbox_url", default="http://127.0.0.1:8081", show_default=True, help="Where the sandbox serves."
)
@click.option("--simulator", help="The source system's name in the sandbox, if it differs from --source.")
@click.option(
    "--template", metavar="ID", help="The sandbox's appointment that new ones copy. By default an ordinary one."
)
@click.option("--out-of-reach", metavar="NAME", help="A source that exists and that the key must not see.")
@click.option(
    "--within",
    default=8.0,
    show_default=True,
    type=click.FloatRange(min=0.1),
    help="The seconds in which every response must come.",
)
@click.option(
    "--parallel",
    default=4,
    show_default=True,
    type=click.IntRange(1, 6),
    help="How many checks run side by side.",
)
@click.option("--only", metavar="NAME", multiple=True, help="A check to run, or fault-* for several. May be repeated.")
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
    """Check over HTTP that a facade in front of a sandbox behaves as documented.

    The key comes from the environment variable FACADE_CLIENT_KEY. The run creates its own appointments in the sandbox,
    so it can be repeated. Exit code 0: every check passed; 1: some failed; 2: the command is wrong, the facade or the
    sandbox was not reached or stopped responding, or the sandbox fails by chance.
    """
    checks = _chosen(only)
    if not sandbox_url.startswith(("http://", "https://")):
        raise click.UsageError(f"--sandbox {sandbox_url} is not a URL; write one like http://127.0.0.1:8081")
    facade = Target(_base_url(url), source, Key(client_key()), within)
    run = Run(facade, Sandbox(sandbox_url, simulator or source, template), out_of_reach)
    started = time.monotonic()
    run.prepare()
    show(f"{len(checks)} checks of {facade.url}, source {source}; all checks take half a minute ...", "", err=True)
    results = run_checks(run, checks, parallel)
    seconds = time.monotonic() - started
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
