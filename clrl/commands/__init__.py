"""The commands of ``clrl``: what each takes, and what it does and says.

Modules that import torch are imported where they are needed, so that help is instant.
"""
