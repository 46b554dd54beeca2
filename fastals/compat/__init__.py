"""Other people's names over this library: drop-in replacements for code that exists."""
