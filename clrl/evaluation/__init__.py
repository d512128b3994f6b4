"""Measures on score matrices and labels; numpy and scipy only."""
