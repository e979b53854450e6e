"""MyST as plain Markdown, for programs that know no directives (nbconvert's slides).

Boxes become block quotes with a bold title, roles their text; labels, options, badges,
solutions and citations go. It knows what the chapters use and no more.
"""

from __future__ import annotations

import re

TITLES = {
    "prf:theorem": "Theorem",
    "prf:proposition": "Proposition",
    "prf:corollary": "Corollary",
    "prf:definition": "Definition",
    "prf:lemma": "Lemma",
    "prf:remark": "Remark",
    "exercise": "Exercise",
    "note": "Note",
    "tip": "Tip",
    "warning": "Warning",
}
LEFT_OUT = {"prf:proof", "solution", "margin", "tab-set", "quiz"}
BOX = re.compile(
    r"^(?P<fence>:{3,})\{(?P<kind>[\w:-]+)\} *(?P<title>[^\n]*)\n"
    r"(?P<options>(?::[\w-]+:[^\n]*\n)*)(?P<body>.*?)^(?P=fence) *$",
    re.MULTILINE | re.DOTALL,
)
BADGE = re.compile(r"^\[!\[Open in Colab\].*\n?", re.MULTILINE)
LABEL = re.compile(r"(\$\$) *\([\w-]+\) *$|^\([\w-]+\)=\n", re.MULTILINE)
CITATION = re.compile(r"\s*\{cite(?::p)?\}`[^`]*`")
NAMED = re.compile(r"\{[\w:]+\}`([^`<]+?) *<[^`>]*>`")
WORDS = (
    (re.compile(r"\{cite:t\}`([a-z-]+)(\d{4})\w*`"), r"\1 (\2)"),
    (re.compile(r"\{eq\}`[^`]*`"), "the equation"),
    (re.compile(r"\{numref\}`[^`]*`"), "the figure"),
    (re.compile(r"\{prf:ref\}`[^`]*`"), "the theorem"),
    (re.compile(r"\{(?:ref|doc|term)\}`([^`]*)`"), r"\1"),
)


def plain(text: str) -> str:
    """The text as plain Markdown."""
    text = BOX.sub(_box, BADGE.sub("", text))
    text = NAMED.sub(r"\1", CITATION.sub("", LABEL.sub(r"\1", text)))
    for pattern, words in WORDS:
        text = pattern.sub(words, text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _box(match: re.Match[str]) -> str:
    kind, title = match["kind"], match["title"].strip()
    body = BOX.sub(_box, match["body"]).strip()  # boxes may hold boxes
    if kind == "figure":
        alt = re.search(r"^:alt: *(.+)$", match["options"], re.MULTILINE)
        image = f"![{alt[1] if alt else ''}]({title})"
        return f"{image}\n\n{body}\n"
    if kind in LEFT_OUT or kind.startswith("solution"):
        return ""
    if kind == "admonition":
        name = title
    else:
        name = TITLES.get(kind, kind)
        name += f" ({title})" if title else ""
    lines = [f"**{name}.**", "", *body.splitlines()]
    return "\n".join(f"> {line}".rstrip() for line in lines) + "\n"
