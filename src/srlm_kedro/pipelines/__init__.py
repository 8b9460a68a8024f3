"""The stages of the loop, one package each, and their composition."""

import warnings

# `m1.model` is an input of namespace m2: one name for a table in every pipeline, on purpose.
warnings.filterwarnings("ignore", message="One or more dataset names contain", module="kedro")
