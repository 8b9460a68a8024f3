"""Constants, timings and figures in the catalog."""

import pandas as pd
import pytest
from kedro.io import DatasetError

from srlm_kedro.datasets.figure import FigureDataset
from srlm_kedro.datasets.models import ServedModelDataset
from srlm_kedro.datasets.values import ConstantDataset, MachineDataset, TimingsDataset
from srlm_kedro.freshness.manifest import write_manifest


def test_a_constant_is_given_as_it_is_or_as_a_table():
    """Columns without rows make an empty table."""
    assert ConstantDataset({}).load() == {}
    table = ConstantDataset({"prompt": []}, table=True).load()
    assert list(table.columns) == ["prompt"]
    assert table.empty


def test_timings_have_one_row_per_node(tmp_path):
    """Two outputs of a node give one row; nodes of no model, and files of no node, are left out."""
    layer = tmp_path / "07_model_output"
    layer.mkdir()
    for name, node in [("a", "m2.judge"), ("b", "m2.judge"), ("c", "prepare_ift")]:
        (layer / name).touch()
        write_manifest(layer / name, {"node": node, "seconds": 1.5})
    (layer / "weights-of-a-gguf-file").touch()
    write_manifest(layer / "weights-of-a-gguf-file", {"parts": {}})
    expected = pd.DataFrame({"model": ["m2"], "node": ["judge"], "seconds": [1.5]})
    pd.testing.assert_frame_equal(TimingsDataset([str(tmp_path)]).load(), expected)


def test_a_figure_is_a_json_file_that_kedro_viz_can_draw(tmp_path):
    """Loading gives the saved figure; the preview is its JSON."""
    from plotly.graph_objects import Bar, Figure

    dataset = FigureDataset(str(tmp_path / "m2/plot.json"))
    assert not dataset.exists()
    figure = Figure(Bar(x=["M1", "M2"], y=[1, 2]))
    dataset.save(figure)
    assert dataset.exists()
    assert dataset.load() == figure
    assert dataset.preview()["data"][0]["x"] == ["M1", "M2"]


@pytest.mark.parametrize(
    "dataset", [ConstantDataset(3), TimingsDataset([]), MachineDataset(), ServedModelDataset("m")]
)
def test_what_is_only_read_refuses_to_be_saved(dataset):
    """The message names the entry, says where the value comes from, and what to do."""
    with pytest.raises(DatasetError, match=rf"{type(dataset).__name__}\(.*, so no node can save"):
        dataset.save(3)
