"""From a CSV file to the ten best products for a customer."""

from orders import write_orders

import fastals

write_orders("orders.csv")  # your own file

orders = fastals.read_table("orders.csv", user="customer", item="product")
model = fastals.ImplicitALS(random_state=0).fit(orders)
products, scores = model.recommend("c17", n=10)  # what c17 has is left out
for product, score in zip(products, scores, strict=True):
    print(f"{product:5} {score:.3f}")
