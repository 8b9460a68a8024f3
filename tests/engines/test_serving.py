"""A registered checkpoint answers through MLflow."""

import mlflow
import pandas as pd
import pytest

from srlm_kedro.engines.generation.base import Request, Sampling
from srlm_kedro.engines.generation.transformers import TransformersEngine
from srlm_kedro.tracking.registry import register_checkpoint
from tests.engines.models import write_qwen2


@pytest.mark.filterwarnings("ignore::UserWarning:mlflow")
def test_a_registered_model_is_loaded_and_answers_by_its_alias(tmp_path, monkeypatch):
    """The response is the engine's, sampled with the parameters that came with the prompts."""
    model = write_qwen2(tmp_path / "m2", name="m2")
    monkeypatch.chdir(tmp_path)
    database = f"sqlite:///{tmp_path}/mlflow.db"
    client = mlflow.MlflowClient(database)
    experiment = client.create_experiment("chain", artifact_location=str(tmp_path / "artifacts"))
    run = client.create_run(experiment).info.run_id
    register_checkpoint(client, run, "chain", model, digest="d")
    folder = client.get_model_version_by_alias("chain", "m2").source
    served = mlflow.pyfunc.load_model(folder)
    params = {"temperature": 0.0, "max_new_tokens": 6}
    said = served.predict(pd.DataFrame({"prompt": ["Where is Paris?"]}), params=params)
    asked = [Request("0", "Where is Paris?")]
    plain = TransformersEngine().generate(model, asked, Sampling(**params), 0)
    assert said == [plain[0][0].text]
