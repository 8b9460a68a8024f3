"""Nothing that is read can run code: no pickle, no YAML that builds objects, no evaluation."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
CALLS = {
    *("eval", "exec", "compile", "__import__"),
    *("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "yaml.UnsafeLoader"),
    *("torch.load", "torch.save", "numpy.load", "np.load", "np.save"),
    *("pd.read_pickle", "pandas.read_pickle"),
}
METHODS = {"to_pickle", "read_pickle", "unsafe_load", "full_load"}


def faults(source: str) -> list[str]:
    """What in a module could run code that came as data."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [one.name for one in node.names if one.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module] if (node.module or "").split(".")[0] in MODULES else []
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            allowed = any(word.arg == "allow_pickle" for word in node.keywords)
            wrong = name in CALLS or name.rpartition(".")[2] in METHODS or allowed
            found += [name] if wrong else []
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_module_runs_what_it_reads(path):
    """Weights are safetensors, tables are Parquet or text, notes are JSON."""
    assert faults(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "yaml.load(text)",
        "torch.load(path)",
        "frame.to_pickle(path)",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
    ],
)
def test_the_check_sees_what_it_looks_for(source):
    """Each kind of reading that runs code."""
    assert faults(source) != []


def test_no_dataset_of_the_catalog_is_a_pickle():
    """In any environment."""
    for catalog in (ROOT / "conf").glob("*/catalog.yml"):
        assert "pickle" not in catalog.read_text("utf-8").lower()
