"""Speed at equal loss: fastals and its peers, the same objective, the same machine, one run."""
