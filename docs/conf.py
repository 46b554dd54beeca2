"""How Sphinx builds the documentation: `make docs`."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import fastals  # noqa: E402

# Sphinx reads only what stands below docs/.
SOURCES = {page.name: page.read_bytes() for page in (HERE.parent / "examples").glob("*.md")}
NOTEBOOKS = HERE / "examples"
NOTEBOOKS.mkdir(exist_ok=True)
for copy in NOTEBOOKS.glob("*.md"):
    if copy.name not in SOURCES:
        copy.unlink()
for name, text in SOURCES.items():
    copy = NOTEBOOKS / name
    if not copy.exists() or copy.read_bytes() != text:
        copy.write_bytes(text)

project = "fastals"
author = "the fastals developers"
copyright = f"2026, {author}"
version = release = fastals.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_nb",
]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb"}  # the stubs of autosummary have the first
templates_path = ["_templates"]
exclude_patterns = ["_build"]
suppress_warnings = ["mystnb.unknown_mime_type"]

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings have the types
numpydoc_show_class_members = False  # the template of a class lists them
toc_object_entries_show_parents = "hide"
numpydoc_xref_param_type = False

myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"  # results change with the library, not only with the notebook
nb_execution_in_temp = True
nb_execution_timeout = 120
nb_execution_raise_on_error = True

html_theme = "pydata_sphinx_theme"
html_title = "fastals"
html_static_path = ["_static"]
html_css_files = ["fastals.css"]
html_theme_options = {
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "header_links_before_dropdown": 4,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
html_sidebars = {"benchmarks": [], "faq": [], "mathematics": [], "architecture": []}


def escape_bars(app, what, name, obj, options, lines):
    """Let |x| in docstrings stand for a length, not for a substitution of reStructuredText."""
    lines[:] = [line if line.lstrip().startswith((">>>", "...")) else line.replace("|", r"\|") for line in lines]


def setup(app):
    """Connect what autodoc calls."""
    app.connect("autodoc-process-docstring", escape_bars, priority=900)
