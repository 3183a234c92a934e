"""Configuration of the site that ``make docs`` builds."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # the extensions, and the packages whose source the pages show

project = "scratchnet"
extensions = [
    "myst_parser",
    "sphinx.ext.napoleon",
    "extensions.mathml",
    "extensions.gallery",
    "extensions.notebooks",
    "extensions.units",
    "extensions.languages",
]
exclude_patterns = ["extensions"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
highlight_language = "python"
default_role = "code"

html_theme = "furo"
html_title = "scratchnet"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_favicon = "static/icon.svg"  # or browsers ask for one that is not there
html_math_renderer = "mathml"
html_copy_source = False
html_show_copyright = False
html_use_index = False  # the gallery is one
html_theme_options = {"top_of_page_buttons": []}
pygments_style = "friendly"
pygments_dark_style = "monokai"
