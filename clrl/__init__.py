"""Continual reinforcement learning: one agent, many games, and what it forgets."""
