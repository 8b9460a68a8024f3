"""Several environments in one run: `--env=a+b`."""

import pytest

from srlm_kedro.errors import InputError
from srlm_kedro.running.conf_files import CheckedConfigLoader
from srlm_kedro.settings import CONFIG_LOADER_ARGS

pytestmark = pytest.mark.filterwarnings("ignore:register_new_resolver")


@pytest.fixture
def conf(tmp_path):
    files = {
        "base/globals.yml": "data: data\nown: ''\n",
        "base/parameters.yml": "pairs: {order: reward, min_margin: 0}\nseed: 0\n",
        "base/catalog.yml": "m: {type: t, filepath: '${globals:data}${globals:own}/m'}\n",
        "real/globals.yml": "data: data/real\n",
        "real/parameters.yml": "pairs: {min_margin: 1}\nsft: {epochs: 1}\n",
        "control/globals.yml": "own: /controls/control\n",
        "control/parameters.yml": "pairs: {order: random}\nsft: {epochs: 2}\n",
        "empty/readme.txt": "nothing",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (tmp_path / "local").mkdir()
    return tmp_path


def loader(conf, env):
    return CheckedConfigLoader(str(conf), env, **CONFIG_LOADER_ARGS)


def test_the_later_one_overrides_the_earlier_one(conf):
    """Groups are merged value by value, as with one environment."""
    found = loader(conf, "real+control")["parameters"]
    assert found["pairs"] == {"order": "random", "min_margin": 1}
    assert found["sft"] == {"epochs": 2}
    assert found["seed"] == 0
    assert loader(conf, "control+real")["parameters"]["sft"] == {"epochs": 1}


def test_a_path_is_made_of_the_values_of_both(conf):
    """The control of a real model lies below that model's data."""
    assert loader(conf, "real+control")["catalog"]["m"]["filepath"] == (
        "data/real/controls/control/m"
    )


def test_an_environment_without_files_changes_nothing(conf):
    """As alone."""
    found = loader(conf, "real+empty")
    assert found["parameters"] == loader(conf, "real")["parameters"]
    assert found["catalog"] == loader(conf, "real")["catalog"]


@pytest.mark.parametrize("env", ["nope", "real+nope", "real+", "nope+control"])
def test_an_unknown_environment_is_refused(conf, env):
    """Kedro would read conf/base and say nothing."""
    with pytest.raises(InputError, match="has no environment") as error:
        loader(conf, env)
    assert "base, control, empty, local, real" in str(error.value)
