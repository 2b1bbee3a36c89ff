"""Check narratives against R4: a non-empty XHTML div with formatting only (txt-1, txt-2)."""

import re
from typing import Any
from xml.etree import ElementTree

_XHTML = "{http://www.w3.org/1999/xhtml}"
_XML = "{http://www.w3.org/XML/1998/namespace}"
# http://hl7.org/fhir/R4/narrative.html: HTML 4.0, chapters 7 to 11 (except section 9.4) and 15, links and images.
_ELEMENTS = frozenset(
    "div p br h1 h2 h3 h4 h5 h6 span a img map area b em i strong small big tt s strike u center font dfn q var abbr "
    "acronym cite blockquote hr address bdo kbd sub sup code samp pre ul ol li dl dt dd table caption colgroup col "
    "thead tr tfoot tbody th td".split()
)
_ATTRIBUTES = frozenset(
    "title style class id lang dir accesskey tabindex name href hreflang rel rev charset type shape coords nohref src "
    "alt longdesc usemap ismap height width border align valign bgcolor color face size frame rules cellspacing "
    "cellpadding summary span char charoff abbr axis headers scope rowspan colspan nowrap start value compact clear "
    "noshade cite hspace vspace".split()
) | {f"{_XML}lang", f"{_XML}space"}
_LINKS = frozenset("href src cite longdesc usemap".split())
_SCHEMES = frozenset("http https mailto tel".split())
# An HTML parser must see what an XML parser sees: no prefix at the root, no comment that HTML ends immediately.
_BEGIN = re.compile(r"\s*<div[\s/>]")
# Rejected: document types, which declare entities, and processing instructions. Comments are allowed.
_DECLARATION = re.compile(r"<!(?!--(?!-?>))|<\?")
_SCHEME = re.compile(r"([^/?#:]*):(image/)?")
_NO_MEANING = re.compile(r"[\x00-\x20]")  # URL parsers skip these characters
_ACTIVE_STYLE = re.compile(r"url|expression|script|import|behavior|binding|\\|/\*", re.IGNORECASE)


def is_plain(div: Any) -> bool:
    """Return whether this is one non-empty XHTML div without active content and without unexpected links."""
    if not isinstance(div, str) or not _BEGIN.match(div) or _DECLARATION.search(div):
        return False
    try:
        root = ElementTree.fromstring(div)  # noqa: S314 - only declarations expand, and they are rejected above
    except (ElementTree.ParseError, ValueError):
        return False
    if root.tag != f"{_XHTML}div" or not all(map(_is_plain_element, root.iter())):
        return False
    return any(text.strip() for text in root.itertext()) or root.find(f".//{_XHTML}img") is not None


def _is_plain_element(element: Any) -> bool:
    name = str(element.tag)
    return (
        name.startswith(_XHTML)
        and name.removeprefix(_XHTML) in _ELEMENTS
        and all(map(_is_plain_attribute, element.attrib.items()))
    )


def _is_plain_attribute(attribute: tuple[str, str]) -> bool:
    name, value = attribute
    if name == "style":
        return not _ACTIVE_STYLE.search(value)
    scheme = _SCHEME.match(_NO_MEANING.sub("", value)) if name in _LINKS else None
    if scheme is not None and scheme[1].lower() not in _SCHEMES:
        return name == "src" and scheme[0] == "data:image/"
    return name in _ATTRIBUTES
