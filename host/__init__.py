"""The host's side: command line, checks of the machine, transports, estimates and reports."""
