"""One check an exercise: `check_NAME(answer)` is silent for a right answer, and raises NotYet, the diagnosis, for a wrong.

No check imports the reference answers: each carries its own slow, plain oracle.
"""

from helpers.checks.augmentation import *
from helpers.checks.core import NotYet, call, explained, try_it, why
from helpers.checks.encoder import *
from helpers.checks.evaluation import *
from helpers.checks.losses import *
from helpers.checks.projection_head import *
from helpers.checks.training import *

POINTS = {  # of each exercise, by the notebook it is in; 100 in all
    "01_augmentation": {
        "color_distortion": 4,
        "simclr_transform": 4,
        "two_views": 3,
        "two_view_dataset": 2,
        "histogram_similarity": 3,
    },
    "02_encoder": {"small_image_stem": 4, "build_encoder": 5, "feature_map_sizes": 3},
    "03_projection_head": {"projection_head": 5, "simclr": 3, "linear_classifier": 4},
    "04_contrastive_loss": {
        "cosine_similarities": 4,
        "positive_index": 3,
        "nt_xent_loop": 6,
        "nt_xent": 9,
        "chance_loss": 2,
        "sup_con": 4,
    },
    "05_training": {"warmup_cosine": 3, "train_step": 5, "pretrain": 6, "clinic": 4},
    "06_evaluation": {"extract_features": 4, "knn_accuracy": 4, "linear_probe": 3, "alignment": 1.5, "uniformity": 1.5},
}
