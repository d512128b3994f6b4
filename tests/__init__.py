"""Tests of clrl; the tree mirrors the package."""
