"""The same from Parquet to Parquet, for all customers."""

import polars
from orders import write_orders

import fastals

polars.read_csv(write_orders("orders.csv")).write_parquet("orders.parquet")  # your own file

orders = fastals.read_table("orders.parquet", user="customer", item="product")
model = fastals.ImplicitALS(random_state=0).fit(orders)
model.recommend_frame(n=10, frame="polars").write_parquet("recommendations.parquet")
print(polars.read_parquet("recommendations.parquet").head(10))
