"""All knowledge of FHIR R4: what a request may hold, what an answer must hold, and how codes map."""
