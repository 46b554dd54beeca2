"""Pictures as in a notebook, and what a notebook shows of a model."""

from orders import write_orders

import fastals

orders = fastals.read_table(write_orders("orders.csv"), user="customer", item="product")
model = fastals.ImplicitALS(factors=16, random_state=0).fit(orders)
pictures = {
    "degrees.png": fastals.plots.degrees(orders)[0],  # one for customers, one for products
    "convergence.png": fastals.plots.convergence(model),
    "products.png": fastals.plots.embedding(model, orders, n_labels=8),
}
for name, axes in pictures.items():
    axes.figure.savefig(name)
print(model._repr_html_())  # what a notebook shows of a model
