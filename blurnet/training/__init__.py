"""Training: the Lightning module, its callbacks, and the export to a zoo folder."""

from blurnet.training.classifier import Classifier
from blurnet.training.objectives.base import Objective
from blurnet.training.objectives.table import OBJECTIVES, ObjectiveSpec, make_objective
from blurnet.training.run import export_model
