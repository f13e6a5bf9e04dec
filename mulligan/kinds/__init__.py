"""Kinds of samples: how each is stored, seen by networks, looked at and saved."""
