"""Checks that recognise a learner's answer, right or wrong, and name the mistake; used by the lessons alone."""
