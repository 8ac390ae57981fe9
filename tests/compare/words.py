"""What two runs of the same command may print differently, replaced by what it stands for."""

import re

RULES = [
    (r"sha256:[0-9a-f]{64}", "<digest>"),
    (r"\b[0-9a-f]{64}\b", "<id>"),
    # An id may happen to have digits only.
    (r"(?<![\w-])(?=[0-9a-f]*\d)[0-9a-f]{12}(?![\w-])", "<id>"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?(Z|UTC|[+-]\d\d:?\d\d))*( UTC)?", "<time>"),
    (r"(Less than a second|About an? \w+|\d+ (second|minute|hour|day|week|month|year)s?)(?= ago)", "<while>"),
    (r"\bUp (Less than a second|About an? \w+|\d+ (second|minute)s?)", "Up <while>"),
    (r"\b\d+(\.\d+)? ?([kMG]i?B|B)\b", "<size>"),
    (r"\b(172\.\d+|192\.168|10\.\d+)\.\d+\.\d+\b", "<address>"),
    (r"\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b", "<mac>"),
    (r"\b(3[2-9]|[45]\d|6[0-5])\d{3}\b", "<port>"),
    # Columns are as wide as what stands in them.
    (r" {2,}", "  "),
    # What the client of 20.10 says or not, as it happens.
    (r"\n?time=\"<time>\" level=error msg=\"error waiting for container: context canceled\"", ""),
    # Names that a daemon thought of.
    (r"(?<=\n)(.*  )[a-z]+_[a-z]+(?=\n|$)", r"\1<name>"),
]


# Where the daemons of a run keep their things.
ROOT = re.compile(r"/[\w./]*?corten-compare-\w+/(new|old|corten)/root")


def rootless(text):
    """The same words for the same place below a daemon's root."""
    return ROOT.sub("<root>", text)


def plain(text, directory):
    """The same words for the same answer."""
    text = text.replace(str(directory), "<dir>")
    for pattern, word in RULES:
        text = re.sub(pattern, word, text)
    return "\n".join(line.rstrip() for line in text.strip("\n").split("\n"))
