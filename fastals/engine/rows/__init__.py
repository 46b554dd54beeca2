"""The ways to solve one row.

A row of m entries is A x = r with A = diag(d) + sum_j w_j y_j y_j', r = sum_j b_j y_j and d = background * g + ridge.
The background is diagonal because the columns are in its eigenbasis. Five ways lead to the same x:

- `diagonal`: where all w are 0, as in plain ALS on a full matrix, there is nothing to factorise.
- `primal`: Cholesky of the k x k matrix. m k^2 / 2 + k^3 / 6 multiply-adds.
- `dual`: x = diag(d)^(-1/2) Z' (I + Z Z')^(-1) (b / sqrt w) with Z = diag(sqrt w) Y diag(d)^(-1/2), by Cholesky of an
  m x m matrix. m^2 k / 2 + m^3 / 6 multiply-adds. All w and d must be above 0.
- few: the dual of a row of up to 6 entries, not more than factors, in registers (`simd.kernels.solve_few`).
- `cg`: conjugate gradients preconditioned by 1 / d. 2 m k multiply-adds a step. Rows that do not converge are solved by
  one of the exact ways.

`solve` chooses the way. Each way also returns the objective of the row, at almost no cost: the loss of a half-step is
the sum over its rows. `long_rows` solves one row on all threads, `blocked_rows` many rows block by block.
"""
