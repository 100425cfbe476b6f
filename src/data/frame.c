/* SPDX-License-Identifier: Apache-2.0
 *
 * data/frame.c: the geometry of evaluation (resize, then crop the centre) and of augmentation (drawn by sample and
 * epoch alone). Sizes round as torchvision's Resize, CenterCrop, RandomCrop and RandomResizedCrop do.
 */
#include "data/frame.h"

#include "base/exact.h"
#include "base/limits.h"
#include "base/random.h"
#include "base/text.h"
#include "base/words.h"
#include "base/zero.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define ATTEMPTS 10          /* at a box that fits, as in torchvision */
#define BLOCKS_PER_SAMPLE 16 /* of four draws each; more than ATTEMPTS + 1 */

/* {side, 0}: the shorter side becomes that. */
static void resized(const soma_transform *t, int64_t height, int64_t width, int64_t to[2])
{
    to[0] = height;
    to[1] = width;
    if (t->resize[0] && t->resize[1]) {
        to[0] = t->resize[0];
        to[1] = t->resize[1];
    } else if (t->resize[0] && height > 0 && width > 0) {
        int64_t side = t->resize[0];
        to[0] = height <= width ? side : side * height / width;
        to[1] = height <= width ? side * width / height : side;
    }
}

/* ---- what a transform leaves open ---- */

/* The first figure alone is for all channels. */
static void spread(double numbers[4])
{
    if (numbers[1] == 0 && numbers[2] == 0 && numbers[3] == 0)
        numbers[1] = numbers[2] = numbers[3] = numbers[0];
}

/* Two of three figures, or three of one, are a mistake: one is for all, else there is one a channel. What a transform
 * that was filled in has beyond the channels (`open`) is none. */
static soma_status check_count(soma *s, soma_at at, const char *field, const double numbers[4], double open,
                               int64_t channels)
{
    char room[64];
    int n = 4;
    bool equal = numbers[1] == numbers[0] && numbers[2] == numbers[0] && numbers[3] == numbers[0];
    while (n > 1 && (numbers[n - 1] == 0 || (n > channels && soma_plain(numbers[n - 1]) == open)))
        n--;
    if (n == 1 || n == channels || channels > 4 || equal)
        return SOMA_OK;
    return soma_fail(s, SOMA_INVALID, at,
                     "%s has %d numbers, but the data have %" PRId64
                     " channel%s; give one for all, or one a channel" SOMA_IN_C(" (for a zero write SOMA_ZERO)"),
                     soma_field_text(s, field, room), n, channels, channels == 1 ? "" : "s");
}

static bool is_uniform(const soma_transform *t)
{
    bool equal = true;
    for (int c = 1; c < 4; c++)
        equal &= t->mean[c] == t->mean[0] && t->deviation[c] == t->deviation[0];
    return equal;
}

soma_status soma_scale_resolve(soma *s, soma_at at, soma_transform *t, int64_t channels, int64_t plane, double natural,
                               soma_scale *scale)
{
    soma_status status = check_count(s, at, "mean", t->mean, 0, channels);
    if (status == SOMA_OK)
        status = check_count(s, at, "deviation", t->deviation, 1, channels);
    if (status != SOMA_OK)
        return status;
    spread(t->mean);
    spread(t->deviation);
    for (int c = 0; c < 4; c++)
        t->mean[c] = soma_plain(t->mean[c]);
    bool uniform = is_uniform(t);
    if (!uniform && channels > 4)
        return soma_fail(
            s, SOMA_INVALID, at,
            "the transform gives means or deviations per channel, which 4 channels may have at most, but the data "
            "have %" PRId64 "; give only the first, for all channels",
            channels);
    t->scale = soma_said(t->scale, natural);
    *scale = (soma_scale){.channels = uniform ? 1 : (int)channels, .plane = plane, .identity = true};
    for (int c = 0; c < 4; c++) {
        t->deviation[c] = soma_said(t->deviation[c], 1);
        scale->a[c] = (float)(t->scale / t->deviation[c]);
        scale->b[c] = t->mean[c] == 0 ? 0 : (float)(-t->mean[c] / t->deviation[c]);
        if (!isfinite(scale->a[c]) || !isfinite(scale->b[c]) || !isfinite(t->deviation[c]) || t->deviation[c] <= 0 ||
            t->scale == 0)
            return soma_fail(
                s, SOMA_INVALID, at,
                "the transform of channel %d has scale %g, mean %g, deviation %g; all must be finite, the scale not 0 "
                "and the deviation positive",
                c, t->scale, t->mean[c], t->deviation[c]);
        if (c < scale->channels)
            scale->identity &= scale->a[c] == 1 && scale->b[c] == 0;
    }
    soma_say_zeros(t->mean, channels < 4 ? (int)channels : 4); /* or the next reader would take them for not said */
    return SOMA_OK;
}

static soma_status check_side(soma *s, soma_at at, bool crop, const int64_t side[2])
{
    if (side[0] >= 0 && side[1] >= 0 && side[0] <= SOMA_LIMIT_IMAGE_SIDE && side[1] <= SOMA_LIMIT_IMAGE_SIDE &&
        (side[0] > 0 || side[1] == 0))
        return SOMA_OK;
    char size[64];
    int n = snprintf(size, sizeof size, "%" PRId64, side[0]);
    if (side[1])
        snprintf(size + n, sizeof size - (size_t)n, " x %" PRId64, side[1]);
    return soma_fail(
        s, SOMA_INVALID, at,
        crop
            ? SOMA_FIELD("crop") ": %s is no size; it takes one number of pixels, or height and width, of at most %d"
            : SOMA_FIELD("resize") ": %s is no size; it takes one number of pixels, or height and width, of at most %d",
        size, SOMA_LIMIT_IMAGE_SIDE);
}

static soma_status check_augment(soma *s, soma_at at, const soma_augment *a)
{
    char text[32];
    if (!(a->random_resized_crop >= 0 && a->random_resized_crop <= 1))
        return soma_fail(s, SOMA_INVALID, at,
                         SOMA_FIELD_IS("random_resized_crop",
                                       "%s") " is the least share of a picture's area to be seen, above 0 and at "
                                             "most 1 (ImageNet: 0.08)",
                         soma_format_f64(soma_plain(a->random_resized_crop), text));
    if (a->random_crop && a->random_resized_crop > 0)
        return soma_fail(s, SOMA_INVALID, at,
                         SOMA_FIELD("random_crop") " and " SOMA_FIELD(
                             "random_resized_crop") " are two ways to choose a part of a picture; give one");
    if (a->padding < 0 || a->padding > SOMA_LIMIT_IMAGE_SIDE || (a->padding && !a->random_crop))
        return soma_fail(s, SOMA_INVALID, at,
                         SOMA_FIELD_IS("padding", "%" PRId64) " is the black border that " SOMA_FIELD_IS(
                             "random_crop", "true") " may reach into, 0 to %d pixels",
                         a->padding, SOMA_LIMIT_IMAGE_SIDE);
    return SOMA_OK;
}

soma_status soma_framing_resolve(soma *s, soma_at at, soma_framing *f, double natural, int64_t height, int64_t width)
{
    soma_transform *t = &f->transform;
    int64_t to[2];
    soma_status status = check_side(s, at, false, t->resize);
    if (!status)
        status = check_side(s, at, true, t->crop);
    if (!status)
        status = check_augment(s, at, &f->augment);
    if (status)
        return status;
    if (t->bgr && f->channels != 3)
        return soma_fail(s, SOMA_INVALID, at, "the transform's bgr is for 3 channels, but the pictures have %" PRId64,
                         f->channels);
    if (t->crop[0] && !t->crop[1])
        t->crop[1] = t->crop[0];
    resized(t, height, width, to);
    f->height = t->crop[0] ? t->crop[0] : to[0];
    f->width = t->crop[0] ? t->crop[1] : to[1];
    if (f->height < 1 || f->width < 1)
        return soma_fail(
            s, SOMA_INVALID, at,
            "pictures differ in size, so the transform must make them equal: give " SOMA_FIELD_IS(
                "resize",
                "{height, width}") ", or " SOMA_FIELD_IS("resize",
                                                         "{side}") " (the shorter one) with " SOMA_FIELD_IS("crop",
                                                                                                            "{height, "
                                                                                                            "width}"));
    return soma_scale_resolve(s, at, t, f->channels, f->height * f->width, natural, &f->scale);
}

bool soma_framing_moves(const soma_framing *f, int64_t height, int64_t width)
{
    int64_t to[2];
    resized(&f->transform, height, width, to);
    return f->transform.bgr || f->transform.invert || to[0] != height || to[1] != width || f->height != height ||
           f->width != width;
}

/* ---- evaluation ---- */

/* Where a window of `out` pixels in the middle of `to` begins; halves round to even, black is more at the end. */
static int64_t centre(int64_t to, int64_t out)
{
    int64_t rest = to - out;
    return rest >= 0 ? rest / 2 + (rest % 4 == 3) : -(-rest / 2);
}

static soma_frame evaluation(const soma_framing *f, int64_t height, int64_t width)
{
    int64_t to[2];
    resized(&f->transform, height, width, to);
    return (soma_frame){{0, height, to[0], centre(to[0], f->height), f->height, false},
                        {0, width, to[1], centre(to[1], f->width), f->width, false}};
}

/* ---- draws ---- */

static void draw(const soma_chance *c, int64_t sample, int block, uint32_t out[4])
{
    soma_draw(c->random, c->seed, SOMA_STREAM_AUGMENT, 0, c->epoch,
              (uint64_t)sample * BLOCKS_PER_SAMPLE + (uint64_t)block, out);
}

/* 0 .. n - 1 */
static int64_t below(uint32_t bits, int64_t n)
{
    return (int64_t)((uint64_t)bits * (uint64_t)n >> 32);
}

/* The window anywhere in the picture, which has `padding` black pixels around it and at least those of an
 * evaluation. */
static void move(soma_axis *a, int64_t padding, uint32_t bits)
{
    int64_t middle = a->offset, rest = a->to - a->out;
    int64_t low = (middle < 0 ? middle : 0) - padding, high = (middle > rest ? middle : rest) + padding;
    a->offset = low + below(bits, high - low + 1);
}

/* The largest box within the aspect ratios 3/4 and 4/3, in the middle. */
static void middle_box(soma_frame *frame, int64_t height, int64_t width)
{
    int64_t h = height, w = width;
    if (4 * w < 3 * h)
        h = (w * 4 + 1) / 3;
    else if (3 * w > 4 * h)
        w = (h * 4 + 1) / 3;
    h = h < 1 ? 1 : h > height ? height : h;
    w = w < 1 ? 1 : w > width ? width : w;
    frame->y.low = (height - h) / 2;
    frame->y.high = frame->y.low + h;
    frame->x.low = (width - w) / 2;
    frame->x.high = frame->x.low + w;
}

/* A box of a drawn share of the area and a drawn aspect ratio, seen at the input's size (Szegedy et al. 2014, "Going
 * deeper with convolutions", section 6; torchvision's RandomResizedCrop). */
static void draw_box(const soma_framing *f, const soma_chance *chance, int64_t sample, int64_t height, int64_t width,
                     soma_frame *frame)
{
    const double limit = soma_exact_log(4.0 / 3), least = f->augment.random_resized_crop;
    frame->y.to = frame->y.out;
    frame->x.to = frame->x.out;
    frame->y.offset = frame->x.offset = 0;
    for (int i = 1; i <= ATTEMPTS; i++) {
        uint32_t d[4];
        draw(chance, sample, i, d);
        double area = (double)height * (double)width * (least + (1 - least) * (double)soma_unit_f32(d[0]));
        double ratio = soma_exact_exp(limit * (2 * (double)soma_unit_f32(d[1]) - 1));
        int64_t w = (int64_t)(soma_exact_sqrt(area * ratio) + 0.5), h = (int64_t)(soma_exact_sqrt(area / ratio) + 0.5);
        if (w < 1 || h < 1 || w > width || h > height)
            continue;
        frame->y.low = below(d[2], height - h + 1);
        frame->x.low = below(d[3], width - w + 1);
        frame->y.high = frame->y.low + h;
        frame->x.high = frame->x.low + w;
        return;
    }
    middle_box(frame, height, width);
}

soma_frame soma_frame_of(const soma_framing *f, const soma_chance *chance, int64_t sample, int64_t height,
                         int64_t width)
{
    soma_frame frame = evaluation(f, height, width);
    if (!chance)
        return frame;
    const soma_augment *a = &f->augment;
    uint32_t d[4];
    draw(chance, sample, 0, d);
    frame.x.mirrored = a->flip && (d[0] & 0x80000000u);
    if (a->random_resized_crop > 0) {
        draw_box(f, chance, sample, height, width, &frame);
    } else if (a->random_crop) {
        move(&frame.y, a->padding, d[1]);
        move(&frame.x, a->padding, d[2]);
    }
    return frame;
}
