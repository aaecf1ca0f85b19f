"""The documentation site: `python -m sphinx -W -b html docs docs/_build/html`, without a network."""

import sys
from importlib.metadata import version as version_of
from importlib.resources import files
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "ext"))

project = "gradflow"
author = "The gradflow developers"
copyright = "the gradflow developers; MIT license"
release = version_of("gradflow-snn")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_design",
    "docstrings",
    "mathml",
    "written",
]
exclude_patterns = ["_build", "ext", "**/.ipynb_checkpoints", "generated/**/contents.md"]
html_math_renderer = "mathml"

# pages of text with cells are computed; the course is shown as it was committed
nb_execution_mode = "force"
nb_execution_excludepatterns = ["generated/course/*"]
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True
nb_render_markdown_format = "myst"  # with formulas, as a notebook shows them
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # sliders need a kernel; pages show the picture beside them
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

default_role = "code"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_attr_annotations = False  # their axes are no markup; signatures have them
add_module_names = False
python_maximum_signature_line_length = 90
toc_object_entries_show_parents = "hide"
highlight_language = "python"

html_theme = "pydata_sphinx_theme"
html_title = "gradflow"
html_favicon = "static/favicon.svg"
html_domain_indices = False  # the reference lists the modules
html_static_path = ["static", str(files("ziamath") / "fonts" / "STIXTwoMath-Regular.ttf")]
html_css_files = ["gradflow.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "gradflow"},
    "header_links_before_dropdown": 6,
    "navbar_persistent": ["search-button"],
    "navbar_end": ["theme-switcher"],
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_context = {"default_mode": "auto"}  # light or dark as the system is; unset, the theme complains
ALONE = ("index", "start", "meaning", "libraries", "adding", "contributing", "changelog")
html_sidebars: dict[str, list[str]] = {page: [] for page in ALONE}  # pages without others below them
