"""The command `fastals`: a module for each of its parts. `fastals.__main__` runs them and prints what they say."""
