"""Everything that comes from a record is escaped for the format it goes into (HTML: jinja2's autoescape)."""

from __future__ import annotations

import re

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-!|~$.])")
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    '"': r"\textquotedbl{}",
}


def markdown(text: str) -> str:
    """Returns text that a Markdown renderer shows literally, also in a table cell, without links and tags."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("://", ":&#47;&#47;")
    text = text.replace("@", "&#64;").replace("www.", "www&#46;")
    # The entities above hold '#'; only characters outside of them are escaped.
    parts = re.split(r"(&#?\w+;)", " ".join(text.split()))
    return "".join(part if part.startswith("&") else _MARKDOWN.sub(r"\\\1", part) for part in parts)


def csv_cell(value: str) -> str:
    """Returns text that a spreadsheet does not interpret as a formula."""
    return f"'{value}" if value.lstrip().startswith(("=", "+", "-", "@", "|", "%")) else value


def latex(text: str) -> str:
    """Returns text that LaTeX typesets literally."""
    return "".join(_LATEX.get(char, char if 32 <= ord(char) < 127 else "?") for char in " ".join(text.split()))
