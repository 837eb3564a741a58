"""Side by side with peers, with the floor and with the targets; never part of the test run."""
