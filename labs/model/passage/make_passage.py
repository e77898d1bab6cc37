"""Makes the passage that perplexities are measured on: chapters I to IV of "Alice's Adventures in
Wonderland" by Lewis Carroll, 1865.

    python3 -m pip download --no-deps --no-binary :all: brotli==1.2.1
    tar xzf brotli-1.2.1.tar.gz brotli-1.2.1/tests/testdata/alice29.txt
    python3 labs/model/passage/make_passage.py brotli-1.2.1/tests/testdata/alice29.txt

writes alice.txt beside this script. The file of the package is the one of the Canterbury corpus, an
early Project Gutenberg text. Its words are kept; lines are joined to paragraphs, since a model reads
line ends as text, and a book in lines of 64 characters is not what anybody sends to a server. Running
the script again gives the same bytes.
"""

import hashlib
import re
import sys
from pathlib import Path

SHA256 = "7467306ee0feed4971260f3c87421154a05be571d944e9cb021a5713700c38f0"
OUT = Path(__file__).resolve().parent / "alice.txt"


def passage(text):
    """Chapters I to IV, a paragraph a line, an empty line between paragraphs."""
    start = text.index("CHAPTER I\n")
    end = text.index("CHAPTER V\n")
    paragraphs = re.split(r"\n\s*\n", text[start:end])
    joined = (" ".join(paragraph.split()) for paragraph in paragraphs)
    # Rows of asterisks are ornaments.
    return "\n\n".join(p for p in joined if p and set(p) - set("* ")) + "\n"


if __name__ == "__main__":
    data = Path(sys.argv[1]).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        sys.exit(f"{sys.argv[1]} has the SHA-256 {found}, not {SHA256}: take it from brotli 1.2.1")
    OUT.write_text(passage(data.decode("ascii").replace("\r\n", "\n")), encoding="ascii", newline="\n")
