"""Files as spreadsheets write them: semicolons, decimal commas, dates with the day first, Latin-1, missing ids."""

from pathlib import Path

import fastals

lines = [
    "Kunde;Artikel;Preis;Tag",
    "Zoë K.;Café crème;4,20;31.12.2025",
    "Zoë K.;Tee;2,50;02.01.2026",
    "Jörg;Tee;2,50;03.01.2026",
    "Jörg;Reis;1,90;03.01.2026",
    ";Reis;1,90;04.01.2026",  # nobody knows who
]
Path("orders.csv").write_text("\n".join(lines), encoding="latin-1")

try:
    fastals.read_table("orders.csv", user="Kunde", item="Artikel")
except ValueError as error:
    print(error)  # with the query that reads the file

query = """SELECT * FROM read_csv('orders.csv', encoding='latin-1', decimal_separator=',', dateformat='%d.%m.%Y')"""
orders = fastals.read_table(query, user="Kunde", item="Artikel", value="Preis", time="Tag", where="Kunde IS NOT NULL")
assert len(orders) == 4 and orders.values.sum() > 11  # 4.20 is no 420
assert str(orders.times.max())[:10] == "2026-01-03"
model = fastals.ImplicitALS(factors=2, random_state=0).fit(orders)
print(model.recommend_frame(["Zoë K."], n=1))
