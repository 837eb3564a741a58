"""Measurements beside peers, the floor and the targets; they are never part of the test run."""
