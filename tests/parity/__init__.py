"""Comparisons with reference implementations."""
