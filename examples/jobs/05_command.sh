# The same from a shell, with orders.csv in this folder.
set -e
fastals fit orders.csv --user customer --item product -o model.npz
fastals recommend model.npz c17 -n 10
fastals recommend model.npz --all -n 10 -o recommendations.parquet
fastals evaluate orders.csv --user customer --item product
