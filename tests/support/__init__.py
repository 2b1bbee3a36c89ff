"""What the tests share: processes, stores, simulated clients, and components that are wrong on purpose."""
