"""Gets a repository's files from the Hugging Face hub, and holds each to the checksum that the hub states.

    python original.py REPOSITORY FOLDER FILE...

Large files have a SHA-256 there, small ones git's SHA-1 of a blob. Writes SHA256SUMS beside the files, as
`sha256sum --check` reads it, and prints the commit.
"""

import hashlib
import sys
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download


def digest(path, algorithm, start=b""):
    found = hashlib.new(algorithm, start)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def check(folder, file):
    """Ends the program if a file is not the one that the hub states."""
    path = folder / file.rfilename
    if file.lfs is not None:
        found, stated = digest(path, "sha256"), file.lfs.sha256
    else:
        head = b"blob %d\0" % path.stat().st_size
        found, stated = digest(path, "sha1", head), file.blob_id
    if found != stated:
        path.unlink()
        sys.exit(f"{file.rfilename} has the checksum {found}, the hub states {stated}: removed")


def main():
    repository, folder, names = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    info = HfApi().model_info(repository, files_metadata=True)
    files = [file for file in info.siblings if file.rfilename in names]
    wanted = [file.rfilename for file in files]
    snapshot_download(repository, revision=info.sha, local_dir=folder, allow_patterns=wanted)
    for file in files:
        check(folder, file)
    sums = [f"{digest(folder / name, 'sha256')}  {name}\n" for name in sorted(wanted)]
    (folder / "SHA256SUMS").write_text("".join(sums))
    print(info.sha)


try:
    main()
except Exception as error:  # of any library below the client: its first line is for the reader
    first = (str(error).strip().splitlines() or [""])[0]
    sys.exit(f"{type(error).__name__}: {first}")
