"""Everything a plugin author may import, and nothing else."""

from facade.config import BaseUrl, Secret, SecretFromEnv, SecretFromFile, SourceSettings
from facade.contract import (
    Appointment,
    Can,
    CancelRequest,
    Capabilities,
    Coding,
    NativeReason,
    NativeReasons,
    Permit,
    SourceAdapter,
    SourceConfig,
    SourceSystem,
)
from facade.deadline import deadline, remaining
from facade.errors import (
    AppointmentNotFound,
    Cause,
    ConfigurationError,
    FacadeError,
    NotDone,
    SourceError,
    Unknown,
)
from facade.hookspecs import hookimpl
from facade.http_client import HttpAnswer, HttpClient, classify

__all__ = [
    "Appointment",
    "AppointmentNotFound",
    "BaseUrl",
    "Can",
    "CancelRequest",
    "Capabilities",
    "Cause",
    "Coding",
    "ConfigurationError",
    "FacadeError",
    "HttpAnswer",
    "HttpClient",
    "NativeReason",
    "NativeReasons",
    "NotDone",
    "Permit",
    "Secret",
    "SecretFromEnv",
    "SecretFromFile",
    "SourceAdapter",
    "SourceConfig",
    "SourceError",
    "SourceSettings",
    "SourceSystem",
    "Unknown",
    "classify",
    "deadline",
    "hookimpl",
    "remaining",
]
