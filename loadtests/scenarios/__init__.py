"""What can happen to a service, one scenario a module; each returns a dataclass of results."""
