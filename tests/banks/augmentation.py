"""Answers to the exercises of notebook 01, right and wrong."""

import math
import random

import numpy as np
import torch
import torchvision.transforms as pil
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from helpers import augmentation
from helpers.checks import NotYet
from tests.banks.exercise import Exercise

# color_distortion -------------------------------------------------------------------------------------------------


def torchvision_distortion(jitter=(0.8, 0.8, 0.8, 0.2), p_jitter=0.8, p_grey=0.2, fixed=None, order="jitter first"):
    """The usual answer, with one number or another changed."""

    def color_distortion(strength):
        s = strength if fixed is None else fixed
        change = v2.RandomApply([v2.ColorJitter(*(x * s for x in jitter))], p=p_jitter)
        steps = [change, v2.RandomGrayscale(p_grey)]
        return v2.Compose(steps if order == "jitter first" else steps[::-1])

    return color_distortion


def distortion_with_pil_inside(strength):
    s = strength
    change = pil.RandomApply([pil.ColorJitter(0.8 * s, 0.8 * s, 0.8 * s, 0.2 * s)], p=0.8)
    return pil.Compose([pil.ToPILImage(), change, pil.RandomGrayscale(0.2), pil.ToTensor()])


def distortion_by_hand(s):
    """Python's random numbers, numpy arithmetic in float64, fixed order, hue turned in YIQ space instead of HSV."""
    to_yiq = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])

    def distort(picture):
        x = picture.numpy().astype(np.float64).reshape(3, -1)
        luminance = to_yiq[0]
        if random.random() < 0.8:
            x = x * (1 + random.uniform(-0.8, 0.8) * s)
            mean = (luminance @ x).mean()
            x = np.clip(mean + (x - mean) * (1 + random.uniform(-0.8, 0.8) * s), 0, 1)
            grey = luminance @ x
            x = np.clip(grey + (x - grey) * (1 + random.uniform(-0.8, 0.8) * s), 0, 1)
            angle = 2 * np.pi * random.uniform(-0.2, 0.2) * s
            turn = np.array([[1, 0, 0], [0, np.cos(angle), np.sin(angle)], [0, -np.sin(angle), np.cos(angle)]])
            x = np.clip(np.linalg.inv(to_yiq) @ turn @ to_yiq @ x, 0, 1)
        if random.random() < 0.2:
            x = np.tile(luminance @ x, (3, 1))
        return torch.from_numpy(x.reshape(picture.shape))

    return distort


def distortion_as_module(strength):
    class Distortion(torch.nn.Module):
        def __init__(self, s):
            super().__init__()
            self.jitter = v2.ColorJitter(0.8 * s, 0.8 * s, 0.8 * s, 0.2 * s)

        def forward(self, image):
            if np.random.rand() < 0.8:
                image = self.jitter(image)
            return TF.rgb_to_grayscale(image, 3) if np.random.rand() < 0.2 else image

    return Distortion(strength)


def distortion_of_uint8_inside(strength):
    distort = torchvision_distortion()(strength)
    return lambda image: distort((image * 255).round().to(torch.uint8)) / 255


def one_draw_for_ever(strength):
    state = torch.get_rng_state()

    def distort(image):
        with torch.random.fork_rng():
            torch.set_rng_state(state)
            return torchvision_distortion(p_jitter=1.0, p_grey=0.0)(strength)(image)

    return distort


def changes_its_input(strength):
    distort = torchvision_distortion()(strength)

    def in_place(image):
        image.copy_(distort(image))
        return image.clone()

    return in_place


def grey_inside_the_jitter(s):
    jitter = v2.ColorJitter(0.8 * s, 0.8 * s, 0.8 * s, 0.2 * s)
    return v2.RandomApply([jitter, v2.RandomGrayscale(0.25)], p=0.8)


def grey_decided_once(s):
    steps = [v2.RandomApply([v2.ColorJitter(0.8 * s, 0.8 * s, 0.8 * s, 0.2 * s)], p=0.8)]
    if random.random() < 0.2:
        steps.append(v2.Grayscale(3))
    return v2.Compose(steps)


def jitter_decided_once(s):
    jitter = [v2.ColorJitter(0.8 * s, 0.8 * s, 0.8 * s, 0.2 * s)] if random.random() < 0.8 else []
    return v2.Compose([*jitter, v2.RandomGrayscale(0.2)])


def grey_instead_of_jitter(s):
    jitter = v2.ColorJitter(0.8 * s, 0.8 * s, 0.8 * s, 0.2 * s)
    return v2.RandomChoice([jitter, v2.RandomGrayscale(1.0)], p=[0.8, 0.2])


def unclamped(strength):
    distort = torchvision_distortion()(strength)
    return lambda image: distort(image) * 1.5


def each_operation_for_itself(s):
    parts = [(0.8 * s, 0, 0, 0), (0, 0.8 * s, 0, 0), (0, 0, 0.8 * s, 0), (0, 0, 0, 0.2 * s)]
    return v2.Compose([*(v2.RandomApply([v2.ColorJitter(*part)], p=0.8) for part in parts), v2.RandomGrayscale(0.2)])


def blurred_too(s):
    return v2.Compose([torchvision_distortion()(s), v2.RandomApply([v2.GaussianBlur(3, (0.5, 2.0))], p=0.5)])


def factors_from(numbers):
    """Brightness, contrast, saturation and hue changed by the four numbers in -1 … 1 that `numbers()` draws."""

    def color_distortion(s):
        def distort(image):
            if random.random() < 0.8:
                brightness, contrast, saturation, hue = numbers()
                image = TF.adjust_brightness(image, 1 + 0.8 * s * brightness)
                image = TF.adjust_contrast(image, 1 + 0.8 * s * contrast)
                image = TF.adjust_saturation(image, 1 + 0.8 * s * saturation)
                image = TF.adjust_hue(image, 0.2 * s * hue)
            return TF.rgb_to_grayscale(image, 3) if random.random() < 0.2 else image

        return distort

    return color_distortion


def two_of_four():
    first, *rest = (random.uniform(-1, 1) for _ in range(3))
    return first, *rest, first


def unwritten(*arguments):
    raise NotYet("color_distortion is not written yet.")


RIGHT_DISTORTIONS = {
    "torchvision v2": torchvision_distortion(),
    "grey first": torchvision_distortion(order="grey first"),
    "torchvision v1, on PIL images": distortion_with_pil_inside,
    "NumPy in float64, by hand": distortion_by_hand,
    "a module, NumPy's random numbers": distortion_as_module,
    "uint8 inside": distortion_of_uint8_inside,
    "four numbers, fixed order": factors_from(lambda: [random.uniform(-1, 1) for _ in range(4)]),
}
WRONG_DISTORTIONS = {
    "lazy: the image as it is": (lambda strength: torch.clone, "same result at every call"),
    "fitted to strength 0, where the asserts look": (lambda strength: v2.RandomGrayscale(0.2), "no jitter"),
    "calls the reference": (lambda strength: augmentation.color_distortion(strength), "course's own answer"),
    "calls the reference's inside": (
        lambda strength: lambda image: augmentation.distort(image[None], strength, None)[0],
        "course's own answer",
    ),
    "unwritten": (unwritten, "not written yet"),
    "nothing returned": (lambda strength: None, "return"),
    "an image returned at once": (lambda strength: torch.zeros(3, 4, 4), "can be called"),
    "strength ignored": (torchvision_distortion(fixed=1.0), "strength is ignored"),
    "strength fixed at a half": (torchvision_distortion(fixed=0.5), "strength is ignored"),
    "always grey": (torchvision_distortion(p_grey=1.0), "always grey"),
    "never grey": (torchvision_distortion(p_grey=0.0), "never grey"),
    "grey every other time": (torchvision_distortion(p_grey=0.5), "probability of grey"),
    "jitter always": (torchvision_distortion(p_jitter=1.0), "jitter always"),
    "jitter never": (torchvision_distortion(p_jitter=0.0), "no jitter"),
    "jitter every other time": (torchvision_distortion(p_jitter=0.5), "probability 0.8"),
    "the two probabilities swapped": (torchvision_distortion(p_jitter=0.2, p_grey=0.8), "grey"),
    "hue as strong as the rest": (torchvision_distortion(jitter=(0.4, 0.4, 0.4, 0.4)), "hue is as strong as the rest"),
    "hue 0.8 of the strength": (torchvision_distortion(jitter=(0.8, 0.8, 0.8, 0.8)), "as strong as the rest"),
    "no hue": (torchvision_distortion(jitter=(0.8, 0.8, 0.8, 0.0)), "leaves hue as it is"),
    "no contrast": (torchvision_distortion(jitter=(0.8, 0.0, 0.8, 0.2)), "contrast"),
    "half as strong": (torchvision_distortion(jitter=(0.4, 0.4, 0.4, 0.2)), "changes brightness by up to 0.2"),
    "each operation with a chance of its own": (each_operation_for_itself, "together happen with probability 0.8"),
    "the same result at every call": (one_draw_for_ever, "same result at every call"),
    "input changed": (changes_its_input, "changes the image"),
    "grey only with jitter": (grey_inside_the_jitter, "each for itself"),
    "grey instead of jitter": (grey_instead_of_jitter, "neither inside nor instead of the other"),
    "grey decided once": (grey_decided_once, "decide on grey at every call of the callable, not once when it is made"),
    "jitter decided once": (
        jitter_decided_once,
        "decide on jitter at every call of the callable, not once when it is made",
    ),
    "one random number for all four changes": (
        factors_from(lambda: 4 * [random.uniform(-1, 1)]),
        "changes brightness and contrast together",
    ),
    "one random number for brightness and hue": (factors_from(two_of_four), "changes brightness and hue together"),
    "blur as well": (blurred_too, "Blur and crop belong to simclr_transform"),
    "values above one": (unclamped, "Clamp"),
    "normalised": (lambda s: v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), "normalisation"),
    "one channel": (lambda s: v2.Grayscale(1), "one channel"),
    "a PIL image": (lambda s: v2.ToPILImage(), "PIL image"),
}


# simclr_transform -------------------------------------------------------------------------------------------------


def torchvision_transform(
    crop=lambda size: v2.RandomResizedCrop(size, antialias=True),
    flip=v2.RandomHorizontalFlip,
    colors=None,
    p_blur=0.5,
    sigma=(0.1, 2.0),
    width=lambda size: size // 10 | 1,
    first=(),
    last=(),
):
    """The usual answer, with one step or another changed."""

    def simclr_transform(size, strength=0.5, blur=False):
        steps = [*first, crop(size), flip(), (colors or torchvision_distortion())(strength)]
        if blur:
            steps.append(v2.RandomApply([v2.GaussianBlur(width(size), sigma)], p=p_blur))
        return v2.Compose([*steps, *last])

    return simclr_transform


def boxes_at(place, share=lambda: random.uniform(0.08, 1.0)):
    """A crop of an area drawn by `share`, its left and top parts of what is left drawn by `place`."""

    def crop(size):
        def cut(image):
            height, width = image.shape[1:]
            area, ratio = share() * height * width, math.exp(random.uniform(-1, 1) * math.log(4 / 3))
            h, w = min(round((area / ratio) ** 0.5), height), min(round((area * ratio) ** 0.5), width)
            left, top = place()
            return TF.resized_crop(image, round(top * (height - h)), round(left * (width - w)), h, w, [size, size])

        return cut

    return crop


def transform_by_hand(size, strength=0.5, blur=False):
    """Boxes that are drawn once and cut to the image, a resize that does not antialias, colour first, float64."""
    distort = torchvision_distortion()(strength)

    def one_view(image):
        image = distort(image).double()
        height, width = image.shape[1:]
        area, ratio = random.uniform(0.08, 1) * height * width, np.exp(random.uniform(-1, 1) * np.log(4 / 3))
        h, w = min(round((area / ratio) ** 0.5), height), min(round((area * ratio) ** 0.5), width)
        top, left = random.randint(0, height - h), random.randint(0, width - w)
        box = image[None, :, top : top + h, left : left + w]
        view = torch.nn.functional.interpolate(box, (size, size), mode="bilinear", align_corners=False)[0]
        view = view.flip(2) if random.random() < 0.5 else view
        return TF.gaussian_blur(view, [5, 5], [random.uniform(0.1, 2.0)]) if blur and random.random() < 0.5 else view

    return one_view


def transform_of_a_batch(size, strength=0.5, blur=False):
    """A batch of one inside, boxes as a sampling grid, a generator of its own, flips by the grid's sign."""
    generator, distort = torch.Generator().manual_seed(5), torchvision_distortion()(strength)

    def draw(low, high):
        return low + (high - low) * torch.rand((), generator=generator).item()

    def one_view(image):
        height, width = image.shape[1:]
        area, ratio = draw(0.08, 1) * height * width, (4 / 3) ** draw(-1, 1)
        w, h = min((area * ratio) ** 0.5 / width, 1), min((area / ratio) ** 0.5 / height, 1)
        x, y, flip = draw(w - 1, 1 - w), draw(h - 1, 1 - h), 1 if draw(0, 1) < 0.5 else -1
        box = torch.tensor([[[flip * w, 0, x], [0, h, y]]])
        grid = torch.nn.functional.affine_grid(box, (1, 3, size, size), align_corners=False)
        seen = torch.nn.functional.grid_sample(image[None].float(), grid, padding_mode="border", align_corners=False)
        soft = blur and draw(0, 1) < 0.5
        return distort(TF.gaussian_blur(seen, [5, 5], [draw(0.1, 2.0)])[0] if soft else seen[0])

    return one_view


def middle_crop(size):
    """Boxes of random area and ratio, all around the middle of the image."""

    def crop(image):
        area, ratio = random.uniform(0.08, 1) * image[0].numel(), np.exp(random.uniform(-1, 1) * np.log(4 / 3))
        squares = area / ratio, area * ratio
        sides = [min(round(square**0.5), most) for square, most in zip(squares, image.shape[1:], strict=True)]
        return TF.resize(TF.center_crop(image, sides), [size, size])

    return crop


def default_strength_one(size, strength=1.0, blur=False):
    return torchvision_transform()(size, strength, blur)


def blurs_always(size, strength=0.5, blur=True):
    return torchvision_transform()(size, strength, True)


def ignores_strength(size, strength=0.5, blur=False):
    return torchvision_transform()(size, 0.5, blur)


def ignores_blur(size, strength=0.5, blur=False):
    return torchvision_transform()(size, strength, False)


RIGHT_TRANSFORMS = {
    "torchvision v2": torchvision_transform(),
    "PIL images inside": torchvision_transform(
        first=[v2.ToPILImage()], last=[v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    ),
    "bicubic, not antialiased": torchvision_transform(
        crop=lambda size: v2.RandomResizedCrop(size, interpolation=TF.InterpolationMode.BICUBIC)
    ),
    "by hand, colour first, float64": transform_by_hand,
    "a batch of one, sampled on a grid": transform_of_a_batch,
    "a kernel two pixels wider": torchvision_transform(width=lambda size: (size // 10 | 1) + 2),
    "nearest pixels, a kernel three wide": torchvision_transform(
        crop=lambda size: v2.RandomResizedCrop(size, interpolation=TF.InterpolationMode.NEAREST), width=lambda size: 3
    ),
}
WRONG_TRANSFORMS = {
    "lazy: noise of the right shape": (
        lambda size, strength=0.5, blur=False: lambda image: torch.rand(3, size, size),
        "",
    ),
    "fitted to size 20, where the asserts look": (
        torchvision_transform(crop=lambda size: v2.RandomResizedCrop(20)),
        "size × size",
    ),
    "calls the reference": (
        lambda size, strength=0.5, blur=False: augmentation.simclr_transform(size, strength, blur),
        "course's own answer",
    ),
    "calls the reference's inside": (
        lambda size, strength=0.5, blur=False: (
            lambda image: augmentation.view(image[None], None, size, strength, blur)[0]
        ),
        "course's own answer",
    ),
    "calls the faster reference's inside": (
        lambda size, strength=0.5, blur=False: (
            lambda image: augmentation.fast_view(image[None], None, size, strength, blur)[0]
        ),
        "course's own answer",
    ),
    "nothing returned": (lambda size, strength=0.5, blur=False: None, "return"),
    "no resize back": (torchvision_transform(crop=lambda size: v2.RandomCrop(30)), "resize every crop"),
    "only resized": (torchvision_transform(crop=lambda size: v2.Resize((size, size))), "the crop is missing"),
    "flip always": (torchvision_transform(flip=lambda: v2.RandomHorizontalFlip(1.0)), "flip always"),
    "no flip": (torchvision_transform(flip=torch.nn.Identity), "no flip"),
    "upside down": (torchvision_transform(flip=v2.RandomVerticalFlip), "upside down"),
    "crop in three views of ten": (
        torchvision_transform(
            crop=lambda size: v2.Compose([v2.RandomApply([v2.RandomResizedCrop(size)], p=0.3), v2.Resize((size, size))])
        ),
        "crop every view",
    ),
    "corners alone": (
        torchvision_transform(crop=boxes_at(lambda: (random.randint(0, 1), random.randint(0, 1)))),
        "along the borders alone",
    ),
    "one number for both places": (
        torchvision_transform(crop=boxes_at(lambda: (random.random(),) * 2)),
        "along a diagonal",
    ),
    "mostly small areas": (
        torchvision_transform(
            crop=boxes_at(
                lambda: (random.random(), random.random()), lambda: random.uniform(0.08, random.choice([0.2, 0.2, 1.0]))
            )
        ),
        "on average",
    ),
    "crop area not random": (
        torchvision_transform(crop=lambda size: v2.RandomResizedCrop(size, scale=(0.5, 0.5))),
        "not random",
    ),
    "crop from 20 %": (
        torchvision_transform(crop=lambda size: v2.RandomResizedCrop(size, scale=(0.2, 1.0))),
        "8 % to 100 % is wanted",
    ),
    "crop from 1 %": (
        torchvision_transform(crop=lambda size: v2.RandomResizedCrop(size, scale=(0.01, 1.0))),
        "8 % to 100 % is wanted",
    ),
    "square boxes": (
        torchvision_transform(crop=lambda size: v2.RandomResizedCrop(size, ratio=(1.0, 1.0))),
        "of one shape",
    ),
    "long boxes": (torchvision_transform(crop=lambda size: v2.RandomResizedCrop(size, ratio=(0.4, 2.5))), "3/4 to 4/3"),
    "always the middle": (torchvision_transform(crop=middle_crop), "nearly one place"),
    "colour missing": (
        torchvision_transform(colors=lambda strength: torch.nn.Identity()),
        "colour distortion is missing",
    ),
    "the whole distortion at times only": (
        torchvision_transform(colors=lambda strength: v2.RandomApply([torchvision_distortion()(strength)], p=0.8)),
        "left out at times",
    ),
    "strength ignored": (ignores_strength, "hand the strength on"),
    "strength 1 if none is given": (default_strength_one, "0.5 is the strength"),
    "blur ignored": (ignores_blur, "does not blur"),
    "blur though none is wanted": (blurs_always, "blurs"),
    "blur of every view": (torchvision_transform(p_blur=1.0), "probability 0.5"),
    "blur with σ 2 always": (torchvision_transform(sigma=2.0), "nearly alike"),
    "blur with σ 1 always": (torchvision_transform(sigma=1.0), "nearly alike"),
    "blur with σ from 0.1 to 5": (torchvision_transform(sigma=(0.1, 5.0)), "Draw σ between 0.1 and 2"),
    "blur with σ from 0.1 to 1": (torchvision_transform(sigma=(0.1, 1.0)), "to 1.0 pixels"),
    "blur with σ from 1 to 2": (torchvision_transform(sigma=(1.0, 2.0)), "to 2.0 pixels"),
    "normalised": (
        torchvision_transform(last=[v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]),
        "normalisation",
    ),
    "two views at once": (
        lambda size, strength=0.5, blur=False: lambda image: (torch.zeros(3, size, size),) * 2,
        "one view is wanted",
    ),
}


# TwoViews ---------------------------------------------------------------------------------------------------------


def two_views_with(to_image, pair=lambda transform, image: (transform(image.clone()), transform(image.clone()))):
    """A TwoViews that turns what it gets into a tensor in this way, and makes the pair in that way."""

    class TwoViews:
        def __init__(self, transform):
            self.transform = transform

        def __call__(self, image):
            return pair(self.transform, to_image(image))

    return TwoViews


def plain(image):
    """The three kinds of image, one after the other."""
    if isinstance(image, torch.Tensor):
        return image.float() / 255 if image.dtype == torch.uint8 else image
    return torch.tensor(np.array(image)).permute(2, 0, 1) / 255


def with_torchvision(image):
    if isinstance(image, torch.Tensor):
        return TF.to_dtype(image, torch.float32, scale=True)
    return TF.to_dtype(TF.to_image(np.ascontiguousarray(image)), torch.float32, scale=True)


def through_pil(image):
    picture = TF.to_pil_image(image) if isinstance(image, torch.Tensor) else Image.fromarray(np.array(image))
    return pil.ToTensor()(picture)


def closure(transform):
    """Not a class at all."""
    return lambda image: [transform(plain(image).clone()) for _ in range(2)]


def in_place_on_the_image(image):
    if isinstance(image, torch.Tensor) and image.dtype != torch.uint8:
        return image.mul_(1.0).sub_(0.0).clamp_(0.2, 0.8)
    return plain(image)


def in_place_on_the_array(image):
    if isinstance(image, np.ndarray):
        image[:] = image[..., ::-1].copy()
    return plain(image)


def shared_memory(image):
    if isinstance(image, np.ndarray):
        return torch.from_numpy(image).permute(2, 0, 1) / 255
    return plain(image)


def not_scaled(image):
    return plain(image) * 255


def left_uint8(image):
    return (plain(image) * 255).round().to(torch.uint8)


def scaled_where_large(image):
    image = image.float() if isinstance(image, torch.Tensor) else torch.tensor(np.array(image)).permute(2, 0, 1).float()
    return image / 255 if image.max() > 1 else image


def channels_last(image):
    return plain(image).permute(1, 2, 0)


def reshaped(image):
    return (
        plain(image)
        if isinstance(image, torch.Tensor)
        else torch.tensor(np.array(image)).reshape(3, *np.array(image).shape[:2]) / 255
    )


def channels_reversed(image):
    return plain(image) if isinstance(image, torch.Tensor) else plain(image).flip(0)


def same_seed_twice(transform, image):
    views = []
    for _ in range(2):
        torch.manual_seed(3)
        views.append(transform(image.clone()))
    return tuple(views)


class Stale:
    """Keeps the first image it has seen."""

    def __init__(self, transform):
        self.transform, self.image = transform, None

    def __call__(self, image):
        self.image = plain(image).clone() if self.image is None else self.image
        return self.transform(self.image.clone()), self.transform(self.image.clone())


class CourseTwoViews(augmentation.TwoViews):
    pass


RIGHT_TWO_VIEWS = {
    "one kind of image after the other": two_views_with(plain),
    "torchvision v2": two_views_with(with_torchvision),
    "float64": two_views_with(lambda image: plain(image).double()),
    "torchvision v1, through PIL": two_views_with(through_pil),
    "a function that returns a function": closure,
}
WRONG_TWO_VIEWS = {
    "lazy: the image twice": (two_views_with(plain, lambda t, x: (x, x)), "never calls the transform"),
    "fitted to arrays, where the asserts look": (
        two_views_with(lambda image: torch.tensor(image).permute(2, 0, 1) / 255),
        "handed",
    ),
    "calls the reference": (lambda transform: augmentation.TwoViews(transform), "course's own answer"),
    "inherits the reference": (CourseTwoViews, "course's own answer"),
    "nothing returned": (two_views_with(plain, lambda t, x: None), "return"),
    "cannot be called": (lambda transform: 3, "__call__"),
    "the same view twice": (two_views_with(plain, lambda t, x: (t(x.clone()),) * 2), "the same view twice"),
    "the image itself as a view": (
        two_views_with(plain, lambda t, x: (x.clone(), t(x.clone()))),
        "not what the transform",
    ),
    "the same seed twice": (two_views_with(plain, same_seed_twice), "resets the random numbers"),
    "one view from the other": (
        two_views_with(plain, lambda t, x: (lambda a: (a, t(a.clone())))(t(x.clone()))),
        "from the image itself",
    ),
    "one tensor": (two_views_with(plain, lambda t, x: t(x.clone())), "two views"),
    "three views": (two_views_with(plain, lambda t, x: tuple(t(x.clone()) for _ in range(3))), "pair"),
    "one tensor for both": (two_views_with(plain, lambda t, x: (t(x), t(x))), "its own copy"),
    "the caller's tensor is handed on": (
        two_views_with(plain, lambda t, x: (lambda copy: (t(x), t(copy)))(x.clone())),
        "hand it a copy",
    ),
    "in place on a tensor": (two_views_with(in_place_on_the_image), "changed the caller's image in place"),
    "in place on an array": (two_views_with(in_place_on_the_array), "changed the caller's image in place"),
    "negative strides": (two_views_with(shared_memory), "negative"),
    "not divided by 255": (two_views_with(not_scaled), "divide by 255"),
    "still uint8": (two_views_with(left_uint8), "divided by 255"),
    "divided by 255 where the largest value is above 1": (two_views_with(scaled_where_large), "Ask for the dtype"),
    "channels last": (two_views_with(channels_last), ".permute(2, 0, 1)"),
    "reshaped instead of permuted": (two_views_with(reshaped), ".reshape scrambles"),
    "channels reversed": (two_views_with(channels_reversed), "channels are reversed"),
    "the first image again": (Stale, "first image again"),
    "the array itself to the transform": (two_views_with(lambda image: image, lambda t, x: (t(x), t(x))), "ndarray"),
}


# TwoViewDataset -----------------------------------------------------------------------------------------------------


def dataset_with(item, length=lambda images: len(images), prepare=lambda images, transform: None):
    """A TwoViewDataset whose items, length and preparation are these functions of (images, transform)."""

    class TwoViewDataset:
        def __init__(self, images, transform):
            self.images, self.transform, self.made = images, transform, prepare(images, transform)

        def __len__(self):
            return length(self.images)

        def __getitem__(self, index):
            return item(self.images, self.transform, index, self.made)

    return TwoViewDataset


def pair_of(images, transform, index, made):
    return transform(images[index] / 255), transform(images[index] / 255)


def all_pairs(images, transform):
    return [(transform(image / 255), transform(image / 255)) for image in images]


class SubclassWithTwoViews(torch.utils.data.Dataset):
    def __init__(self, pictures, transform):
        self.pictures, self.two_views = pictures, augmentation.TwoViews(transform)

    def __len__(self):
        return self.pictures.shape[0]

    def __getitem__(self, i):
        return self.two_views(self.pictures[i].numpy().transpose(1, 2, 0))


class views_on_demand(list):
    """A list whose items are called when they are asked for; the pixels go through NumPy."""

    def __init__(self, images, transform):
        pixels = images.numpy().astype(np.float32) / 255
        super().__init__((lambda x=x: transform(torch.from_numpy(x.copy()))) for x in pixels)

    def __getitem__(self, index):
        make = super().__getitem__(index)
        return make(), make()


RIGHT_DATASETS = {
    "two calls of the transform": dataset_with(pair_of),
    "a list of two, from float64": dataset_with(
        lambda images, t, i, made: [t(images[i].double() / 255) for _ in range(2)]
    ),
    "a Dataset with TwoViews inside": SubclassWithTwoViews,
    "a list of functions": views_on_demand,
}
WRONG_DATASETS = {
    "lazy: the image twice": (dataset_with(lambda images, t, i, made: (images[i], images[i])), "never calls the transform"),
    "fitted to five images": (dataset_with(pair_of, lambda images: 5), "one item an image"),
    "calls the reference": (
        lambda images, transform: augmentation.TwoViewDataset(images, transform), "course's own answer"
    ),
    "nothing returned": (dataset_with(lambda images, t, i, made: None), "return"),
    "no length": (lambda images, transform: object(), "len"),
    "twice the length": (dataset_with(pair_of, lambda images: 2 * len(images)), "one item an image"),
    "one view": (dataset_with(lambda images, t, i, made: t(images[i] / 255)), "two views"),
    "a stack": (dataset_with(lambda *a: torch.stack(pair_of(*a))), "two views"),
    "view and label": (dataset_with(lambda images, t, i, made: (t(images[i] / 255), i)), "x_b"),
    "the same view twice": (dataset_with(lambda images, t, i, made: (t(images[i] / 255),) * 2), "same view twice"),
    "one tensor for both views": (
        dataset_with(lambda images, t, i, made: (lambda x: (t(x), t(x)))(images[i] / 255)), "its own copy"
    ),
    "views of different images": (
        dataset_with(lambda images, t, i, made: (t(images[i] / 255), t(images[i - 1] / 255))), "different images"
    ),
    "another image": (dataset_with(lambda images, t, i, made: pair_of(images, t, i - 1, made)), "is wanted"),
    "made once": (dataset_with(lambda images, t, i, made: made[i], prepare=all_pairs), "in __init__"),
    "not divided by 255": (
        dataset_with(lambda images, t, i, made: (t(images[i].float()), t(images[i].float()))), "divide by 255"
    ),
    "still uint8": (dataset_with(lambda images, t, i, made: (t(images[i]), t(images[i]))), "divided by 255"),
    "images changed": (
        dataset_with(lambda images, t, i, made: pair_of(images.clamp_(100, 120), t, i, made)), "changed the images"
    ),
}  # fmt: skip


# histogram_similarity -------------------------------------------------------------------------------------------------


def similarity_with(
    bins=32, pool=lambda smaller: smaller.sum(1).mean(), edges=lambda x_a, x_b: ((0, 1), (0, 1)), density=True
):
    """Histogram intersection with numpy, with one step or another changed."""

    def histogram_similarity(x_a, x_b):
        found = []
        for x, edge in zip((x_a, x_b), edges(x_a, x_b), strict=False):
            counts = np.stack([np.histogram(channel.numpy(), bins, edge)[0] for channel in x])
            found.append(counts / x[0].numel() if density else counts)
        return float(pool(np.minimum(*found)))

    return histogram_similarity


def similarity_with_histc(a, b):
    def histograms(x):
        return torch.stack([torch.histc(c, bins=32, min=0.0, max=1.0) / c.numel() for c in x])

    return torch.minimum(histograms(a), histograms(b)).sum() / 3


def similarity_with_loops(x_a, x_b):
    total = 0.0
    for a, b in zip(x_a, x_b, strict=False):
        for k in range(32):
            low, high = k / 32, (k + 1) / 32 if k < 31 else 2.0
            total += min(((a >= low) & (a < high)).double().mean(), ((b >= low) & (b < high)).double().mean()).item()
    return total / 3


def similarity_with_half_the_distance(x_a, x_b):
    """1 - half the summed difference is the same number."""

    def histograms(x):
        return np.stack([np.histogram(c, 32, (0, 1))[0] / c.size for c in x.numpy()])

    return np.float64(1 - np.abs(histograms(x_a) - histograms(x_b)).sum() / 6)


def last_bin_missing(x_a, x_b):
    def histograms(x):
        one_hot = torch.nn.functional.one_hot((x.flatten(1) * 32).long(), 33)[..., :32]
        return one_hot.double().mean(1)

    return torch.minimum(histograms(x_a), histograms(x_b)).sum(1).mean()


def cosine_of_histograms(x_a, x_b):
    a, b = (np.stack([np.histogram(c, 32, (0, 1))[0] for c in x.numpy()]) for x in (x_a, x_b))
    return float(((a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))).mean())


def counted_by(place):
    """Counts of the bins that this function puts the values into."""

    def histogram_similarity(x_a, x_b):
        total = 0
        for a, b in zip(x_a, x_b, strict=True):
            shares = [torch.bincount(place(c.flatten()).long(), minlength=33) / c.numel() for c in (a, b)]
            total = total + torch.minimum(*shares).sum() / 3
        return total

    return histogram_similarity


def both_by_the_first_size(x_a, x_b):
    return similarity_with(density=False)(x_a, x_b) / x_a[0].numel()


RIGHT_SIMILARITIES = {
    "np.histogram": similarity_with(),
    "torch.histc": similarity_with_histc,
    "torch.bincount": counted_by(lambda values: (values * 32).clamp(max=31)),
    "loops over channels and bins": similarity_with_loops,
    "one minus half the distance": similarity_with_half_the_distance,
}
WRONG_SIMILARITIES = {
    "lazy: always 1": (lambda x_a, x_b: 1.0, ""),
    "fitted to pictures of one colour, as in the asserts": (
        lambda x_a, x_b: float(torch.isin(x_b, x_a.unique()).double().mean()), ""
    ),
    "calls the reference": (lambda x_a, x_b: augmentation.histogram_similarity(x_a, x_b), "course's own answer"),
    "calls the reference's inside": (
        lambda x_a, x_b: augmentation.histogram_similarities(x_a[None], x_b[None]).item(), "course's own answer"
    ),
    "nothing returned": (lambda x_a, x_b: None, "return"),
    "counts": (similarity_with(density=False), "number of pixels"),
    "sum over channels": (similarity_with(pool=lambda smaller: smaller.sum()), "sum over the channels"),
    "one number a channel": (lambda a, b: torch.ones(3), "one number is wanted"),
    "sixteen bins": (similarity_with(bins=16), "16 bins"),
    "31 bins and one for white": (counted_by(lambda values: values * 31), "31 bins"),
    "33 bins": (similarity_with(bins=33), "33 bins"),
    "rounded": (counted_by(lambda values: (values * 31).round()), "half as wide"),
    "bins of each view's own range": (
        similarity_with(edges=lambda a, b: [(x.min().item(), x.max().item() + 1e-9) for x in (a, b)]),
        "must span 0 to 1",
    ),
    "distance": (lambda a, b: 1 - similarity_with()(a, b), "distance"),
    "all channels together": (
        lambda a, b: float(np.minimum(*[np.histogram(x, 32, (0, 1))[0] / x.numel() for x in (a, b)]).sum()),
        "one histogram",
    ),
    "cosine": (cosine_of_histograms, "cosine"),
    "pixel by pixel": (lambda a, b: 1 - (a - b).abs().mean(), "pixel with pixel"),
    "white falls out": (last_bin_missing, "last bin"),
    "divided by the first view's size": (both_by_the_first_size, "differ in size"),
    "mean over bins": (similarity_with(pool=np.mean), "mean over the bins"),
    "larger instead of smaller": (
        lambda a, b: float(
            np.maximum(*[np.stack([np.histogram(c, 32, (0, 1))[0] / c.numel() for c in x]) for x in (a, b)]).sum() / 3
        ),
        "not the larger",
    ),
}  # fmt: skip


# The statistics ---------------------------------------------------------------------------------------------------

BANK = {
    "color_distortion": Exercise(WRONG_DISTORTIONS, RIGHT_DISTORTIONS),
    "simclr_transform": Exercise(WRONG_TRANSFORMS, RIGHT_TRANSFORMS),
    "two_views": Exercise(WRONG_TWO_VIEWS, RIGHT_TWO_VIEWS),
    "two_view_dataset": Exercise(WRONG_DATASETS, RIGHT_DATASETS),
    "histogram_similarity": Exercise(WRONG_SIMILARITIES, RIGHT_SIMILARITIES),
}
