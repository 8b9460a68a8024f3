"""Broken files of conf/ are one message with file, line and reason."""

from pathlib import Path

import pytest

from srlm_kedro.errors import InputError
from srlm_kedro.running.conf_files import CheckedConfigLoader, file_faults

ROOT = Path(__file__).parents[3]

ENTRY = "a: {type: t}\n"


def written(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content", "line", "said"),
    [
        ("parameters.yml", "a: 1\nb:\n  c: x\n   d: y\n", 4, "is not YAML (mapping values"),
        ("parameters.yml", "seed: 1\n\tb: 2\n", 2, "is not YAML (found"),
        ("parameters.yml", "a: 1\nb: *c\n", 2, "is not YAML (found undefined alias"),
        ("parameters.yml", "a: 1\nb: {c: 1, c: 2}\n", 2, "`c` occurs a second time"),
        ("parameters.yml", "# none\n- a\n", 2, "holds a list instead of lines `name: value`"),
        ("parameters.yml", "hello\n", 1, "holds a single value"),
        ("parameters.yml", b"a: 1\nb: \xff\n", 2, "is not UTF-8"),
        ("parameters.yml", b"a: 1\nb: \x07\n", 2, "holds a character that YAML forbids"),
        ("catalog.yml", f"{ENTRY}b: hello\n", 2, "entry `b` is a single value. Write its `type"),
        ("catalog_b.yml", f"{ENTRY}b: [1]\n", 2, "entry `b` is a list"),
        ("catalog/b.yml", "b: {c: 1, c: 2}\n", 1, "`c` occurs a second time"),
        ("catalog.yml", f"{ENTRY}b:\n", 2, "entry `b` is empty"),
        ("catalog.yml", f"{ENTRY}b:\n  filepath: x\n", 2, "entry `b` has no `type`. An entry"),
        ("globals.yml", "a: [1\n", 2, "is not YAML"),
    ],
)
def test_a_broken_file_is_told_with_its_line(tmp_path, name, content, line, said):
    """The loader refuses the file before Kedro reads anything."""
    path = written(tmp_path, f"local/{name}", content)
    with pytest.raises(InputError) as refusal:
        CheckedConfigLoader(str(tmp_path), base_env="base", default_run_env="local")
    (fault,) = str(refusal.value).split("\n")[1:]
    assert fault.startswith(f"  - {path}, line {line}: ")
    assert said in fault


@pytest.mark.parametrize(
    "content", ["k: *hunter2\n", "hunter2: [\n", "s: {hunter2: 1, hunter2: 2}"]
)
def test_what_credentials_hold_is_quoted_nowhere(tmp_path, content):
    """The message has only file and line."""
    (fault,) = file_faults(written(tmp_path, "credentials.yml", content))
    assert "credentials.yml, line " in fault
    assert "hunter2" not in fault


def test_what_kedro_reads_as_an_entry_is_none_of_these(tmp_path):
    """Entries with an underscore, interpolated or merged entries, and an empty file are valid."""
    sound = "_part: &p {type: t}\na: ${_part}\nb:\n  <<: *p\n  x: 1\n"
    assert file_faults(written(tmp_path, "catalog.yml", sound)) == []
    assert file_faults(written(tmp_path, "parameters.yml", "# nothing\n")) == []


def test_all_faults_are_told_at_once_and_those_of_other_environments_not(tmp_path):
    """A run reads conf/base, its environment, and from conf/local what belongs to the machine."""
    for name in ("base/parameters.yml", "one/catalog.yml", "two/catalog.yml", "local/globals.yml"):
        written(tmp_path, name, "a: [1\n")
    written(tmp_path, "local/mlflow.yml", "a: [1\n")
    written(tmp_path, "base/notes.yml", "a: [1\n")  # which no run reads
    with pytest.raises(InputError) as refusal:
        CheckedConfigLoader(str(tmp_path), "one", base_env="base", default_run_env="local")
    found = [line.split(", line")[0] for line in str(refusal.value).split("\n")[1:]]
    expected = ("base/parameters.yml", "one/catalog.yml", "local/mlflow.yml")
    assert found == [f"  - {tmp_path / name}" for name in expected]


def test_what_is_shipped_is_sound():
    """Every shipped environment is valid."""
    files = [file for ending in ("yml", "yaml") for file in (ROOT / "conf").rglob(f"*/*.{ending}")]
    assert len(files) > 20
    assert [fault for file in files for fault in file_faults(file)] == []
