import jax
import numpy as np
import pytest

from mnet_jax.models.ops.aligned_corners import resize_aligned

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("before", "after"), [((33, 33), (513, 513)), ((17, 23), (64, 50)), ((9, 5), (4, 1)), ((1, 1), (7, 7))]
)
def test_aligned_corners_are_torchs(before, after):
    x = np.random.default_rng(0).normal(size=(2, *before, 3))
    tensor = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    theirs = torch.nn.functional.interpolate(tensor, after, mode="bilinear", align_corners=True)
    with jax.enable_x64(True):
        ours = resize_aligned(x, *after)
    np.testing.assert_allclose(ours, theirs.numpy().transpose(0, 2, 3, 1), rtol=1e-12, atol=1e-12)
