"""Checks that recognise a learner's answer, right or wrong, and name the mistake; used only by the lessons."""
