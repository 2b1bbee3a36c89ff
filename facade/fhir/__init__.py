"""Validate FHIR R4 requests, complete FHIR R4 responses, and map cancellation codes."""
