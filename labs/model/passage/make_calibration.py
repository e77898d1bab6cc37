"""Makes the text that GPTQ is calibrated on: books I to VII of "Paradise Lost" by John Milton, 1667.

    python3 -m pip download --no-deps --no-binary :all: brotli==1.2.1
    tar xzf brotli-1.2.1.tar.gz brotli-1.2.1/tests/testdata/plrabn12.txt
    python3 labs/model/passage/make_calibration.py brotli-1.2.1/tests/testdata/plrabn12.txt

writes paradise-lost.txt beside this script. The file of the package is the one of the Canterbury corpus,
a Project Gutenberg text of 1992. Its words and its lines of verse are kept, spaces at the ends of lines
are not. Running the script again gives the same bytes.
"""

import hashlib
import re
import sys
from pathlib import Path

SHA256 = "07e2e0b461af78c7c647cb53dab39de560198e16f799b4516eccf0fbd69f764c"
OUT = Path(__file__).resolve().parent / "paradise-lost.txt"


def books(text):
    """Books I to VII, line by line, one empty line between parts."""
    lines = [line.rstrip() for line in text.splitlines()]
    part = "\n".join(lines[lines.index("Book I") : lines.index("Book VIII")])
    return re.sub(r"\n{3,}", "\n\n", part).strip() + "\n"


if __name__ == "__main__":
    data = Path(sys.argv[1]).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        sys.exit(f"{sys.argv[1]} has the SHA-256 {found}, not {SHA256}: take it from brotli 1.2.1")
    OUT.write_text(books(data.decode("ascii")), encoding="ascii", newline="\n")
