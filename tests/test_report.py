"""Tables as text, as JSON, and as a page that needs no other file."""

from html.parser import HTMLParser

from fastals.report import Table, cell_text, page, text


def test_text_is_aligned():
    table = Table("name", "Title", ("a", "number"), [("longer", 1.0), ("b", None)], "Note.")
    assert text(table) == "Title\n\na       number\n------  ------\nlonger  1.0000\nb\n\nNote."


def test_a_table_without_rows_has_a_head():
    assert text(Table("name", "Title", ("a", "b"), [], "Note.")) == "Title\n\na  b\n-  -\n\nNote."


def test_cells_have_four_decimals():
    assert [cell_text(cell) for cell in (None, 0.5, 3, "a")] == ["", "0.5000", "3", "a"]


def test_facts_are_rows_by_column():
    table = Table("name", "Title", ("a", "b"), [("x", 1.0)], "Note.")
    assert table.facts() == {"name": "name", "title": "Title", "rows": [{"a": "x", "b": 1.0}], "note": "Note."}


def test_facts_keep_all_columns_of_one_name():
    table = Table("name", "Title", ("a", "+-", "b", "+-"), [(1.0, 0.1, 2.0, 0.2)], "Note.")
    assert table.facts()["rows"] == [{"a": 1.0, "a +-": 0.1, "b": 2.0, "b +-": 0.2}]


class Reader(HTMLParser):
    """Collects the text of a page, its tags, and where its pictures come from."""

    def __init__(self, content):
        super().__init__()
        self.texts, self.tags, self.sources = [], [], []
        self.feed(content)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.texts.append(data)


def test_a_page_holds_its_tables_and_pictures_and_escapes_text():
    tables = [
        Table("one", "A <b> & c", ("item", "score"), [("<script>", 0.5)], "Note."),
        Table("two", "T", ("",), [], ""),
    ]
    read = Reader(page("Title & more", "Start", tables, {"one": b"\x89PNG"}, "What <next>"))
    for part in ("Title & more", "A <b> & c", "<script>", "0.5000", "What <next>"):
        assert part in read.texts
    assert "script" not in read.tags and read.tags.count("img") == 1 and read.tags.count("table") == 2
    assert read.sources == ["data:image/png;base64,iVBORw=="]
