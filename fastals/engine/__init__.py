"""The numerical core: arrays in, arrays out. It fits factors, folds rows in and finds the best columns of a row.

A half-step solves *rows* for fixed *columns*. Users and items are names of the layers above. Every objective arrives
here as the same row problem. Kernels report failures as integers; nothing in this package raises because of the data.

Reading order:

1. `problem`: what a row problem is, and what a fit works on.
2. `alternation`: the loop over half-steps. `sketch`: where it begins.
3. `sweep`: one half-step, its rows spread over threads.
4. `plan`: which way to solve a row is the cheapest. `cells`: the weights of a row's entries.
5. `rows`: the ways to solve a row; `rows.solve` chooses among them.
6. `basis`: the background, its eigenbasis, and panels rotated into it. `loss`: the objective of given factors.
7. `topk`: the highest scores of each row.
8. `shifts`: biases of the fixed side. `features`: prior means. `smallest`: rows with many solutions.
9. `plain`, `nonnegative`: other half-steps, whose loop is `plain_fit`.
10. `cholesky`, `panel`, `blas`, `threads`, `jit`: the tools. `simd`: kernels in vector instructions.
"""
