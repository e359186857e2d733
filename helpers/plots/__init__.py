"""Every figure of the course: tensors in, a matplotlib Figure out, shown with alternative text. Nothing is measured here.

One module a notebook; core holds the style and what several share.
"""

from helpers.plots.augmentation import histogram_pairs, shortcut_curve
from helpers.plots.core import course_map, factor_bars, image_grid, neighbour_grid, picture, show
from helpers.plots.encoder import feature_map_ladder, stem_maps
from helpers.plots.evaluation import accuracy_bars, alignment_uniformity_plane, label_curve, maps
from helpers.plots.findings import composition_matrix, finding, number, whole_finding
from helpers.plots.losses import (
    ITSELF,
    NEGATIVE,
    POSITIVE,
    circle_paths,
    loss_ruler,
    role_pictures,
    similarity_picture,
    temperature_rows,
)
from helpers.plots.projection_head import head_along_a_line, statistics_before_after
from helpers.plots.training import (
    CLINIC_ROWS,
    clinic,
    clinic_in_words,
    loss_curve,
    loss_curves,
    schedule,
    training_curves,
)
