"""Micro-kernels in vector instructions of the CPU at hand. Only work on speed needs this folder.

Read ``twins.py`` first: it says in plain NumPy what each kernel computes. Then read ``kernels.py``. It is written with
the vector operations of ``ir.py``, for the vector width and the tile of ``target.py``.
"""
