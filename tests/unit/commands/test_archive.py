"""Which files of a configuration are archived."""

import tarfile

import pytest

from srlm_kedro.commands.archive import archive_conf

SECRET = "sk-secret-of-mine"


@pytest.fixture
def conf(tmp_path):
    """Two environments, files of this machine, and secrets wherever Kedro reads them."""
    files = {
        **dict.fromkeys(["base/catalog.yml", "base/prompts/judge.txt", "logging.yml"], "plain"),
        **dict.fromkeys(["base/.gitkeep", "local/.gitkeep"], ""),
        **dict.fromkeys(
            [
                *("external_judge/credentials.yml", "base/credentials_of_mine.yaml"),
                *("paper/credentials/openai.yml", "paper/Credentials.json"),
                *("local/parameters.yml", "local/deep/notes.txt", "base/.env"),
                "base/.ipynb_checkpoints/catalog.yml",
            ],
            SECRET,
        ),
    }
    for name, text in files.items():
        path = tmp_path / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    (tmp_path / "conf/paper/linked.yml").symlink_to(tmp_path / "conf/local/parameters.yml")
    return tmp_path / "conf"


def test_no_secret_is_in_the_archive(conf, tmp_path):
    """Secrets of any environment, folder or link stay out; each file that stays out is listed."""
    archive = tmp_path / "dist/conf.tar.gz"
    left = archive_conf(conf, archive)
    with tarfile.open(archive) as tar:
        held = {one.name: tar.extractfile(one).read() for one in tar if one.isfile()}
        assert not any(one.issym() or one.islnk() for one in tar)
    assert set(held) == {
        *("conf/base/.gitkeep", "conf/base/catalog.yml", "conf/base/prompts/judge.txt"),
        *("conf/local/.gitkeep", "conf/logging.yml"),
    }
    assert not any(SECRET.encode() in content for content in held.values())
    assert len(left) == 9
    assert {"external_judge/credentials.yml", "local/parameters.yml"} <= set(left)
