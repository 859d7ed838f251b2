"""The commands of ``tritforge``, one a file; each module's ``command`` is what runs."""
