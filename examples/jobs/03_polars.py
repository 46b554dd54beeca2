"""The same from a polars frame, and back into one: ten products for each of three customers."""

import polars
from orders import write_orders

import fastals

orders = polars.read_csv(write_orders("orders.csv"))

model = fastals.ImplicitALS(random_state=0).fit(orders, user="customer", item="product")
table = model.recommend_frame(["c17", "c18", "c19"], n=10, frame="polars")
print(table.filter(polars.col("rank") <= 3))
