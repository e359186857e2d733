"""Sphinx's settings for the reading edition. teaching/site.py puts this file beside the pages and runs sphinx-build."""

import html
import re

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

project = "Two Views: SimCLR from scratch"
html_title = "Two Views"
html_last_updated_fmt = None
extensions = ["myst_nb"]
nb_execution_mode = "off"  # the notebooks come executed, by the course's own environment
highlight_language = "text"  # for fences without a language; code cells say theirs
nb_output_stderr = "remove"
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4
exclude_patterns = ["conf.py"]
html_theme = "sphinx_book_theme"
html_static_path = ["style.css"]
html_css_files = ["style.css"]
html_copy_source = False
html_math_renderer = "mathml"
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "home_page_in_toc": True,
    "navbar_persistent": [],  # one search field, in the side bar
    "footer_content_items": "",
}


def mathml(formula, **how):
    """MathML of a formula; a thin space keeps the names of functions apart from what follows, as TeX does."""
    name = r"(?<!<msub>)(?<!<msup>)(?<!<munder>)(<mi>(?:log|exp|cos|max|min)</mi>)(?!<mo[^>]*>&#x00028;)"
    return re.sub(name, r'\1<mspace width="0.17em"/>', convert(formula, **how))


def inline(writer, node):
    writer.body.append(mathml(node.astext()))
    raise SkipNode


def block(writer, node):
    words, formula = html.escape(node.astext()), mathml(node.astext(), display="block")
    writer.body.append(f'<div class="formula" role="math" tabindex="0" aria-label="{words}">{formula}</div>')
    raise SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
