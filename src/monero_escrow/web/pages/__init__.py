"""The operator's pages: what the API knows, for people, at /admin.

Routes are thin: they read, let a view model say what is to be shown, and fill a template. Nothing is decided here: a
decision goes through the same use case as the API's. No page asks anything of another machine, none has a script or a
style of its own in it, and each is shown to whoever holds an operator's or an arbiter's key, and to nobody else.
"""

from __future__ import annotations

from typing import Final

ROOT: Final = "/admin"
"""Where the pages are; the browser sends their cookie nowhere else."""
