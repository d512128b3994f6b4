"""Continual-learning methods; knows no domain."""
