"""A package, so that a test module here can have the name of one of the folder above."""
