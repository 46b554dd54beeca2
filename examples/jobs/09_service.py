"""A web service: customers, baskets, what is in stock, orders, and a refresh while requests go on."""

import threading
from concurrent.futures import ThreadPoolExecutor

from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient
from orders import write_orders
from pydantic import BaseModel

import fastals

STOCK = [f"p{number}" for number in range(0, 150, 2)]
write_orders("orders.csv")
app = FastAPI()


def fitted(start=None):
    """Return a model of all orders, and the filter of what is in stock, which belongs to this model."""
    orders = fastals.read_table("orders.csv", user="customer", item="product")
    model = fastals.ImplicitALS(factors=16, random_state=0).fit(orders, start=start)
    return model, model.item_filter(STOCK, unknown="ignore")


serving = fitted()


class Basket(BaseModel):
    """What somebody without an account has chosen so far."""

    items: list[str]


@app.get("/customers/{customer}")
def known_customer(customer: str, n: int = 5) -> list[str]:
    """Recommend what is in stock to a customer."""
    model, in_stock = serving
    try:
        products, scores = model.recommend(customer, n=n, allow=in_stock)
    except ValueError as error:  # the message names the id that the model does not have
        raise HTTPException(404, str(error)) from None
    return products[scores > -float("inf")].tolist()


@app.post("/baskets")
def somebody_new(basket: Basket, n: int = 5) -> list[str]:
    """Recommend to somebody new, by a basket; products that the model does not know are left out."""
    model, in_stock = serving
    products, scores = model.recommend(basket=basket.items, n=n, allow=in_stock, unknown="ignore")
    return products[scores > -float("inf")].tolist()


@app.post("/orders/{customer}/{product}")
def ordered(customer: str, product: str) -> None:
    """Learn from an order; a new customer or product is part of the model from then on."""
    serving[0].update(customer, product)


def refresh() -> None:
    """Fit a new model from the factors of the old one; requests that are being answered keep the old one."""
    global serving
    serving = fitted(start=serving[0])


with TestClient(app) as client, ThreadPoolExecutor(4) as requests:
    old, nightly = serving, threading.Thread(target=refresh)
    nightly.start()
    answers = list(requests.map(client.get, [f"/customers/c{number}" for number in range(60)]))
    baskets = [{"items": [f"p{number}", "soap"]} for number in range(30)]
    answers += requests.map(lambda basket: client.post("/baskets", json=basket), baskets)
    nightly.join()
    assert serving is not old
    assert {answer.status_code for answer in answers} == {200}
    assert all(set(answer.json()) <= set(STOCK) for answer in answers)
    assert client.get("/customers/zoe").status_code == 404
    assert client.post("/orders/zoe/p4").status_code == 200
    print(len(answers), "answers during the refresh; zoe, who is new:", client.get("/customers/zoe").json())
