#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Pillow 13.0.0: convert("L") or convert("RGB") of a PNG with 16 bits of grey clips at 255; of one with 3 x 16 bits of
# colour it takes the high bytes. A guess: both are scaled (OpenCV 5.0.0 scales both). Seen: 16 bits of grey, 0 255 256
# 1000 32768 65535, become 0 255 255 255 255 255, a white picture; the same numbers as colours become 0 0 1 3 128 255.
# Training pictures that were read by Pillow and pictures to predict that were not then have nothing in common.
# In soma: 16 bits of grey and of colour are both scaled (tests/test_png.c).

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
values = np.array([0, 255, 256, 1000, 32768, 65535], np.uint16)
grey = cv2.imencode(".png", values[None])[1]
colour = cv2.imencode(".png", np.repeat(values[None, :, None], 3, 2))[1]
for name, png in (("grey", grey), ("colour", colour)):
    image = Image.open(io.BytesIO(png.tobytes()))
    mode = image.mode
    print(name, "16 bits, Pillow, mode", mode + ":", np.asarray(image.convert("RGB"))[0, :, 0].tolist())
    print(name, "16 bits, OpenCV:", cv2.imdecode(png, cv2.IMREAD_COLOR)[0, :, 0].tolist())
END
finding_seen << 'END'
Pillow 13.0.0 OpenCV 5.0.0
grey 16 bits, Pillow, mode I;16: [0, 255, 255, 255, 255, 255]
grey 16 bits, OpenCV: [0, 0, 1, 3, 128, 255]
colour 16 bits, Pillow, mode RGB: [0, 0, 1, 3, 128, 255]
colour 16 bits, OpenCV: [0, 0, 1, 3, 128, 255]
END
