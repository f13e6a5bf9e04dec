"""Kinds of samples: how each is stored, passed to networks, displayed and saved."""
