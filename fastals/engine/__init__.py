"""Arrays in, arrays out: what the models are made of.

A half-step knows rows, which are solved, and columns, which are fixed; users and items are names for the layers above.
Reading order: `problem` (what a row problem is), `alternation` (the loop), `sweep` (one half-step over threads),
`rows` (one row), `basis` (the background), `cholesky`, and `simd` (vector kernels). Arrays go down, integer statuses
come up, and nothing here raises on account of data.
"""
