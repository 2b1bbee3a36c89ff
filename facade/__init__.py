"""Everything a plugin author may import, and nothing else."""

from facade.deadline import deadline, remaining
from facade.errors import (
    AppointmentNotFound,
    Cause,
    ConfigurationError,
    FacadeError,
    NotDone,
    SourceError,
    StaleVersion,
    Unknown,
)
from facade.fhir.chargeability import chargeability
from facade.fhir.reasons import hl7_reasons
from facade.http_client import HttpAnswer, HttpClient, classify
from facade.plugin.contract import (
    Appointment,
    Can,
    CancelRequest,
    CanonicalId,
    Capabilities,
    Coding,
    NativeReason,
    NativeReasons,
    Permit,
    SourceAdapter,
    SourceConfig,
    SourceSystem,
)
from facade.plugin.hookspec import hookimpl
from facade.setting_fields import (
    BaseUrl,
    Secret,
    SecretFromEnv,
    SecretFromFile,
    SecretTextFromFile,
    SourceSettings,
    WebhookSettings,
)

__all__ = [
    "Appointment",
    "AppointmentNotFound",
    "BaseUrl",
    "Can",
    "CancelRequest",
    "CanonicalId",
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
    "SecretTextFromFile",
    "SourceAdapter",
    "SourceConfig",
    "SourceError",
    "SourceSettings",
    "SourceSystem",
    "StaleVersion",
    "Unknown",
    "WebhookSettings",
    "chargeability",
    "classify",
    "deadline",
    "hl7_reasons",
    "hookimpl",
    "remaining",
]
