"""Every knob of a run: its dataclasses, and the files and texts it is read from."""
