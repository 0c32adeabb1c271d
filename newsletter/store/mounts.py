"""Whether a path is on a network file system, as far as Linux tells."""

from __future__ import annotations

import re
from pathlib import Path

_MOUNTINFO = Path("/proc/self/mountinfo")

#: File systems on which locks or shared memory of several machines do not hold as SQLite needs them
#: (https://www.sqlite.org/wal.html: "WAL does not work over a network filesystem").
_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "9p", "ceph", "lustre", "gfs2", "ocfs2", "beegfs", "davfs"}
    | {"glusterfs", "fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.sshfs", "fuse.rclone", "fuse.davfs2"}
    | {"fuse.s3fs", "fuse.gcsfuse", "fuse.goofys", "fuse.mount-s3", "fuse.blobfuse2", "fuse.smbnetfs", "fuse.juicefs"}
)


def network_file_system(path: Path, mounts: str | None = None) -> str:
    """The type of the network file system `path` is on or would be made on; '' where it is local, or unknown.

    `mounts` is text in the form of /proc/self/mountinfo (proc(5)).
    """
    if mounts is None:
        try:
            # names may hold any byte
            mounts = _MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return ""
    place = path.resolve()
    found, depth = "", -1
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if len(fields) < 5:
            continue
        point = Path(_unescaped(fields[4]))
        # of two mounts at one place the later one hides the other
        if place.is_relative_to(point) and len(point.parts) >= depth:
            found, depth = kinds[0], len(point.parts)
    return found if found in _NETWORK else ""


def _unescaped(field: str) -> str:
    r"""Blanks, tabs, line ends and backslashes stand there as \040 and the like."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), field)
