"""Controls and live pictures for the notebooks, each usable by keyboard and readable by a screen reader.

One module a notebook, its JavaScript beside it; core holds what several share. No training and no loading here.
"""

from helpers.widgets.augmentation import augmentation_studio, studio_still
from helpers.widgets.core import save_page, show
from helpers.widgets.evaluation import explorer, explorer_still
from helpers.widgets.losses import loss_bench, loss_bench_still
from helpers.widgets.training import live_training
