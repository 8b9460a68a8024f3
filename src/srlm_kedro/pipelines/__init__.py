"""The stages of the loop, and their composition. A stage is one file, or a folder whose
`__init__.py` holds its wiring.
"""

import warnings

# `m1.model` is an input of namespace m2. One table has one name in all pipelines, on purpose.
warnings.filterwarnings("ignore", message="One or more dataset names contain", module="kedro")
