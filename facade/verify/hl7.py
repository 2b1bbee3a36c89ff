"""HL7's cancellation reasons and FHIR's ids, copied from the specification independently of the facade's own copies.

The acceptance run does not use the facade's copies, because it would not find their mistakes.
"""

import re

SYSTEM = "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason"
CODES = frozenset(
    (
        "pat pat-crs pat-cpp pat-dec pat-fb pat-lt pat-mt pat-mv pat-preg pat-swl pat-ucp prov prov-pers prov-dch "
        "prov-edu prov-hosp prov-labs prov-mri prov-onc maint meds-inc other oth-cms oth-err oth-fin oth-iv oth-int "
        "oth-mu oth-room oth-oerr oth-swie oth-weath"
    ).split()
)
"""http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason"""
PATIENT_MOVED = ("pat-mv", "Patient: Moved")
"""One code with HL7's own display."""

FHIR_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
"""http://hl7.org/fhir/R4/datatypes.html#id"""


def encoded(raw: str) -> str:
    """Encode a raw native id as a facade shows it: unchanged if FHIR allows it, else ``x-.`` and escapes."""
    if FHIR_ID.fullmatch(raw) and not raw.startswith("x-."):
        return raw
    plain = re.compile(r"[A-Za-z0-9-]")
    return "x-." + "".join(
        char if plain.fullmatch(char) else "".join(f".{byte:02x}" for byte in char.encode()) for char in raw
    )


NARRATIVE_ELEMENTS = frozenset(
    "a abbr acronym address area b big blockquote bdo br caption center cite code col colgroup dd dfn div dl dt em "
    "font h1 h2 h3 h4 h5 h6 hr i img kbd li map ol p pre q s samp small span strike strong sub sup table tbody td "
    "tfoot th thead tr tt u ul var".split()
)
"""HTML 4.0's chapters 7 to 11 (without 9.4) and 15, links, images: http://hl7.org/fhir/R4/narrative.html#security"""
