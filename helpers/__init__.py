"""SimCLR in small modules, one an idea, each short enough to read whole.

    image x ─ augmentation ─> views x_a, x_b ─ encoder f ─> h ─ projection_head g ─> z ─ losses ─> NT-Xent
                                                            └─ evaluation: k-NN, linear probe, alignment, uniformity

    shapes           the built-in pictures: ten object classes whose every factor is known
    machine          cores, GPU, bfloat16: what this machine offers
    data             pictures from disk or the web as uint8 tensors
    augmentation     two random views of every image
    policies         three other ways to make views: AutoAugment, RandAugment, SimAugment
    encoder          a ResNet as f, for small and large images
    projection_head  g, and SimCLR = f then g
    losses           NT-Xent and its supervised sister
    distributed      one run on several devices
    optimizers       LARS and Muon beside AdamW
    checkpoints      written whole or not at all
    evaluation       what is h worth?            python -m helpers.evaluation CHECKPOINT
    clinic           training curves of broken runs, and what they suffer from
    training         the loop                    python -m helpers.training --data shapes --epochs 10 --out runs/first
    board            a finished run for TensorBoard
    plots, widgets   what the notebooks draw
    findings         the experiments of the papers, small
    checks           one check an exercise
    colab            what Colab lacks
    course           your own answers in place of the reference

Imports point up this list only. Letters: N images a batch, 2N anchors, D dimensions, C classes, images (N, 3, H, W).
"""
