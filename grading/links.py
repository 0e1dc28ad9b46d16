"""Where students get the assignment: badges, links, and the address in the set-up cell.

A solution and a page need a badge to say which notebook it opens, in either of two forms. Until
`student-repository` is set, a sentence stands in its place, for there is nothing to open yet. The
set-up cell of a solution holds `KIT = ""` and `SHA256 = ""`; a student's cell that is published
holds the address of the helper files' zip and its checksum.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

KIT = "kit.zip"  # its name in the bundle

_BADGE = re.compile(
    r"\[!\[Open in Colab\]\([^()\s]*\)\]\(https://colab\.research\.google\.com/github/"
    r"[\w.-]+/[\w.-]+/blob/[\w.-]+/([\w.-]+\.ipynb)\)"
    r"|\*Not published yet: a badge that opens ([\w.-]+\.ipynb) in Colab will stand here\.\*"
)
_SETTINGS = re.compile(r'^(KIT|SHA256) = "[^"\n]*"', re.MULTILINE)
_LINK = re.compile(
    r"(colab\.research\.google\.com/github|raw\.githubusercontent\.com)/[^\s\"'`<>)\]\\]*"
)


@dataclass(frozen=True)
class Address:
    """Where a version of the bundle is, or will be.

    Attributes:
        repository: `owner/name` on GitHub, or "" while there is none.
        ref: the tag of this version there.
        sha256: the checksum of the zip with the helper files, in hexadecimal digits.
    """

    repository: str
    ref: str
    sha256: str

    def update(self, text: str) -> str:
        """Writes the address into badges, or that there is none yet, and into the settings."""
        raw = f"https://raw.githubusercontent.com/{self.repository}/{self.ref}/{KIT}"
        settings = {"KIT": raw, "SHA256": self.sha256} if self.repository else {}
        text = _SETTINGS.sub(lambda line: f'{line[1]} = "{settings.get(line[1], "")}"', text)
        return _BADGE.sub(lambda badge: self._badge(badge[1] or badge[2]), text)

    def check(self, text: str, files: Collection[str]) -> Iterator[str]:
        """Yields which links and badges of an updated text lead nowhere.

        Args:
            text: the text.
            files: the names of all files in the bundle.
        """
        for badge in _BADGE.finditer(text):
            if not self.repository and badge[2] not in files:
                yield f"the badge opens {badge[2]}, which is no file of the bundle"
        for link in _LINK.finditer(text):
            blob = "/blob" if link[1].startswith("colab") else ""
            base = f"{link[1]}/{self.repository}{blob}/{self.ref}"
            url = link[0].rstrip(".,;:/")
            name = re.split("[?#]", url.removeprefix(base + "/"))[0]
            if not self.repository:
                yield f"the link {url} leads nowhere while student-repository is not set"
            elif url != base and not url.startswith(base + "/"):
                yield f"the link {url} should begin with {base}/"
            elif url != base and name not in files and not re.search("[${]", name):
                yield f"the link {url} names no file of the bundle"

    def _badge(self, notebook: str) -> str:
        if not self.repository:
            return f"*Not published yet: a badge that opens {notebook} in Colab will stand here.*"
        colab = "https://colab.research.google.com"
        address = f"{colab}/github/{self.repository}/blob/{self.ref}/{notebook}"
        return f"[![Open in Colab]({colab}/assets/colab-badge.svg)]({address})"
