/* SPDX-License-Identifier: Apache-2.0
 *
 * op/update/update_cpu.c: SGD and Adam in f32 vectors. Tensors that lie next to each other in every array are
 * updated in one pass: the zeros that pad them to 64 bytes stay zeros.
 */
#include "op/update/update.h"

#include "cpu/parallel.h"
#include "op/update/lanes.h"

#define MOST_ARRAYS 7
_Static_assert(SOMA_UPDATE_GRAIN % SOMA_LANES == 0, "shares begin at whole vectors, so bits do not depend on threads");

typedef struct job {
    const soma_update_state *s;
    void *const *array[MOST_ARRAYS]; /* array[a][i]: tensor i of the a-th group of arguments */
    float c[8];                      /* the step's numbers */
    bool merge;                      /* neighbours may share a pass */
} job;

typedef void (*pass_fn)(const job *j, float *const *x, int64_t n);

/* Does tensor i + 1 begin where tensor i's padding ends, in every array? */
static inline bool contiguous(const job *j, int arrays, int i)
{
    int64_t gap = j->s->start[i + 1] - j->s->start[i];
    bool yes = true;
    for (int a = 0; a < arrays; a++)
        yes &= (float *)j->array[a][i + 1] == (float *)j->array[a][i] + gap;
    return yes;
}

/* Elements begin .. end-1 of the whole range, begin at a multiple of the grain. Inlined with its constants: for a net
 * of ten parameters this is the update's whole cost. */
static inline __attribute__((always_inline)) void sweep(const job *j, int arrays, pass_fn pass, int64_t begin,
                                                        int64_t end)
{
    const soma_update_state *s = j->s;
    for (int i = begin ? soma_update_find(s, begin) : 0; begin < end;) {
        int last = i;
        while (j->merge && last + 1 < s->k && s->start[last + 1] < end && contiguous(j, arrays, last))
            last++;
        int64_t stop = s->start[last] + s->count[last];
        float *x[MOST_ARRAYS];
        for (int a = 0; a < arrays; a++)
            x[a] = (float *)j->array[a][i] + (begin - s->start[i]);
        pass(j, x, (stop < end ? stop : end) - begin);
        i = last + 1;
        if (i == s->k)
            return;
        begin = s->start[i];
    }
}

/* The part function of one pass over so many arrays. */
#define PART(pass, arrays)                                                                                             \
    static void pass##_part(void *context, int index, int count)                                                       \
    {                                                                                                                  \
        const job *j = context;                                                                                        \
        int64_t begin = 0, end = j->s->start[j->s->k];                                                                 \
        if (count > 1)                                                                                                 \
            soma_share(end, SOMA_UPDATE_GRAIN, index, count, &begin, &end);                                            \
        sweep(j, arrays, pass, begin, end);                                                                            \
    }

static inline void run_all(job *j, const soma_run *run, soma_part_fn part)
{
    int threads = soma_run_threads(run, j->s->threads);
    if (threads > 1)
        soma_parallel(threads, part, j);
    else
        part(j, 0, 1);
}

static soma_status accept(soma_prepare *p)
{
    if (p->in[p->n_in - 1].dtype != SOMA_F32)
        return soma_refuse(p->reason, "works on f32 only");
    return SOMA_OK;
}

/* A pass applies `step` to whole vectors, then to the lanes that are left. */
#define PASS(step)                                                                                                     \
    int64_t i = 0;                                                                                                     \
    for (; i + SOMA_LANES <= n; i += SOMA_LANES)                                                                       \
        step(soma_lanes_load, soma_lanes_store);                                                                       \
    if (i < n)                                                                                                         \
        step(LOAD_REST, STORE_REST);
#define LOAD_REST(x) soma_lanes_load_n(x, n - i)
#define STORE_REST(x, y) soma_lanes_store_n(x, y, n - i)

/* ---- sgd_update: x = p, g, p out; with momentum p, g, v, p out, v out; c = lr, momentum, weight decay ---- */

static void sgd_plain(const job *j, float *const *x, int64_t n)
{
    const float *p = x[0], *g = x[1];
    float *q = x[2];
    const soma_lanes lr = soma_lanes_all(j->c[0]), decay = soma_lanes_all(j->c[2]);
#define STEP(load, store)                                                                                              \
    do {                                                                                                               \
        soma_lanes w = load(p + i), h = soma_lanes_fma(decay, w, load(g + i));                                         \
        store(q + i, soma_lanes_fma(-lr, h, w));                                                                       \
    } while (0)
    PASS(STEP)
#undef STEP
}
PART(sgd_plain, 3)

static void sgd_momentum(const job *j, float *const *x, int64_t n)
{
    const float *p = x[0], *g = x[1], *v = x[2];
    float *q = x[3], *u = x[4];
    const soma_lanes lr = soma_lanes_all(j->c[0]), momentum = soma_lanes_all(j->c[1]), decay = soma_lanes_all(j->c[2]);
#define STEP(load, store)                                                                                              \
    do {                                                                                                               \
        soma_lanes w = load(p + i), h = soma_lanes_fma(decay, w, load(g + i));                                         \
        soma_lanes d = soma_lanes_fma(momentum, load(v + i), -(lr * h));                                               \
        store(u + i, d);                                                                                               \
        store(q + i, w + d);                                                                                           \
    } while (0)
    PASS(STEP)
#undef STEP
}
PART(sgd_momentum, 5)

static void sgd_nesterov(const job *j, float *const *x, int64_t n)
{
    const float *p = x[0], *g = x[1], *v = x[2];
    float *q = x[3], *u = x[4];
    const soma_lanes lr = soma_lanes_all(j->c[0]), momentum = soma_lanes_all(j->c[1]), decay = soma_lanes_all(j->c[2]);
#define STEP(load, store)                                                                                              \
    do {                                                                                                               \
        soma_lanes w = load(p + i), h = lr * soma_lanes_fma(decay, w, load(g + i));                                    \
        soma_lanes d = soma_lanes_fma(momentum, load(v + i), -h);                                                      \
        store(u + i, d);                                                                                               \
        store(q + i, w + soma_lanes_fma(momentum, d, -h));                                                             \
    } while (0)
    PASS(STEP)
#undef STEP
}
PART(sgd_nesterov, 5)

static soma_status sgd_run(const void *state, void *const *arg, soma_run *run)
{
    const soma_update_state *s = state;
    const soma_sgd_attrs *a = s->attrs;
    void *const *in = arg + 1, *const *out = arg + s->n_in;
    int k = s->k;
    job j = {s,
             {in, in + k, out},
             {(float)soma_get(arg[0], s->lr_dtype, 0), (float)a->momentum, (float)a->weight_decay},
             true};
    if (a->momentum > 0) {
        j.array[2] = in + 2 * k;
        j.array[3] = out;
        j.array[4] = out + k;
        run_all(&j, run, a->nesterov ? sgd_nesterov_part : sgd_momentum_part);
    } else {
        run_all(&j, run, sgd_plain_part);
    }
    return SOMA_OK;
}

static soma_status sgd_prepare(soma_prepare *p)
{
    const soma_update_state *s = soma_sgd_prepare(p);
    if (!s)
        return SOMA_MEMORY;
    p->run = sgd_run;
    return soma_update_complete(p, s);
}

const soma_kernel SOMA_ISA(soma_sgd_update_cpu) = {
    .name = "cpu", SOMA_ISA_FIELDS, .accept = accept, .prepare = sgd_prepare};

/* ---- adam_update: x = p, g, m, v, p out, m out, v out; c as in adam_run ---- */

static void adam_pass(const job *j, float *const *x, int64_t n)
{
    const float *p = x[0], *g = x[1], *m = x[2], *v = x[3];
    float *q = x[4], *mean = x[5], *square = x[6];
    const soma_lanes rate = soma_lanes_all(j->c[0]), root = soma_lanes_all(j->c[1]), beta1 = soma_lanes_all(j->c[2]);
    const soma_lanes beta2 = soma_lanes_all(j->c[3]), epsilon = soma_lanes_all(j->c[4]),
                     decay = soma_lanes_all(j->c[5]);
    const soma_lanes rest1 = soma_lanes_all(j->c[6]), rest2 = soma_lanes_all(j->c[7]);
#define STEP(load, store)                                                                                              \
    do {                                                                                                               \
        soma_lanes w = load(p + i), h = soma_lanes_fma(decay, w, load(g + i));                                         \
        soma_lanes a = soma_lanes_fma(beta1, load(m + i), rest1 * h);                                                  \
        soma_lanes b = soma_lanes_fma(beta2, load(v + i), rest2 * h * h);                                              \
        store(mean + i, a);                                                                                            \
        store(square + i, b);                                                                                          \
        store(q + i, w - rate * a / soma_lanes_fma(root, soma_lanes_sqrt(b), epsilon));                                \
    } while (0)
    PASS(STEP)
#undef STEP
}
PART(adam_pass, 7)

static soma_status adam_run(const void *state, void *const *arg, soma_run *run)
{
    const soma_update_state *s = state;
    const soma_adam_attrs *a = s->attrs;
    void *const *in = arg + 2, *const *out = arg + s->n_in;
    int k = s->k;
    int64_t t = (int64_t) * (const int32_t *)arg[1] + 1;
    double rate = soma_get(arg[0], s->lr_dtype, 0) / (1 - soma_power(a->beta1, t));
    double root = 1 / __builtin_sqrt(1 - soma_power(a->beta2, t));
    job j = {s,
             {in, in + k, in + 2 * k, in + 3 * k, out, out + k, out + 2 * k},
             {(float)rate, (float)root, (float)a->beta1, (float)a->beta2, (float)a->epsilon, (float)a->weight_decay,
              (float)(1 - a->beta1), (float)(1 - a->beta2)},
             a->epsilon > 0}; /* without it the padding would become 0 / 0 */
    run_all(&j, run, adam_pass_part);
    return SOMA_OK;
}

static soma_status adam_prepare(soma_prepare *p)
{
    const soma_update_state *s = soma_adam_prepare(p);
    if (!s)
        return SOMA_MEMORY;
    p->run = adam_run;
    return soma_update_complete(p, s);
}

const soma_kernel SOMA_ISA(soma_adam_update_cpu) = {
    .name = "cpu", SOMA_ISA_FIELDS, .accept = accept, .prepare = adam_prepare};
