"""Engines, constants and timings in the catalog."""

import pandas as pd
import pytest
from kedro.io import DatasetError

from srlm_kedro.datasets.engine import EngineDataset
from srlm_kedro.datasets.figure import FigureDataset
from srlm_kedro.datasets.values import ConstantDataset, TimingsDataset
from srlm_kedro.freshness.manifest import write_manifest

FRACTION = "fractions.Fraction"


def test_an_engine_is_built_once_from_its_name_and_options():
    """Options and resources both reach the constructor."""
    dataset = EngineDataset(FRACTION, {"numerator": 3}, {"denominator": 4})
    assert dataset.load() == 0.75
    assert dataset.load() is dataset.load()


def test_an_unknown_option_of_an_engine_is_refused():
    """A mistyped option names the known ones."""
    with pytest.raises(DatasetError, match=r"no option treads\. Known options: numerator"):
        EngineDataset(FRACTION, {"treads": 2}).load()


def test_resources_are_no_part_of_an_engines_fingerprint():
    """Batch size cannot make a result stale; precision can."""
    plain = EngineDataset(FRACTION, {"numerator": 3}).fingerprint()
    assert EngineDataset(FRACTION, {"numerator": 3}, {"denominator": 4}).fingerprint() == plain
    assert EngineDataset(FRACTION, {"numerator": 5}).fingerprint() != plain


def test_a_constant_is_given_as_it_stands_or_as_a_table():
    """Columns with no rows make an empty table."""
    assert ConstantDataset({}).load() == {}
    table = ConstantDataset({"prompt": []}, table=True).load()
    assert list(table.columns) == ["prompt"]
    assert table.empty


def test_timings_hold_one_row_a_node(tmp_path):
    """Two outputs of a node are one row; nodes outside a model are left out."""
    layer = tmp_path / "07_model_output"
    layer.mkdir()
    for name, node in [("a", "m2.judge"), ("b", "m2.judge"), ("c", "prepare_ift")]:
        (layer / name).touch()
        write_manifest(layer / name, {"node": node, "seconds": 1.5})
    expected = pd.DataFrame({"model": ["m2"], "node": ["judge"], "seconds": [1.5]})
    pd.testing.assert_frame_equal(TimingsDataset([str(tmp_path)]).load(), expected)


def test_a_figure_is_a_json_file_that_kedro_viz_can_draw(tmp_path):
    """What is loaded is what was saved; the preview is its JSON."""
    from plotly.graph_objects import Bar, Figure

    dataset = FigureDataset(str(tmp_path / "m2/plot.json"))
    assert not dataset.exists()
    figure = Figure(Bar(x=["M1", "M2"], y=[1, 2]))
    dataset.save(figure)
    assert dataset.exists()
    assert dataset.load() == figure
    assert dataset.preview()["data"][0]["x"] == ["M1", "M2"]
