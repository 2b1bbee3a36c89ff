"""Conformance of what a plugin declares: declaration, ids, settings, README, reasons."""

import json
from dataclasses import replace
from typing import Any

import pytest

from facade.errors import ConfigurationError, NotFound, SourceError
from facade.fhir import ids
from facade.fhir.reasons import SYSTEM, hl7_codes
from facade.plugin import plugin_validation
from facade.plugin.contract import Coding, Support
from facade.testing.conformance import id_spellings, readme
from facade.testing.conformance.base import Kit, cannot, fail, must, not_yet, prepare
from facade.testing.conformance.harness import SAID, Bench, Trial
from facade.testing.conformance.hostile_ids import HOSTILE
from facade.testing.conformance.recording_adapter import Record
from facade.testing.text_search import was_sent

_NOT_ABOUT_ANY: tuple[Any, ...] = ([], {}, None, "CANARY", 1, {"id": None}, {"data": "CANARY"}, [{"appointment": []}])


class Declared(Kit):
    """What can be said of a plugin before anything is cancelled."""

    def test_the_declaration_is_in_order(self) -> None:
        """Declare what facade.SourcePlugin describes."""
        found = [f"SourcePlugin: {problem}" for problem in plugin_validation.problems(self.source_system())]
        must(not found, "; and ".join(found))

    def test_the_settings_build_an_adapter(self, bench: Bench) -> None:
        """Load the settings of the test, and build a facade.SourceAdapter of them."""
        try:
            bench.build()
        except ConfigurationError as error:
            fail("; and ".join(error.problems))

    def test_building_an_adapter_asks_the_source_nothing(self, trial: Trial) -> None:
        """Connect when asked to read or to cancel, not when built: the source may be down at the start."""
        asked = [entry.path for entry in trial.entries()]
        must(not asked, f"building the adapter sent {len(asked)} requests; send none before read or cancel is called")

    def test_an_unknown_setting_is_refused(self, bench: Bench) -> None:
        """Let facade.SourceSettings refuse unknown keys: a misspelt setting must not be a silent default."""
        try:
            bench.build(no_such_setting=1)
        except ConfigurationError as error:
            told = any("no_such_setting" in problem for problem in error.problems)
            must(told, "the setting no_such_setting is refused without its name; name what is wrong")
        else:
            fail("the setting no_such_setting is accepted; extend facade.SourceSettings and keep Meta.unknown = RAISE")

    def test_the_readme_has_the_fixed_headings(self) -> None:
        """Write README.md with the headings that every plugin's has, in their order."""
        text = self.readme()
        must(text, "there is no README.md; write one beside the plugin's module")
        found = [heading for heading in readme.headings(text) if heading in readme.HEADINGS]
        wanted = ", ".join(f'"## {heading}"' for heading in readme.HEADINGS)
        must(found == list(readme.HEADINGS), f"README.md must have the headings {wanted}, once and in this order")

    def test_the_readme_has_a_row_for_every_setting(self) -> None:
        """Explain every setting in the README's table, and none that does not exist."""
        system, rows = self.source_system(), readme.settings(self.readme())
        known = set(system.settings().fields)
        # Refused for a source without reasons; so it need not be explained.
        unusable = {"concept_map_file", "fallback_reason"} if system.reasons is None else set()
        missing = sorted(known - unusable - set(rows))
        must(not missing, f"README.md has no row under Settings for {', '.join(missing)}; write it")
        foreign = sorted(set(rows) - known)
        must(not foreign, f"README.md explains the settings {', '.join(foreign)}, which do not exist; take them away")

    def test_the_readmes_example_settings_load(self, bench: Bench) -> None:
        """Show a whole [sources.NAME] table in the README that works when copied."""
        try:
            tables = readme.examples(self.readme(), self.plugin)
        except ValueError as error:
            fail(f"README.md has a ```toml block that is not TOML ({error}); fix it")
        wanted = f'a ```toml block with [sources.NAME] and plugin = "{self.plugin}"'
        must(tables, f"README.md has no example configuration; add {wanted}")
        for table in tables.values():
            try:
                bench.build_table(table, Record())
            except ConfigurationError as error:
                step = "fix the example, or add its variable to secrets, its file to files"
                fail(f"README.md has an example that does not load ({'; '.join(error.problems)}); {step}")

    def test_the_simulators_ids_fit_the_id_pattern(self, bench: Bench) -> None:
        """Seed only ids that id_pattern accepts, or widen it to the source's real ids."""
        simulator = bench.simulator
        for appointment_id in (*simulator.seeds(simulator.clock.now()), simulator.new_id()):
            try:
                ids.resolve(appointment_id, bench.plugin.id_pattern)
            except NotFound:
                step = "widen the pattern, seed another id, or override new_id"
                fail(f"the simulator's id {appointment_id!r} does not fit id_pattern; {step}")

    def test_the_canonical_form_of_an_id_is_one_of_its_spellings(self, bench: Bench) -> None:
        """Let canonical_id.form give an id that id_pattern accepts, and give its own result back unchanged."""
        source, simulator = bench.build(), bench.simulator
        if source.plugin.canonical_id is None:
            cannot("each spelling is another appointment (SourcePlugin.canonical_id)")
        for known in (*simulator.seeds(simulator.clock.now()), simulator.new_id()):
            for spelling in (known, *simulator.equal_ids(known), *id_spellings.of(known, source.plugin.id_pattern)):
                try:
                    form = source.canonical(spelling)
                    again = source.canonical(form)
                except Exception as error:  # noqa: BLE001 - a plugin may raise anything
                    fail(f"canonical_id.form fails for {spelling!r} ({error}); give an id that id_pattern accepts")
                must(again == form, f"canonical_id.form makes {again!r} of its own result {form!r}; let it be as it is")
            for spelling in simulator.equal_ids(known):
                same = source.canonical(spelling) == source.canonical(known)
                must(same, f"{spelling!r} and {known!r} have two canonical forms; give both the same")

    def test_spellings_that_the_source_takes_for_equal_have_one_form(self, bench: Bench) -> None:
        """Declare canonical_id for a source that finds an appointment by another case or with leading zeros."""
        with bench.trial() as trial:
            known = [trial.appointment(), trial.appointment(1)]
            numbers = [one for one in trial.simulator.seeds(trial.simulator.clock.now()) if one.isdecimal()]
            for appointment_id in (*known, *numbers[:2]):
                for spelling in id_spellings.of(appointment_id, trial.source.plugin.id_pattern):
                    if trial.simulator.get(spelling) is None or spelling in trial.simulator.equal_ids(appointment_id):
                        found = id_spellings.finds(trial, appointment_id, spelling)
                        same = trial.source.canonical(spelling) == trial.source.canonical(appointment_id)
                        must(
                            same or not found,
                            f"the source finds {appointment_id!r} by {spelling!r}; declare canonical_id, which gives "
                            "both one form, or narrow id_pattern",
                        )

    @pytest.mark.parametrize("kind", HOSTILE)
    def test_an_id_that_could_lead_elsewhere_does_not_fit_the_id_pattern(self, bench: Bench, kind: str) -> None:
        """Describe the source's own ids with id_pattern, and no more."""
        hostile = HOSTILE[kind].format(next(iter(bench.simulator.fault_ids())))
        try:
            ids.resolve(hostile, bench.plugin.id_pattern)
        except NotFound:
            return
        except ValueError:
            pass  # what matches and cannot be encoded is as bad
        fail(f"id_pattern accepts an id with {kind}; describe the source's own ids, such as [A-Za-z0-9_-]{{1,64}}")

    def test_the_seeds_hold_a_canary(self, bench: Bench) -> None:
        """Seed patient details with the word CANARY in them, so that it is seen when they reach a log."""
        simulator = bench.simulator
        seeds = simulator.seeds(simulator.clock.now())
        bare = [name for name in simulator.fault_ids() if "CANARY" not in json.dumps(seeds.get(name), default=str)]
        must(
            not bare, f"the seeded appointment {(bare or [''])[0]} holds no CANARY; put the word into a patient detail"
        )

    @pytest.mark.parametrize("code", hl7_codes())
    def test_every_hl7_reason_reaches_a_native_one(self, bench: Bench, code: str) -> None:
        """Map all 32 HL7 codes, or their parents, to native codes."""
        mapping = bench.build().mapping
        if mapping is None:
            cannot("this source takes no reason (SourcePlugin.reasons)")
        found = replace(mapping, fallback=None).choose([Coding(SYSTEM, code)])
        must(found, f'the reason "{code}" reaches no native code; add it, or its parent, to the ConceptMap')

    def test_the_source_accepts_every_native_reason(self, bench: Bench) -> None:
        """Send what the source accepts, whatever the reason, and let the reason's code reach it."""
        with bench.trial() as trial:
            mapping = trial.source.mapping
            if mapping is None:
                cannot("this source takes no reason (SourcePlugin.reasons)")
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
                    told = f" ({type(error).__name__}: {error})"
                else:
                    told = ""
                sent = [entry for entry in trial.entries(appointment_id) if entry.operation == "cancel"]
                accepted = any(entry.changed for entry in sent)
                must(
                    accepted,
                    f'the reason "{reason.code}" for "{code}" is not accepted{told}; send what the source takes',
                )
                trial.simulator.put(appointment_id, seeded or {})

    def test_the_reason_reaches_the_source(self, trial: Trial) -> None:
        """Send request.native_reason.code: a lost reason tells the patient that somebody else cancelled."""
        request, _ = prepare(trial, appointment_id := trial.appointment())
        if request.native_reason is None:
            cannot("this source takes no reason (SourcePlugin.reasons)")
        trial.cancel(appointment_id)
        cancels = [entry for entry in trial.entries(appointment_id) if entry.operation == "cancel"]
        must(cancels, "an ordinary cancel sends nothing; make it work first")
        code = request.native_reason.code
        sent = any(was_sent(code, entry.path, entry.body) for entry in cancels)
        must(sent, f'the native code "{code}" is not in what was sent; send request.native_reason.code')

    def test_the_note_reaches_the_source(self, trial: Trial) -> None:
        """Send request.note where the source takes a text with a cancel, and declare Capabilities.note."""
        declared = trial.source.plugin.capabilities.note
        if declared is Support.NOT_IMPLEMENTED:
            not_yet("this plugin sends no note, or not always (Capabilities.note)")
        trial.outcome(appointment_id := trial.appointment())
        cancels = [entry for entry in trial.entries(appointment_id) if entry.operation == "cancel"]
        must(cancels, "an ordinary cancel sends nothing; make it work first")
        sent = any(was_sent(SAID, entry.path, entry.body) for entry in cancels)
        if declared is Support.NONE:
            must(not sent, "the note reaches the source; declare Capabilities(note=Support.FULL)")
            cannot("this source takes no text with a cancel (Capabilities.note)")
        must(sent, "the note does not reach the source; send request.note, or take it out of Capabilities.note")

    def test_a_webhook_about_nothing_known_is_ignored(self, bench: Bench) -> None:
        """Return None from webhook for a body that is about no appointment."""
        webhook = bench.plugin.webhook
        if webhook is None:
            cannot("this source sends no webhooks (SourcePlugin.webhook)")
        settings = bench.build().settings
        for body in _NOT_ABOUT_ANY:
            try:
                found = webhook(body, settings)
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything
                fail(f"webhook raises {type(error).__name__} for the body {body!r}; return None for what is not known")
            must(
                found is None or isinstance(found, str),
                f"webhook returns a {type(found).__name__}; return an appointment's id, or None",
            )
