"""Tests of the continual core."""
