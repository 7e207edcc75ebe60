"""Our augmentation against torchvision's: each operation on the same image, and the laws by which they are drawn."""

import jax
import numpy as np
import pytest

from mnet_jax.data.erasing import rectangles
from mnet_jax.data.mixing import cutmix_shares
from mnet_jax.data.operations import apply
from mnet_jax.data.policies import BINS, SPACES

torch = pytest.importorskip("torch")
autoaugment = pytest.importorskip("torchvision.transforms.autoaugment")
transforms = pytest.importorskip("torchvision.transforms.v2")

POLICIES = {
    "trivialaugment": lambda _: autoaugment.TrivialAugmentWide()._augmentation_space(BINS),
    "randaugment": lambda side: autoaugment.RandAugment()._augmentation_space(BINS, (side, side)),
}
BILINEAR = autoaugment.InterpolationMode.BILINEAR
QUANTILES = [0.1, 0.25, 0.5, 0.75, 0.9]

jitted = jax.jit(apply)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("channels", "side"), [(3, 32), (3, 23), (1, 28)])
def test_operations_of_all_magnitudes_are_torchvisions(policy, channels, side):
    """At most one level apart, where a whole number is rounded to just below it there, and that in few pixels."""
    y, x = np.mgrid[:side, :side]
    waves = np.sin(y / 5)[..., np.newaxis] * np.cos(x / 7)[..., np.newaxis] * [60, 40, 80][:channels]
    image = (120 + waves + np.random.default_rng(0).normal(0, 15, waves.shape)).clip(10, 240).astype(np.uint8)
    tensor = torch.from_numpy(image.transpose(2, 0, 1).copy())
    ours_of = SPACES[policy](side)
    for i, (name, (magnitudes, is_signed)) in enumerate(POLICIES[policy](side).items()):
        theirs_of = np.broadcast_to(magnitudes.numpy(), BINS)
        np.testing.assert_allclose(ours_of[i], theirs_of, rtol=1e-5, atol=1e-4, err_msg=name)
        signed = np.concatenate([theirs_of, -theirs_of] if is_signed else [theirs_of]).astype(np.float32)
        ours = jitted(np.repeat(image[np.newaxis], len(signed), 0), np.full(len(signed), i), signed)
        for one, magnitude in zip(np.asarray(ours), signed, strict=True):
            theirs = autoaugment._apply_op(tensor, name, float(magnitude), BILINEAR, None)
            apart = np.abs(one.astype(int) - theirs.numpy().transpose(1, 2, 0))
            assert apart.max() <= 1, f"{name} of {magnitude}"
            assert apart.mean() < 0.2, f"{name} of {magnitude}"


def test_erased_rectangles_are_as_torchvision_draws_them():
    torch.manual_seed(0)
    image = torch.ones(1, 20, 30)
    theirs = [transforms.RandomErasing(1.0).make_params([image]) for _ in range(3000)]
    tops, lefts, heights, widths = rectangles(jax.random.key(0), 3000, 20, 30)
    for name, ours in (("i", tops), ("j", lefts), ("h", heights), ("w", widths)):
        drawn = np.array([params[name] for params in theirs])
        np.testing.assert_allclose(np.quantile(ours, QUANTILES), np.quantile(drawn, QUANTILES), atol=1)
        assert np.mean(ours) == pytest.approx(drawn.mean(), rel=0.05)


def test_boxes_of_cutmix_are_as_torchvision_draws_them():
    torch.manual_seed(0)
    image = torch.ones(2, 3, 20, 30)
    cutmix = transforms.CutMix(alpha=1.0, num_classes=2)
    theirs = [1 - cutmix.make_params([image])["lam_adjusted"] for _ in range(3000)]
    draw = jax.jit(jax.vmap(lambda key: 1 - cutmix_shares(key, 1.0, (20, 30)).mean()))
    ours = draw(jax.random.split(jax.random.key(0), 3000))
    np.testing.assert_allclose(np.quantile(ours, QUANTILES), np.quantile(theirs, QUANTILES), atol=0.03)
