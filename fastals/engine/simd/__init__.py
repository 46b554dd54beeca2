"""Micro-kernels in vector IR for the CPU at hand. Nobody needs this folder to change the library, only to speed it up.

Read ``twins.py`` first, which says in plain NumPy what each kernel computes; then ``kernels.py``, written with the
vector operations of ``ir.py`` for the width and the tile of ``target.py``.
"""
