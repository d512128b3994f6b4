"""Recognisers run over a stream without a learner (``clrl recognise``)."""
