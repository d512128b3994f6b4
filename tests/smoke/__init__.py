"""Whole runs, small."""
