"""fastals: alternating least squares for recommender systems, exact and fast, on the CPU."""

__version__ = "0.1.0"
