#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Pillow 13.0.0 and OpenCV 5.0.0: pictures whose every pixel is there and whose end mark is not. A guess: a reader
# forgives both formats, or neither, whatever the picture shows. Seen: of two JPEGs that lack their last two bytes both
# readers take the one that shows a ramp and refuse the one that shows noise; of PNGs that lack their last chunk Pillow
# takes both, OpenCV none.
# In soma: what costs no pixel is read, with one warning (tests/test_jpeg.c, tests/test_png.c).

# shellcheck source=findings/lib
. "$(dirname "$0")/lib"
finding_install pillow==13.0.0 numpy==2.4.6 opencv-python-headless==5.0.0.93
finding_run << 'END'
import io

import cv2
import numpy as np
import PIL
from PIL import Image

print("Pillow", PIL.__version__, "OpenCV", cv2.__version__)
pictures = {"a ramp": np.add.outer(np.arange(0, 240, 3), np.arange(100)).astype(np.uint8),
            "noise": np.random.default_rng(0).integers(0, 256, (164, 164), dtype=np.uint8)}
for kind, missing in (("JPEG", 2), ("PNG", 12)):
    for name, pixels in pictures.items():
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind)
        cut = file.getvalue()[:-missing]
        try:
            Image.open(io.BytesIO(cut)).load()
            pillow = "read"
        except OSError as error:
            pillow = str(error).split(" (")[0]
        opencv = cv2.imdecode(np.frombuffer(cut, np.uint8), cv2.IMREAD_UNCHANGED)
        print(kind, "of", name, "without its last", missing, "bytes: Pillow:", pillow + "; OpenCV:",
              "nothing" if opencv is None else "read")
END
finding_seen << 'END'
Pillow 13.0.0 OpenCV 5.0.0
JPEG of a ramp without its last 2 bytes: Pillow: read; OpenCV: read
JPEG of noise without its last 2 bytes: Pillow: image file is truncated; OpenCV: nothing
PNG of a ramp without its last 12 bytes: Pillow: read; OpenCV: nothing
PNG of noise without its last 12 bytes: Pillow: read; OpenCV: nothing
END
