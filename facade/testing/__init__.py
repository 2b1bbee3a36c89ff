"""For plugin authors and integration testers: simulators with named faults, and the conformance kit."""
