"""Whether a built site loads nothing from elsewhere, and its own links lead somewhere.

``python docs/_extensions/check_site.py docs/_build/html`` prints what is wrong and ends with 1.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADED = {  # attributes whose address a browser loads by itself
    "script": ("src",), "img": ("src", "srcset"), "iframe": ("src",), "source": ("src", "srcset"),
    "video": ("src", "poster"), "audio": ("src",), "embed": ("src",), "object": ("data",),
    "link": ("href",), "image": ("href", "xlink:href"), "use": ("href", "xlink:href"),
}  # fmt: skip
_ELSEWHERE = re.compile(r"^(?:https?:)?//", re.IGNORECASE)
_IN_STYLE = re.compile(r"(?:url\(\s*|@import\s+)['\"]?((?:https?:)?//[^'\")\s]+)", re.IGNORECASE)
_IN_SCRIPT = re.compile(r"https?://[^\s\"'<>]+\.(?:m?js|css|woff2?)\b", re.IGNORECASE)
_SHOWN = 30
_NO_RESOURCE = {"canonical", "next", "prev", "index", "search", "author", "license"}


@dataclass
class Page(HTMLParser):
    """What a page loads, where it links to, and the places in it that can be linked to."""

    loaded: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    places: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the addresses and the id of an element."""
        given = {name: value or "" for name, value in attrs}
        self._inside = tag if tag in ("script", "style") else ""
        self.places |= {given[name] for name in ("id", "name") if given.get(name)}
        resource = tag != "link" or not set(given.get("rel", "").split()) & _NO_RESOURCE
        if resource:
            self.loaded += [given[name] for name in _LOADED.get(tag, ()) if name in given]
        self.loaded += _IN_STYLE.findall(given.get("style", ""))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])

    def handle_endtag(self, tag: str) -> None:
        """The element is over."""
        self._inside = ""

    def handle_data(self, data: str) -> None:
        """Note what inline styles and scripts load."""
        if self._inside == "style":
            self.loaded += _IN_STYLE.findall(data)
        elif self._inside == "script":
            self.loaded += _IN_SCRIPT.findall(data)


def faults(site: Path) -> list[str]:
    """A sentence for each thing loaded from elsewhere, and each link that leads nowhere."""
    pages = {}
    for path in sorted(site.rglob("*.html")):
        page = pages[path.resolve()] = Page()
        page.feed(path.read_text(encoding="utf-8"))
    found = []
    for path, page in pages.items():
        name = path.relative_to(site.resolve()).as_posix()
        found += [f"{name} loads {url}" for url in page.loaded if _ELSEWHERE.match(url)]
        found += [f"{name} links to {link}, {why}" for link, why in _dead(path, page, pages)]
    for path in sorted(site.rglob("*.css")):
        urls = _IN_STYLE.findall(path.read_text(encoding="utf-8"))
        found += [f"{path.relative_to(site).as_posix()} loads {url}" for url in urls]
    return found


def _dead(path: Path, page: Page, pages: dict[Path, Page]) -> Iterator[tuple[str, str]]:
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue  # leads to elsewhere, when somebody follows it
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if target.is_dir():
            target = target / "index.html"
        places = pages[target].places if target in pages else {unquote(parts.fragment)}
        if not target.exists():
            yield link, "which does not exist"
        elif parts.fragment and unquote(parts.fragment) not in places:
            yield link, "a place that is not on that page"


def main(arguments: list[str]) -> int:
    """Print the faults of the site named first."""
    site = Path(arguments[0])
    found = faults(site)
    for fault in found[:_SHOWN]:
        sys.stderr.write(f"{fault}\n")
    if len(found) > _SHOWN:
        sys.stderr.write(f"… and {len(found) - _SHOWN} more\n")
    count = len(list(site.rglob("*.html")))
    sys.stdout.write(f"{count} pages: {len(found) or 'no'} faults. The site: {site}/index.html\n")
    return bool(found)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
