"""How Sphinx builds popk's site: from what lies in the repository alone, with no network."""

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "popk"
author = "The popk authors"
project_copyright = "the popk authors, Apache-2.0"
release = version = installed("popk")

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_nb", "mathml", "sources"]
exclude_patterns = ["_build", "_extensions"]
smartquotes = False  # options begin with two hyphens
default_role = "py:obj"  # `popk.sample` in a docstring is a link where there is such an object

# Pages are MyST. Those with `file_format: mystnb` hold cells that run when the site is built;
# notebooks come with the outputs they were committed with.
myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_excludepatterns = ["tutorials/*"]
nb_execution_timeout = 600  # seconds a cell; the first use on a machine compiles the engine
nb_execution_raise_on_error = True
nb_execution_in_temp = True  # of each page alone; kernel_start.py copies the example there
nb_merge_streams = True
nb_ipywidgets_js = {}  # these would be loaded from elsewhere
suppress_warnings = ["myst.header"]  # results and the changelog begin where they like

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
maximum_signature_line_length = 90
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = ["Result"]
napoleon_use_ivar = True
autodoc_default_options = {"exclude-members": "set"}  # matplotlib writes it into artists
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "popk"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["popk.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#00639b", "color-brand-content": "#00639b"},
    "dark_css_variables": {"color-brand-primary": "#6cb8ea", "color-brand-content": "#6cb8ea"},
}
