"""`python -m examples.published`: print the published figures of three texts beside those of this library."""

from examples.published.tables import load, tables
from fastals.demo import text

if __name__ == "__main__":
    for table in tables(load()):
        print(text(table), end="\n\n", flush=True)
