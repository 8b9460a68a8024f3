"""The configuration as an archive for other machines: no secrets, nothing of this machine."""

import tarfile
from pathlib import Path

_LOCAL = "local"
"""The environment of one machine. The archive has its folder, because Kedro needs it, but empty."""
_KEPT = ".gitkeep"


def archive_conf(conf: Path, archive: Path) -> list[str]:
    """Writes a configuration folder into a gzip-compressed tar, under its own name.

    Credentials of every environment, the files of `local`, hidden files and links are left out.

    Args:
        conf: The folder of the environments.
        archive: The file to write; its folder is made.

    Returns:
        The files left out, relative to `conf`.
    """
    files = sorted(path for path in conf.rglob("*") if path.is_symlink() or not path.is_dir())
    left = [path for path in files if not _is_archived(path, conf)]
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(conf, conf.name, recursive=False)
        for path in files:
            if path not in left:
                tar.add(path, Path(conf.name, path.relative_to(conf)).as_posix())
    return [path.relative_to(conf).as_posix() for path in left]


def _is_archived(path: Path, conf: Path) -> bool:
    names = path.relative_to(conf).parts
    secret = any("credential" in name.lower() for name in names)
    hidden = any(name.startswith(".") for name in names[:-1]) or (
        names[-1].startswith(".") and names[-1] != _KEPT
    )
    local = names[0] == _LOCAL and names[-1] != _KEPT
    return not (secret or hidden or local or path.is_symlink())
