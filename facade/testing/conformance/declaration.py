"""Conformance of a plugin's declaration: ids, settings, README, reasons."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from facade.config_reference import plugin_settings, setting_names
from facade.errors import ConfigurationError, NotFound, SourceError
from facade.fhir import ids
from facade.fhir.reasons import SYSTEM, hl7_codes
from facade.plugin import plugin_validation
from facade.plugin.contract import Coding, Support
from facade.testing.conformance import id_spellings, readme
from facade.testing.conformance.base import Kit, fail, must, not_implemented, not_supported, prepare
from facade.testing.conformance.harness import NOTE, Harness, Trial
from facade.testing.conformance.hostile_ids import HOSTILE
from facade.testing.conformance.recording_adapter import Record
from facade.testing.text_search import was_sent

_UNKNOWN_BODIES: tuple[Any, ...] = ([], {}, None, "CANARY", 1, {"id": None}, {"data": "CANARY"}, [{"appointment": []}])


class Declaration(Kit):
    """Tests of a plugin before anything is cancelled."""

    def test_the_declaration_is_valid(self) -> None:
        """Declare the plugin as facade.SourcePlugin describes."""
        found = [f"SourcePlugin: {problem}" for problem in plugin_validation.problems(self.source_plugin())]
        must(not found, "; and ".join(found))

    def test_the_settings_build_an_adapter(self, harness: Harness) -> None:
        """Let the settings of the test load, and build a facade.SourceAdapter from them."""
        try:
            harness.build()
        except ConfigurationError as error:
            fail("; and ".join(error.problems))

    def test_building_an_adapter_sends_nothing(self, trial: Trial) -> None:
        """Connect in read and in cancel, not in the constructor: the source may be down at the start."""
        sent = [entry.path for entry in trial.entries()]
        must(not sent, f"building the adapter sent {len(sent)} requests; send none before read or cancel is called")

    def test_an_unknown_setting_is_rejected(self, harness: Harness) -> None:
        """Let facade.SourceSettings reject unknown keys: a misspelt setting must not be a silent default."""
        try:
            harness.build(no_such_setting=1)
        except ConfigurationError as error:
            named = any("no_such_setting" in problem for problem in error.problems)
            must(named, "the setting no_such_setting is rejected without its name; name the wrong setting")
        else:
            fail("the setting no_such_setting is accepted; extend facade.SourceSettings and keep Meta.unknown = RAISE")

    def test_the_readme_has_the_fixed_headings(self) -> None:
        """Write README.md with the same headings as every plugin, in their order."""
        text = self.readme()
        must(text, "there is no README.md; write one beside the plugin's module")
        found = [heading for heading in readme.headings(text) if heading in readme.HEADINGS]
        wanted = ", ".join(f'"## {heading}"' for heading in readme.HEADINGS)
        must(found == list(readme.HEADINGS), f"README.md must have the headings {wanted}, once and in this order")

    def test_the_readme_has_a_row_for_every_setting(self) -> None:
        """Explain each setting that the plugin declares in the README's table, and none that does not exist."""
        rows = readme.settings(self.readme())
        # Shared settings need no row: a later version may add some, and no plugin's test may fail for it.
        known, own = setting_names(self.source_plugin())
        missing = sorted(own - set(rows))
        must(not missing, f"README.md has no row under Settings for {', '.join(missing)}; write it")
        foreign = sorted(set(rows) - known)
        must(not foreign, f"README.md explains the settings {', '.join(foreign)}, which do not exist; remove them")

    def test_each_setting_has_a_meaning(self) -> None:
        """Declare each setting with metadata=facade.describe(…), one sentence that ends with a full stop."""
        for setting in plugin_settings(self.source_plugin()):
            wanted = f'write metadata=describe("What {setting.name} does.") into its field'
            must(re.match(r"[A-Z].+\.", setting.description), f"the setting {setting.name} has no meaning; {wanted}")

    def test_the_readmes_example_settings_load(self, harness: Harness) -> None:
        """Show a complete [sources.NAME] table in the README that works when copied."""
        try:
            tables = readme.examples(self.readme(), self.plugin)
        except ValueError as error:
            fail(f"README.md has a ```toml block that is not TOML ({error}); fix it")
        wanted = f'a ```toml block with [sources.NAME] and plugin = "{self.plugin}"'
        must(tables, f"README.md has no example configuration; add {wanted}")
        for table in tables.values():
            try:
                harness.build_table(table, Record())
            except ConfigurationError as error:
                step = "fix the example, or add its variable to secrets, its file to files"
                fail(f"README.md has an example that does not load ({'; '.join(error.problems)}); {step}")

    def test_the_simulators_ids_fit_the_id_pattern(self, harness: Harness) -> None:
        """Seed only ids that id_pattern accepts, or widen it to the source's real ids."""
        simulator = harness.simulator
        for appointment_id in (*simulator.seeds(simulator.clock.now()), simulator.new_id()):
            try:
                ids.parse(appointment_id, harness.plugin.id_pattern)
            except NotFound:
                step = "widen the pattern, seed another id, or override new_id"
                fail(f"the simulator's id {appointment_id!r} does not fit id_pattern; {step}")

    def test_the_canonical_form_of_an_id_is_one_of_its_spellings(self, harness: Harness) -> None:
        """Let canonical_id.form return an id that id_pattern accepts, and return its own result unchanged."""
        source, simulator = harness.build(), harness.simulator
        if source.plugin.canonical_id is None:
            not_supported("several spellings of an id (SourcePlugin.canonical_id)")
        for known in (*simulator.seeds(simulator.clock.now()), simulator.new_id()):
            for spelling in (known, *simulator.equal_ids(known), *id_spellings.of(known, source.plugin.id_pattern)):
                try:
                    form = source.canonical(spelling)
                    second = source.canonical(form)
                except Exception as error:  # noqa: BLE001 - a plugin may raise anything
                    fail(f"canonical_id.form fails for {spelling!r} ({error}); return an id that id_pattern accepts")
                must(
                    second == form,
                    f"canonical_id.form turns its own result {form!r} into {second!r}; return it as it is",
                )
            for spelling in simulator.equal_ids(known):
                same = source.canonical(spelling) == source.canonical(known)
                must(same, f"{spelling!r} and {known!r} have two canonical forms; return the same form for both")

    def test_equal_spellings_of_an_id_have_one_canonical_form(self, harness: Harness) -> None:
        """Declare canonical_id for a source that finds an appointment by another case or with leading zeros."""
        with harness.trial() as trial:
            known = [trial.appointment(), trial.appointment(1)]
            numbers = [one for one in trial.simulator.seeds(trial.simulator.clock.now()) if one.isdecimal()]
            for appointment_id in (*known, *numbers[:2]):
                for spelling in id_spellings.of(appointment_id, trial.source.plugin.id_pattern):
                    if trial.simulator.get(spelling) is None or spelling in trial.simulator.equal_ids(appointment_id):
                        found = id_spellings.finds(trial, appointment_id, spelling)
                        same = trial.source.canonical(spelling) == trial.source.canonical(appointment_id)
                        must(
                            same or not found,
                            f"the source finds {appointment_id!r} by {spelling!r}; declare canonical_id with one form "
                            "for both, or narrow id_pattern",
                        )

    @pytest.mark.parametrize("kind", HOSTILE)
    def test_a_hostile_id_does_not_fit_the_id_pattern(self, harness: Harness, kind: str) -> None:
        """Describe the source's own ids with id_pattern, and no more."""
        hostile = HOSTILE[kind].format(next(iter(harness.simulator.fault_ids())))
        try:
            ids.parse(hostile, harness.plugin.id_pattern)
        except NotFound:
            return
        except ValueError:
            pass  # an id that matches and cannot be encoded is a failure too
        fail(f"id_pattern accepts an id with {kind}; describe the source's own ids, such as [A-Za-z0-9_-]{{1,64}}")

    def test_the_seeds_contain_a_canary(self, harness: Harness) -> None:
        """Seed patient details that contain the word CANARY, so that a test finds them in a log."""
        simulator = harness.simulator
        seeds = simulator.seeds(simulator.clock.now())
        bare = [name for name in simulator.fault_ids() if "CANARY" not in json.dumps(seeds.get(name), default=str)]
        must(
            not bare,
            f"the seeded appointment {(bare or [''])[0]} contains no CANARY; put the word into a patient detail",
        )

    @pytest.mark.parametrize("code", hl7_codes())
    def test_every_hl7_reason_maps_to_a_native_reason(self, harness: Harness, code: str) -> None:
        """Map all 32 HL7 codes, or their parents, to native codes."""
        mapping = harness.build().mapping
        if mapping is None:
            not_supported("reasons (SourcePlugin.reasons)")
        found = replace(mapping, fallback=None).choose([Coding(SYSTEM, code)])
        must(found, f'the reason "{code}" maps to no native code; add it, or its parent, to the ConceptMap')

    def test_the_source_accepts_every_native_reason(self, harness: Harness) -> None:
        """Send every native reason as the source accepts it."""
        with harness.trial() as trial:
            mapping = trial.source.mapping
            if mapping is None:
                not_supported("reasons (SourcePlugin.reasons)")
            appointment_id = trial.appointment()
            seeded = trial.simulator.get(appointment_id)
            must(seeded, f"there is no seeded appointment {appointment_id}; seed one for each of fault_ids()")
            tried = set()
            for code in hl7_codes():
                request, current = prepare(trial, appointment_id, code)
                reason = request.native_reason
                if reason is None or (reason.code, *sorted(reason.properties.items())) in tried:
                    continue
                tried.add((reason.code, *sorted(reason.properties.items())))
                trial.simulator.log.clear()
                try:
                    trial.cancel_directly(request, current, lambda: None)
                except SourceError as error:
                    why = f" ({type(error).__name__}: {error})"
                else:
                    why = ""
                sent = [entry for entry in trial.entries(appointment_id) if entry.operation == "cancel"]
                accepted = any(entry.changed for entry in sent)
                must(
                    accepted,
                    f'the source does not accept the reason "{reason.code}" for "{code}"{why}; send it as documented',
                )
                trial.simulator.put(appointment_id, seeded or {})

    def test_the_reason_reaches_the_source(self, trial: Trial) -> None:
        """Send request.native_reason.code: without it, the patient may be shown as not having cancelled."""
        request, _ = prepare(trial, appointment_id := trial.appointment())
        if request.native_reason is None:
            not_supported("reasons (SourcePlugin.reasons)")
        trial.cancel(appointment_id)
        cancels = [entry for entry in trial.entries(appointment_id) if entry.operation == "cancel"]
        must(cancels, "an ordinary cancel sends nothing; make it work first")
        code = request.native_reason.code
        sent = any(was_sent(code, entry.path, entry.body) for entry in cancels)
        must(
            sent,
            f'the request to the source does not contain the native code "{code}"; send request.native_reason.code',
        )

    def test_the_note_reaches_the_source(self, trial: Trial) -> None:
        """Send request.note if the source accepts a text with a cancel, and declare Capabilities.note."""
        declared = trial.source.plugin.capabilities.note
        if declared is Support.NOT_IMPLEMENTED:
            not_implemented("notes, or notes in every case (Capabilities.note)")
        trial.outcome(appointment_id := trial.appointment())
        cancels = [entry for entry in trial.entries(appointment_id) if entry.operation == "cancel"]
        must(cancels, "an ordinary cancel sends nothing; make it work first")
        sent = any(was_sent(NOTE, entry.path, entry.body) for entry in cancels)
        if declared is Support.NONE:
            must(not sent, "the note reaches the source; declare Capabilities(note=Support.FULL)")
            not_supported("a text with a cancel (Capabilities.note)")
        must(sent, "the note does not reach the source; send request.note, or declare Capabilities(note=Support.NONE)")

    def test_an_unknown_webhook_body_is_ignored(self, harness: Harness) -> None:
        """Return None from webhook for a body that names no appointment."""
        webhook = harness.plugin.webhook
        if webhook is None:
            not_supported("webhooks (SourcePlugin.webhook)")
        settings = harness.build().settings
        for body in _UNKNOWN_BODIES:
            try:
                found = webhook(body, settings)
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything
                fail(f"webhook raises {type(error).__name__} for the body {body!r}; return None for an unknown body")
            must(
                found is None or isinstance(found, str),
                f"webhook returns a {type(found).__name__}; return an appointment's id, or None",
            )
