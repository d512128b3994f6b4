"""Pictures and tables of a run; needs no torch."""
