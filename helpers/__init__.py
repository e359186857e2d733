"""SimCLR in small modules, one an idea, each short enough to read whole.

    image x ─ augmentation ─> views x_a, x_b ─ encoder f ─> h ─ projection_head g ─> z ─ losses ─> NT-Xent
                                                            └─ evaluation: k-NN, linear probe, alignment, uniformity

    shapes           the built-in pictures: ten object classes whose every factor is known
    machine          cores, GPU, bfloat16: what this machine offers
    image_set        pictures in memory as uint8, and what is known about each
    files            written whole or not at all
    cache            a set of pictures in a file, so that it is made once
    folder           your own pictures
    data             the built-in pictures, CIFAR-10, STL-10 or a folder, by name
    operations       crop, flip, colour and blur, each image of a batch with parameters of its own
    augmentation     two random views of every image, made of these operations
    policies         three other ways to make views: AutoAugment, RandAugment, SimAugment
    small_maps       a convolution that is quick on maps of 2 × 2 and 4 × 4
    encoder          a ResNet as f, for small and large images
    projection_head  g, and SimCLR = f then g
    losses           NT-Xent and its supervised sister
    distributed      one run on several devices
    optimizers       LARS and Muon beside AdamW
    checkpoints      a run or a model, to a file and back
    features         h of every image
    controls         what an accuracy has to stand beside
    evaluation       what is h worth?            python -m helpers.evaluation CHECKPOINT
    latent_space     h in the plane, by t-SNE and UMAP
    recipe           the settings of a run, and the model and views that follow from them
    monitors         what is watched while a model trains
    resuming         how a run is stopped and goes on
    clinic           training curves of broken runs, and what they suffer from
    training         the loop                    python -m helpers.training --data shapes --epochs 10 --out runs/first
    board            a finished run for TensorBoard
    plots, widgets   what the notebooks draw
    checks           one check an exercise
    course           your own answers in place of the reference
    findings         the experiments of the papers, small
    colab            what Colab lacks

Imports point up this list only. Letters: N images a batch, 2N anchors, D dimensions, C classes, images (N, 3, H, W).
"""
