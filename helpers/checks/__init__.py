"""One check an exercise: `check_NAME(answer)` is silent for a right answer, and raises NotYet, the diagnosis, for a wrong.

No check judges by the reference answers: each carries its own slow, plain oracle.
"""

import importlib

from helpers.checks import augmentation, encoder, evaluation, losses, own, projection_head, training
from helpers.checks.augmentation import *
from helpers.checks.core import NotYet, call, explained, try_it, why
from helpers.checks.encoder import *
from helpers.checks.evaluation import *
from helpers.checks.losses import *
from helpers.checks.projection_head import *
from helpers.checks.training import *

for module in (augmentation, encoder, projection_head, losses, training, evaluation):
    own.for_checks_only(module)
del module

POINTS = {  # of each exercise, by the notebook it is in; 100 in all
    "01_augmentation": {
        "color_distortion": 4,
        "simclr_transform": 4,
        "two_views": 3,
        "two_view_dataset": 2,
        "histogram_similarity": 3,
    },
    "02_encoder": {"feature_map_sizes": 3, "small_image_stem": 4, "build_encoder": 5},
    "03_projection_head": {"projection_head": 5, "simclr": 3, "linear_classifier": 4},
    "04_contrastive_loss": {
        "nt_xent_loop": 6,
        "cosine_similarities": 4,
        "positive_index": 3,
        "nt_xent": 9,
        "chance_loss": 2,
        "sup_con": 4,
    },
    "05_training": {"warmup_cosine": 3, "train_step": 5, "pretrain": 6, "clinic": 4},
    "06_evaluation": {"extract_features": 4, "knn_accuracy": 4, "linear_probe": 3, "alignment": 1.5, "uniformity": 1.5},
}


def progress() -> None:
    """Print the points so far, exercise by exercise: `my.progress()` under another name.

    What is kept is known to helpers.course, which imports the checks; so the checks look it up only when called.
    """
    importlib.import_module("helpers.course").Parts().progress()
