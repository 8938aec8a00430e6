"""On which kind of file system a folder lies; SQLite's write-ahead log needs shared memory, so one machine."""

from __future__ import annotations

from pathlib import Path

MOUNTS = Path("/proc/mounts")
NETWORK = {
    "9p", "afs", "beegfs", "ceph", "cifs", "davfs", "gfs2", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2",
    "smb3", "smbfs", "virtiofs",
}  # fmt: skip
LOCAL_FUSE = {"fuseblk", "fuse.fuse-overlayfs", "fuse.lxcfs"}  # a local disk or a container's own layers


def network_kind(folder: Path) -> str | None:
    """The file system's name where it is a network one, also through FUSE (s3fs, gcsfuse, hf-mount); else None.

    None as well on a machine without such a table (macOS, Windows), which cannot be asked.
    """
    try:
        lines = MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return None
    kind, longest = None, -1
    for line in lines:
        _, place, name, *_ = line.split(" ")
        # The kernel writes space, tab, newline and backslash as octal numbers.
        point = Path(place.encode("latin-1", "replace").decode("unicode_escape"))
        if (
            folder.is_relative_to(point) and len(point.parts) >= longest
        ):  # a later mount covers an earlier one
            kind, longest = name, len(point.parts)
    if kind is None or kind in LOCAL_FUSE:
        return None
    return kind if kind in NETWORK or kind == "fuse" or kind.startswith("fuse.") else None
