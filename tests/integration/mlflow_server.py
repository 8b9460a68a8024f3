"""MLflow's own server of a folder, on a free port of the loopback; it says which on its first line.

`mlflow server` starts workers and a scheduler of jobs as well, which takes a minute on two cores.
"""

import os
import sys

folder = sys.argv[1]
os.environ |= {
    "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder}/mlflow.db",
    "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
    "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
    "_MLFLOW_SERVER_ARTIFACT_DESTINATION": f"{folder}/store",
}

from mlflow.server import app  # noqa: E402, it reads the variables
from werkzeug.serving import make_server  # noqa: E402

server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
