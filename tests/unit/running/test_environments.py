"""Several environments in one run: `--env=a+b`."""

from pathlib import Path

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
        "other/globals.yml": "own: /controls/other\n",
        "other/parameters.yml": "loop: {judge: m1}\n",
        "asked/globals.yml": "own: /controls/asked\n",
        "asked/catalog.yml": "judge_prompt: {type: t, filepath: asked.txt}\n",
        "plain/parameters.yml": "sft: {epochs: 3}\n",
        "big/globals.yml": "data: data/big\n",
        "big/parameters.yml": "sft: {epochs: 4}\n",
        "big/catalog.yml": "judge_prompt: {type: t, filepath: big.txt}\n",
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
    assert "asked, base, big, control, empty, local, other, plain, real" in str(error.value)


@pytest.mark.parametrize("env", ["contrl", "real+contrl"])
def test_the_environment_that_was_meant_is_named(conf, env):
    """And not all that there are."""
    with pytest.raises(InputError, match="'contrl'; did you mean `control`") as error:
        loader(conf, env)
    assert "empty" not in str(error.value)


@pytest.mark.parametrize(
    ("env", "said"),
    [
        (
            "control+real",
            "real takes back what control changes: parameter `sft.epochs` is `2` in control and "
            "`1` in real. The later one counts where two differ, so put the base first: "
            "--env=real+control",
        ),
        ("plain+big", "parameter `sft.epochs` is `3` in plain and `4` in big"),
        ("asked+big", "the catalog's entry `judge_prompt` is in both, and not the same"),
        ("big+control+plain", "`3` in plain. No order keeps what each of them changes"),
        ("asked+big+empty", "put the base first: --env=big+empty+asked"),
        (
            "real+control+other",
            "globals: `own` is `/controls/control` in control and `/controls/other` in other. No "
            "order keeps what each of them changes; write an environment of your own",
        ),
    ],
)
def test_an_order_in_which_one_takes_back_what_another_changes_is_refused(conf, env, said):
    """Both environments, the setting, both values, and the order that keeps them."""
    with pytest.raises(InputError) as error:
        loader(conf, env)
    assert said in str(error.value)
    assert "and 1 more" not in str(error.value)


@pytest.mark.parametrize(
    "env", ["real+control", "big+asked", "big+plain", "plain+control", "big+real", "other+real"]
)
def test_an_order_in_which_nothing_is_taken_back_is_taken(conf, env):
    """The first may be changed by what builds on it, and no order matters without a difference."""
    assert loader(conf, env)["parameters"]["seed"] == 0


CONF = Path(__file__).parents[3] / "conf"
CONTROLS = sorted(
    file.parent.name for file in CONF.glob("*/globals.yml") if "own: /" in file.read_text("utf-8")
)


def told(env):
    """The refusal of an order; empty if it is taken."""
    try:
        loader(CONF, env)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("control", CONTROLS)
def test_every_control_goes_with_smollm_in_one_order(control):
    """In the other order either nothing differs, or it is refused."""
    right = loader(CONF, f"smollm+{control}")
    if refusal := told(f"{control}+smollm"):
        assert f"--env=smollm+{control}" in refusal
        return
    wrong = loader(CONF, f"{control}+smollm")
    assert all(right[kind] == wrong[kind] for kind in ("parameters", "catalog", "globals"))


def test_the_wrong_order_of_the_ceiling_is_refused():
    """It would have rewarded by the judge, in the ceiling's folder."""
    assert "`loop.reward` is `checked` in checked and `judge` in smollm" in told("checked+smollm")
