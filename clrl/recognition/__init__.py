"""Which task is this? Answers from observations alone."""
