"""The glossary: each term once, in order, and every link to it finds its term."""

import re

from tests.support.paths import ROOT

GLOSSARY = (ROOT / "docs" / "glossary.md").read_text("utf-8")
TERMS = re.findall(r"^## (.+)$", GLOSSARY, re.MULTILINE)
ANCHORS = {re.sub(r"[^a-z0-9 -]", "", term.lower()).replace(" ", "-") for term in TERMS}


def test_the_terms_are_in_alphabetical_order():
    words = [term.strip("`").lower() for term in TERMS]
    assert words == sorted(set(words))


def test_every_link_to_a_term_finds_it():
    assert set(re.findall(r"\]\(#([^)]+)\)", GLOSSARY)) <= ANCHORS
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins/*/*.md")]:
        for anchor in re.findall(r"\]\([^)#]*glossary\.md#([^)]+)\)", page.read_text("utf-8")):
            assert anchor in ANCHORS, (page.name, anchor)


def test_every_term_is_defined_in_one_to_five_short_sentences():
    for definition in re.split(r"^## .+$", GLOSSARY, flags=re.MULTILINE)[1:]:
        sentences = re.findall(r"[.?](?:\s|$)", definition.strip())
        assert 1 <= len(sentences) <= 5, definition
