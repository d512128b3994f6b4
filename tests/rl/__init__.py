"""Tests of the reinforcement-learning domain."""
