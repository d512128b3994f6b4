"""Supervised continual learning: tasks made of images with labels."""
