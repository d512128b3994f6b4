"""The Atari domain: a DQN on a changing sequence of games."""
