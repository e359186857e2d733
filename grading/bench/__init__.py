"""The course's code against other people's, measured side by side: `make bench`.

__main__     installs the others into an environment of their own, and starts measure there
measure      runs everything, writes data/results/bench.json, a table and two figures
race         times several ways of the same work in turns
views        two random views of an image: ours, torchvision's, kornia's
loss         NT-Xent, forward and backward: ours, lightly's, pytorch-metric-learning's; its memory
step         a whole step of training: ours, lightly's
table, figures   how the numbers are shown
profile      where a step of ours spends its time: python -m grading.bench.profile
"""
