"""Which files with secrets or patient data other users of this machine can read."""

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from facade import loopback
from facade.app import Facade
from facade.cli.common.findings import Finding
from facade.errors import ConfigurationError
from facade.plugin.configured_source import ConfiguredSource

SANDBOX = "FACADE_IN_SANDBOX"
"""The environment variable that ``facade sandbox --serve`` sets to 1 for the facade that it starts."""
_EVERYONE = stat.S_IROTH | stat.S_IWOTH
_OTHERS = _EVERYONE | stat.S_IRGRP | stat.S_IWGRP


def refuse_open_keys(facade: Facade) -> None:
    """Raise ConfigurationError for key files that every user of this machine can read; not in a sandbox."""
    if os.environ.get(SANDBOX) == "1":
        return
    local = facade.authenticator.loopback_only
    problems = [
        f"{name}: {path} is accessible to every user (mode {mode:04o}); run chmod 600 {shlex.quote(path)}"
        for source in facade.sources.values()
        if not (local and _is_on_this_machine(source))
        for name, path, mode in _open_keys(source, _EVERYONE)
    ]
    if problems:
        raise ConfigurationError(*problems)


def check_permissions(facade: Facade, config: Path) -> Iterator[Finding]:
    """Report a warning for each file with secrets or patient data that other users can read."""
    url = facade.ledger.engine.url
    if url.get_backend_name() == "sqlite" and url.database:
        paths = [f"{url.database}{end}" for end in ("", "-wal", "-shm")]
        found = [(path, mode) for path in paths if (mode := _mode(path)) & _OTHERS]
        if found:
            text = f"{found[0][0]} is accessible to other users (mode {found[0][1]:04o}) and contains patient data"
            yield Finding("ledger", "file", "warning", f"{text}; run {_chmod([path for path, _ in found])}")
    elif url.password is not None and (mode := _mode(str(config))) & _OTHERS:
        text = f"{config} is accessible to other users (mode {mode:04o}) and contains the ledger's password"
        yield Finding("ledger", "file", "warning", f"{text}; run {_chmod([str(config)])}")
    for source in facade.sources.values():
        for name, path, mode in _open_keys(source, _OTHERS):
            text = f"{name}: {path} is accessible to other users (mode {mode:04o}); run {_chmod([path])}"
            yield Finding(source.name, "keys", "warning", text)


def _open_keys(source: ConfiguredSource, bits: int) -> Iterator[tuple[str, str, int]]:
    """Yield each key file that has any of these permission bits: its setting's name, its path and its mode."""
    for name, path in source.secret_files:
        if (mode := _mode(path)) & bits:
            yield f"sources.{source.name}.{name}", path, mode


def _mode(path: str) -> int:
    try:
        return stat.S_IMODE(Path(path).stat().st_mode)
    except OSError:
        return 0  # there is no such file


def _chmod(paths: list[str]) -> str:
    return f"chmod 600 {shlex.join(paths)}"


def _is_on_this_machine(source: ConfiguredSource) -> bool:
    """Return whether a source's keys are for this machine only, as a sandbox's are."""
    urls = [value for name, value in source.settings.items() if name.endswith("url") and isinstance(value, str)]
    return bool(urls) and all(urlsplit(url).hostname in loopback.HOSTS for url in urls)
