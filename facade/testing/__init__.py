"""What plugin authors and integration testers test with: behaving simulators and faults by name."""
