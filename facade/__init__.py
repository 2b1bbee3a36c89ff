"""The public API for plugin authors: everything that a plugin may import, besides ``facade.testing``."""

from facade.deadline import deadline, remaining
from facade.errors import (
    AppointmentNotFound,
    Cause,
    ConfigurationError,
    FacadeError,
    NotExecuted,
    OutcomeUnknown,
    SourceError,
    VersionConflict,
)
from facade.fhir.chargeability import chargeability
from facade.fhir.reasons import hl7_reasons
from facade.http_client import HttpClient, HttpResponse, classify
from facade.plugin.api_version import PLUGIN_API
from facade.plugin.contract import (
    Appointment,
    CancelRequest,
    CanonicalId,
    Capabilities,
    Coding,
    NativeReason,
    NativeReasons,
    SourceAdapter,
    SourceConfig,
    SourcePlugin,
    Support,
    WritePermit,
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
    "PLUGIN_API",
    "Appointment",
    "AppointmentNotFound",
    "BaseUrl",
    "CancelRequest",
    "CanonicalId",
    "Capabilities",
    "Cause",
    "Coding",
    "ConfigurationError",
    "FacadeError",
    "HttpClient",
    "HttpResponse",
    "NativeReason",
    "NativeReasons",
    "NotExecuted",
    "OutcomeUnknown",
    "Secret",
    "SecretFromEnv",
    "SecretFromFile",
    "SecretTextFromFile",
    "SourceAdapter",
    "SourceConfig",
    "SourceError",
    "SourcePlugin",
    "SourceSettings",
    "Support",
    "VersionConflict",
    "WebhookSettings",
    "WritePermit",
    "chargeability",
    "classify",
    "deadline",
    "hl7_reasons",
    "hookimpl",
    "remaining",
]
