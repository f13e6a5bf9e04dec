"""A run, from its order to its report: what is built, planned, trained, found again and compared."""
