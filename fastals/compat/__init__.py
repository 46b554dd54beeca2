"""Drop-in replacements: the names of other libraries and scripts on the fastals engine."""
