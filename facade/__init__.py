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
from facade.fhir.appointment_status import APPOINTMENT_STATUSES
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
from facade.plugin.settings import (
    AppointmentStatus,
    HttpSourceSettings,
    SourceSettings,
    WebhookSettings,
    secret_pair,
)
from facade.setting_fields import (
    AbsoluteUri,
    BaseUrl,
    Choice,
    Secret,
    SecretFromEnv,
    SecretFromFile,
    SecretTextFromFile,
    describe,
)

__all__ = [
    "APPOINTMENT_STATUSES",
    "PLUGIN_API",
    "AbsoluteUri",
    "Appointment",
    "AppointmentNotFound",
    "AppointmentStatus",
    "BaseUrl",
    "CancelRequest",
    "CanonicalId",
    "Capabilities",
    "Cause",
    "Choice",
    "Coding",
    "ConfigurationError",
    "FacadeError",
    "HttpClient",
    "HttpResponse",
    "HttpSourceSettings",
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
    "describe",
    "hl7_reasons",
    "hookimpl",
    "remaining",
    "secret_pair",
]
