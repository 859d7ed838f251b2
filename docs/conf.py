import tritforge

project = "tritforge"
author = "tritforge contributors"
project_copyright = "2026, tritforge contributors"
release = tritforge.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
napoleon_google_docstring = False
napoleon_use_param = False
napoleon_custom_sections = [("Attributes", "params_style")]    # several ports may share a description
autodoc_member_order = "bysource"
default_role = "code"
toc_object_entries = False
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"tritforge {release}"
