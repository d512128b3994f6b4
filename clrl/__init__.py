"""Continual reinforcement learning: one agent, many games, nothing forgotten unnoticed."""
