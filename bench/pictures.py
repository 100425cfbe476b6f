# SPDX-License-Identifier: Apache-2.0
#
# Bar 4 of the first user: photographs of every kind of JPEG, read by soma and by Pillow.
# usage: pictures.py make FOLDER PROGRAM PHOTO...   200 files; PROGRAM (soma-pictures) writes rare samplings
#        pictures.py compare FOLDER PROGRAM         figures, a line each; the last: "worst MEAN EDGE LARGEST PICTURES"

import io
import os
import subprocess
import sys

import numpy as np
from PIL import Image, ImageFilter, ImageOps

COUNT = 200
SIZES = [(224, 224), (32, 32), (28, 28), (64, 64), (299, 299), (96, 96),
         (17, 23), (8, 8), (128, 160), (416, 416), (50, 300), (1, 1)]
RARE = [(4, 1), (1, 2), (1, 4), (4, 2), (2, 4)]  # luma against chroma: 4:1:1, 4:4:0 and worse


def generated(rng, kind, height, width):
    """What photographs rarely hold: hard edges, text, noise, thin lines, frames at the border."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    picture = np.zeros((height, width, 3))
    if kind == 0:  # gradients and a sharp wave
        for c in range(3):
            picture[..., c] = 127 + 120 * np.sin(x * rng.uniform(0.01, 2) + y * rng.uniform(0.01, 2) + c)
    elif kind == 1:  # coloured noise
        picture = rng.integers(0, 256, (height, width, 3)).astype(np.float64)
    elif kind == 2:  # blocks with hard edges
        size = int(rng.integers(3, 40))
        table = rng.integers(0, 256, (height // size + 1, width // size + 1, 3))
        picture = table[(y // size).astype(int), (x // size).astype(int)].astype(np.float64)
    elif kind == 3:  # thin lines on white
        picture[:] = 255
        picture[(x + 2 * y) % int(rng.integers(5, 30)) < 1.5] = rng.integers(0, 256, 3)
    else:  # a frame: the outermost pixels differ from all others
        picture[:] = rng.integers(0, 256, 3)
        edge = int(rng.integers(1, 6))
        picture[:edge] = picture[-edge:] = rng.integers(0, 256, 3)
        picture[:, :edge] = picture[:, -edge:] = rng.integers(0, 256, 3)
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def cut(rng, photo):
    """A part of the photograph, scaled."""
    width, height = photo.size
    w, h = int(rng.integers(40, width + 1)), int(rng.integers(40, height + 1))
    left, top = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
    part = photo.crop((left, top, left + w, top + h))
    scale = rng.choice([0.3, 0.7, 1, 1, 1.9, 3])
    part = part.resize((max(9, int(w * scale)), max(9, int(h * scale))), Image.LANCZOS)
    return part.filter(ImageFilter.SHARPEN) if rng.random() < 0.3 else part


def hide_padding(rng, path):
    """Makes the picture smaller in its header alone: the rest of its last blocks holds what nobody may see."""
    content = bytearray(open(path, "rb").read())
    frame = min(content.find(b"\xff\xc0") % 2**31, content.find(b"\xff\xc2") % 2**31)
    for at in (frame + 5, frame + 7):
        size = content[at] << 8 | content[at + 1]
        less = size - int(rng.integers(0, 16)) if size % 16 == 0 else size
        content[at], content[at + 1] = less >> 8, less & 255
    open(path, "wb").write(content)


def make(folder, program, photos):
    os.makedirs(folder, exist_ok=True)
    photos = [Image.open(p).convert("RGB") for p in photos]
    for i in range(COUNT):
        rng = np.random.default_rng(i)
        path = os.path.join(folder, f"{i:03}.jpg")
        if i % 5 < 3:
            picture = cut(rng, photos[i % 2])
        else:
            picture = generated(rng, i // 5 % 5, int(rng.integers(9, 700)), int(rng.integers(9, 700)))
        padded = i % 10 in (1, 4)
        if padded:  # whole blocks, so that the header can hide a part of the last ones
            picture = picture.resize((16 * (picture.width // 16 + 1), 16 * (picture.height // 16 + 1)))
            border = Image.new("RGB", picture.size, (255, 0, 0))
            border.paste(picture.crop((0, 0, picture.width - 15, picture.height - 15)))
            picture = border
        options = {"quality": int(rng.integers(30, 97)), "subsampling": int(rng.integers(0, 3)),
                   "progressive": rng.random() < 0.3}
        if rng.random() < 0.3:  # requantised
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=int(rng.integers(20, 90)))
            picture = Image.open(buffer).convert("RGB")
        if rng.random() < 0.4:
            exif = Image.Exif()
            exif[0x0112] = int(rng.integers(1, 9))
            options["exif"] = exif
        if i % 8 == 7:
            picture = picture.convert("CMYK")
        elif i % 11 == 5:
            picture = picture.convert("L")
        if i % 7 == 3 and picture.mode == "RGB":
            h, v = RARE[i // 7 % len(RARE)]
            picture.save(path + ".ppm")
            quality, progressive = str(options["quality"]), str(int(options["progressive"]))
            subprocess.run([program, "encode", path + ".ppm", path, str(h), str(v), quality, progressive], check=True)
            os.remove(path + ".ppm")
        else:
            picture.save(path, **options)
        if padded:
            hide_padding(rng, path)


def compare(folder, program):
    names = sorted(n for n in os.listdir(folder) if n.endswith(".jpg"))
    jobs = [(os.path.join(folder, n), h, w) for n in names for h, w in SIZES]
    lines = "".join(f"{h} {w} {p}\n" for p, h, w in jobs)
    got = subprocess.run([program], input=lines.encode(), stdout=subprocess.PIPE, check=True).stdout
    got = np.frombuffer(got, "<f4")
    at, worst, means, pictures = 0, [0.0, 0.0, 0.0], {s: [] for s in SIZES}, {}
    for path, h, w in jobs:
        if path not in pictures:
            pictures = {path: ImageOps.exif_transpose(Image.open(path)).convert("RGB")}
        want = np.asarray(pictures[path].resize((w, h), Image.BILINEAR)).astype(np.float64).transpose(2, 0, 1)
        difference = np.abs(got[at : at + 3 * h * w].reshape(3, h, w) - want)
        at += 3 * h * w
        edge = max(difference[:, e].mean() for e in (0, -1)), max(difference[:, :, e].mean() for e in (0, -1))
        figures = [difference.mean(), max(edge), difference.max()]
        means[h, w].append(figures)
        if figures[0] > 1 or figures[1] > 1:
            print(f"{os.path.basename(path)} {pictures[path].width}x{pictures[path].height} at {w}x{h}: "
                  f"mean {figures[0]:.2f}, edge {figures[1]:.2f}")
        worst = [max(a, b) for a, b in zip(worst, figures)]
    for (h, w), figures in means.items():
        f = np.array(figures)
        print(f"{w}x{h}: mean {f[:, 0].mean():.3f} (worst {f[:, 0].max():.3f}), edges worst {f[:, 1].max():.3f}, "
              f"pixel {f[:, 2].max():.0f}")
    print(f"worst {worst[0]:.4f} {worst[1]:.4f} {worst[2]:.1f} {len(names)}")


if sys.argv[1] == "make":
    make(sys.argv[2], sys.argv[3], sys.argv[4:])
else:
    compare(sys.argv[2], sys.argv[3])
