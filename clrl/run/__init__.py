"""Runs put together from their configs, trained, saved and evaluated."""
