"""One row: its cells in, its factors out.

Solves A x = r with A = diag(d) + sum_j w_j y_j y_j', r = sum_j b_j y_j and d = background_row g + ridge: in its own
eigenbasis the background is a diagonal. Five ways to the same x:

- diagonal: all w are 0, as where zeros are data and all weights are equal. Nothing to factorise.
- primal: Cholesky of the k x k matrix. m k^2 / 2 + k^3 / 6 multiply-adds for m cells.
- dual: with Z = diag(sqrt w) Y_S diag(d)^(-1/2), x = diag(d)^(-1/2) Z' (I + Z Z')^(-1) (b / sqrt w), Cholesky of an
  m x m matrix. m^2 k / 2 + m^3 / 6; needs all w and d above 0.
- cg: conjugate gradients preconditioned by 1 / d. 2 m k a step; a row that does not get there ends in primal or dual.
- few: the dual of a row of up to 6 cells, and no more cells than factors, in registers: 0.15 to 0.3 us at k = 64, a
  third of what steps take.

Each also knows the row's objective there, for next to nothing: the loss of a half-step is their sum.
"""
