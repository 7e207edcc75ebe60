"""What a file of one's own looks like after it is stored and decoded."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from mnet_jax.data import decode
from mnet_jax.data.stored import as_stored
from mnet_jax.errors import UserError

ORIENTATION = 0x0112


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def seen(raw, channels=3):
    return decode.whole(as_stored(raw, "a/1.png"), channels)


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


def oriented(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


TURNED_BACK = {  # what a viewer shows of the stored pixels: EXIF 2.3, section 4.6.4, tag 274
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x),
}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", TURNED_BACK)
def test_the_orientation_of_exif_is_applied(picture, kind, orientation):
    options = {"lossless": True} if kind == "WEBP" else {}
    raw = encoded(Image.fromarray(picture), kind, exif=oriented(orientation), **options)
    upright = TURNED_BACK[orientation](decode.whole(raw, 3))
    np.testing.assert_array_equal(seen(raw), upright)
    assert (as_stored(raw, "") == raw) == (orientation == 1), "what is read rightly stays as it is"


def test_a_rotated_cmyk_jpeg_keeps_its_colours():
    red = Image.new("RGB", (16, 8), (200, 30, 30)).convert("CMYK")
    found = seen(encoded(red, "JPEG", exif=oriented(6), quality=95))
    assert found.shape == (16, 8, 3)
    assert np.abs(found.astype(int) - (200, 30, 30)).max() < 8


def test_an_orientation_that_makes_no_sense_is_none(picture):
    for exif in (oriented(0), oriented(99), b"Exif\0\0garbage"):
        raw = encoded(Image.fromarray(picture), "JPEG", exif=exif)
        np.testing.assert_array_equal(seen(raw), decode.whole(raw, 3))


def test_16_bits_of_gray_are_scaled_to_8():
    deep = np.array([[0, 128, 129, 257, 30000], [40000, 65535, 65406, 65407, 256]], np.uint16)
    found = seen(encoded(Image.fromarray(deep)), channels=1)[..., 0]
    np.testing.assert_array_equal(found, np.rint(deep / 257))
    rgb = seen(encoded(Image.fromarray(deep)), channels=3)
    np.testing.assert_array_equal(rgb, np.repeat(found[..., None], 3, axis=-1))


def test_what_is_transparent_is_composed_on_black(picture):
    alpha = np.arange(0, 256, 256 / 54).astype(np.uint8).reshape(6, 9)
    share = alpha[..., None] / 255
    rgba = Image.fromarray(np.concatenate([picture, alpha[..., None]], axis=-1))
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True})):
        np.testing.assert_allclose(seen(encoded(rgba, kind, **options)), picture * share, atol=1)
    gray = Image.fromarray(np.stack([picture[..., 0], alpha], axis=-1))
    assert gray.mode == "LA"
    np.testing.assert_allclose(seen(encoded(gray), 1), picture[..., :1] * share, atol=1)


def test_palettes_are_looked_up_and_their_transparent_entry_is_black():
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    image.putpalette([10, 20, 30, 200, 100, 50, 7, 8, 9])
    assert seen(encoded(image))[0].tolist() == [[10, 20, 30], [200, 100, 50], [7, 8, 9]]
    assert seen(encoded(image, transparency=1))[0].tolist() == [[10, 20, 30], [0, 0, 0], [7, 8, 9]]


def test_a_transparent_colour_is_black():
    rgb = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    assert seen(encoded(rgb, transparency=(1, 2, 3)))[0].tolist() == [[0, 0, 0], [4, 5, 6]]
    deep = Image.fromarray(np.array([[257, 514]], np.uint16))
    assert seen(encoded(deep, transparency=257), 1)[0, :, 0].tolist() == [0, 2]


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_plain_images_stay_as_they_are(picture, mode, kind):
    raw = encoded(Image.fromarray(picture).convert(mode), kind)
    assert as_stored(raw, "") == raw
    np.testing.assert_array_equal(seen(raw), np.asarray(Image.open(io.BytesIO(raw)).convert("RGB")))


def test_a_damaged_image_is_left_for_the_decoder_to_name():
    large = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 60, 3), np.uint8))
    for raw in (encoded(large, "JPEG", exif=oriented(6))[:2000], encoded(large.convert("RGBA"))[:2000]):
        assert as_stored(raw, "") == raw
        with pytest.raises(decode.BadImage):
            decode.whole(raw, 3)


def test_a_colour_profile_does_not_change_the_pixels(picture):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    raw = encoded(Image.fromarray(picture), exif=oriented(3), icc_profile=profile)
    np.testing.assert_array_equal(seen(raw), picture[::-1, ::-1])


def test_pixels_of_another_kind_are_refused_by_name(picture, tmp_path):
    raw = encoded(Image.fromarray(picture.astype(np.float32)[..., 0]), "TIFF")
    with pytest.raises(UserError, match=r"a/1.tif: pixels of Pillow's mode F"):
        as_stored(raw, "a/1.tif")
