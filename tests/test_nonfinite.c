/* SPDX-License-Identifier: Apache-2.0
 *
 * NaN and infinities: what the reference kernel makes NaN or infinite does not come out finite from any kernel of any
 * op, in any layout, type, merged activation or direction, and what it makes finite is finite and equal. Each input
 * gets a NaN and both infinities at several places. Only kernels that the table of docs/numbers.md names may
 * spread them to what the reference has finite.
 *
 * `test_nonfinite` tries small samples, `test_nonfinite --all` all of them at more places and prints a verdict for
 * every op, kernel, level, type and activation (bench/bars/first-02). `--library` tries the library's kernels only:
 * the test runs itself so at lower instruction sets of the library, which it reads from the environment.
 */
#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "layout_call.h"
#include "op_samples.h"

#include <math.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static bool all, library; /* --all, --library */

/* ---- verdicts ---- */

typedef struct verdict {
    const char *op, *kernel, *activation;
    int isa;
    bool half;
    char note[40];              /* the library's own name of its code */
    long runs, wanted;          /* outputs that the reference makes non-finite */
    long lost, spread, unequal; /* of them finite; finite ones non-finite; finite ones another number */
    char first[200];
} verdict;

static verdict verdicts[2000];
static int n_verdicts;

static verdict *verdict_of(const char *op, const soma_kernel *kernel, const char *activation, bool half,
                           const char *note)
{
    bool own = strncmp(kernel->name, "onednn", 6) != 0; /* a note of soma's own tells sizes */
    int i = 0;
    for (; i < n_verdicts; i++) {
        const verdict *v = &verdicts[i];
        if (v->op == op && v->kernel == kernel->name && v->isa == kernel->isa && v->half == half &&
            !strcmp(v->activation, activation) && (own || !strncmp(v->note, note, sizeof v->note - 1)))
            return &verdicts[i];
    }
    assert_true(i < (int)(sizeof verdicts / sizeof *verdicts));
    n_verdicts++;
    verdicts[i] = (verdict){
        .op = op, .kernel = kernel->name, .activation = activation, .isa = kernel->isa, .half = half};
    if (!own)
        snprintf(verdicts[i].note, sizeof verdicts[i].note, "%s", note);
    return &verdicts[i];
}

/* The table of kernels that spread: rows "| `kernel` | `op`, `op` | ... |" of the chapter; `kernel note` or `kernel
 * bf16 note` names some of the library's codes, whose notes begin so. */
static char *chapter;

static void read_chapter(void)
{
    FILE *file = fopen(SOMA_SOURCE_DIR "/docs/numbers.md", "rb");
    static char text[1 << 18];
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    chapter = strstr(text, "\n## NaN and infinity\n");
    assert_non_null(chapter);
    char *end = strstr(chapter + 1, "\n## ");
    if (end)
        *end = 0;
}

static bool names(const char *row, size_t n, const verdict *v, const char *between)
{
    char name[120];
    snprintf(name, sizeof name, "%s %s%s", v->kernel, between, v->note);
    return !strncmp(name, row, n) && (n == strlen(v->kernel) || n > strlen(v->kernel) + 1);
}

static bool may_spread(const verdict *v)
{
    char cell[80];
    snprintf(cell, sizeof cell, "`%s`", v->op);
    for (const char *row = strstr(chapter, "\n| `"); row; row = strstr(row + 1, "\n| `")) {
        const char *first = row + 4, *end = strchr(first, '\n'), *op = strstr(first, cell);
        size_t n = strcspn(first, "`");
        if ((names(first, n, v, "") || (v->half && names(first, n, v, "bf16 "))) && op && end && op < end)
            return true;
    }
    return false;
}

static bool holds(const verdict *v)
{
    return v->lost == 0 && v->unequal == 0 && (v->spread == 0 || may_spread(v));
}

static int report(void)
{
    int bad = 0;
    for (int i = 0; i < n_verdicts; i++) {
        const verdict *v = &verdicts[i];
        bool good = holds(v);
        bad += !good;
        if (all || !good)
            printf("%-6s %-24s %-16s %-12s %-4s %-8s %-22s %7ld runs, %9ld non-finite, %ld lost, %ld spread, %ld "
                   "unequal%s%s\n",
                   good ? "ok" : "FAILED", v->op, v->kernel, soma_isa_name(v->isa), v->half ? "bf16" : "f32",
                   v->activation, v->note, v->runs, v->wanted, v->lost, v->spread, v->unequal,
                   good ? "" : "; first: ", good ? "" : v->first);
    }
    return bad;
}

/* ---- what is put where ---- */

#define POISONS 80
typedef struct poison {
    int input;
    int64_t at;
    double number;
    double *want[LAYOUT_ARGS]; /* outputs of the reference */
} poison;

static const double numbers[3] = {(double)NAN, (double)INFINITY, -(double)INFINITY};

/* Element `place` of n: the ends, then scattered ones. */
static int64_t element_of(int64_t n, int place, int input, int number)
{
    if (place == 0) /* where there is but one place, another for each number */
        place = number == 0 ? 2 : number - 1;
    else if (place == 2)
        place = number;
    return place == 0 ? 0 : place == 1 ? n - 1 : (n * (5 * place - 7) / 11 + input) % n;
}

static int poisons_of(const layout_arrays *a, poison *p, bool large)
{
    int n = 0, places = all && !large ? 4 : 1;
    for (int i = 0; i < a->n_in; i++) {
        int64_t size = layout_elements(a, i);
        for (int k = 0; k < 3 * places && size > 0 && a->type[i].dtype == SOMA_F32 && n < POISONS; k++)
            p[n++] = (poison){.input = i, .at = element_of(size, k / 3, i, k % 3), .number = numbers[k % 3]};
    }
    return n;
}

static void set_input(layout_arrays *a, const poison *p, double number)
{
    a->exact[p->input][p->at] = number;
    ((float *)a->plain[p->input])[p->at] = (float)number;
}

/* ---- one kernel ---- */

typedef struct subject {
    const soma_op *op;
    const char *sample, *activation;
    const soma_kernel *kernel;
    void *attrs;
    layout_arrays *a;
    poison *p;
    int n;
    double largest[LAYOUT_ARGS]; /* of an output of the reference without poison */
} subject;

static void note_first(verdict *v, const subject *s, const poison *p, int output, int64_t j, double y, double want)
{
    if (!v->first[0])
        snprintf(v->first, sizeof v->first, "\"%s\" %s, input %d[%lld] = %g: output %d[%lld] is %g, not %g", s->sample,
                 s->activation, p->input, (long long)p->at, p->number, output, (long long)j, y, want);
}

/* Rounding has tests of its own: here numbers are equal that no lost or doubled term tells apart. */
static bool equal(const subject *s, int i, bool half, double y, double want)
{
    if (s->a->type[i].dtype != SOMA_F32)
        return y == want;
    double bound = (half ? 0x1p-5 : 1e-4) * (fabs(want) + s->largest[i] + 1e-3);
    return fabs(y - want) <= bound;
}

static void compare(verdict *v, const subject *s, const poison *p, int i, const void *got, bool half)
{
    for (int64_t j = 0; j < layout_elements(s->a, i); j++) {
        soma_dtype dtype = s->a->type[i].dtype;
        double y = dtype == SOMA_F32  ? (double)((const float *)got)[j]
                   : dtype == SOMA_U8 ? (double)((const uint8_t *)got)[j]
                                      : (double)((const int32_t *)got)[j];
        double want = p->want[i][j];
        v->wanted += !isfinite(want);
        if (!isfinite(want) && isfinite(y))
            v->lost++;
        else if (isfinite(want) && !isfinite(y))
            v->spread++;
        else if (isfinite(want) && !equal(s, i, half, y, want))
            v->unequal++;
        else
            continue;
        note_first(v, s, p, i - s->a->n_in, j, y, want);
    }
}

static void run_poisons(verdict *v, const subject *s, layout_call *c)
{
    layout_arrays *a = s->a;
    for (int k = 0; k < s->n; k++) {
        poison *p = &s->p[k];
        double before = a->exact[p->input][p->at];
        set_input(a, p, p->number);
        layout_move(&c->arg[p->input], a->plain[p->input], c->data[p->input], false);
        for (int i = a->n_in; i < a->n_in + a->n_out; i++)
            if (c->data[i])
                memset(c->data[i], 0, soma_arg_bytes(&c->arg[i]));
        unsigned word = soma_float_enter(true, c->p->threads);
        assert_int_equal(layout_call_run(c), SOMA_OK);
        soma_float_leave(word, c->p->threads);
        v->runs++;
        for (int i = a->n_in; i < a->n_in + a->n_out; i++)
            if (c->data[i]) {
                layout_move(&c->arg[i], a->plain[i], c->data[i], true);
                compare(v, s, p, i, a->plain[i], a->half);
            }
        set_input(a, p, before);
        layout_move(&c->arg[p->input], a->plain[p->input], c->data[p->input], false);
    }
}

static void try_layouts(const subject *s, const soma_layout_kind *kinds, int threads, bool wide)
{
    layout_call c;
    layout_arrays *a = s->a;
    int n = a->n_in + a->n_out;
    layout_call_open(&c, s->op, s->attrs, a->n_in, a->n_out, a->type, threads);
    if (a->half)
        layout_type_halves(&c, a, !wide);
    int before = soma_parallel_enter(threads);
    bool runs = soma_kernel_prepare(&c.kernel, s->kernel, kinds) == SOMA_OK;
    for (int i = 0; i < n && runs; i++) {
        if (a->type[i].shape.rank < 0)
            continue;
        c.data[i] = aligned_alloc(64, (soma_arg_bytes(&c.arg[i]) + 127) / 64 * 64);
        if (i < a->n_in)
            layout_move(&c.arg[i], a->plain[i], c.data[i], false);
    }
    if (runs)
        run_poisons(verdict_of(s->op->name, s->kernel, s->activation, a->half, c.kernel.view.note), s, &c);
    soma_parallel_leave(before);
    for (int i = 0; i < n && runs; i++)
        free(c.data[i]);
    layout_call_close(&c);
}

static void try_kernel(const subject *s)
{
    soma_layout_kind kinds[LAYOUT_ARGS] = {SOMA_PLAIN};
    do {
        for (int threads = 1; threads <= (all ? 2 : 1); threads++)
            for (int wide = 0; wide <= (s->a->half && s->kernel->bf16 == SOMA_BF16_MULTIPLY); wide++)
                try_layouts(s, kinds, threads, wide);
    } while (layout_next(s->kernel, s->a, kinds));
}

/* ---- one sample, one activation, one type ---- */

static double work_of(const soma_op *op, const void *attrs, const layout_arrays *a)
{
    soma_arg arg[LAYOUT_ARGS];
    double most = 0;
    for (int i = 0; i < a->n_in + a->n_out; i++) {
        arg[i] = (soma_arg){.dtype = a->type[i].dtype, .shape = a->type[i].shape, .elements = layout_elements(a, i)};
        most = fmax(most, (double)arg[i].elements);
    }
    return fmax(8 * most, op->flops ? op->flops(attrs, arg, a->n_in, arg + a->n_in) : 0);
}

static void references(subject *s)
{
    layout_arrays *a = s->a;
    layout_reference(s->op, s->attrs, a, a->exact);
    for (int i = a->n_in; i < a->n_in + a->n_out; i++)
        for (int64_t j = 0; j < layout_elements(a, i); j++)
            s->largest[i] = fmax(s->largest[i], isfinite(a->exact[i][j]) ? fabs(a->exact[i][j]) : 0);
    for (int k = 0; k < s->n; k++) {
        poison *p = &s->p[k];
        double before = a->exact[p->input][p->at];
        set_input(a, p, p->number);
        layout_reference(s->op, s->attrs, a, a->exact);
        for (int i = a->n_in; i < a->n_in + a->n_out; i++) {
            size_t bytes = (size_t)layout_elements(a, i) * sizeof(double);
            p->want[i] = malloc(bytes + 1);
            memcpy(p->want[i], a->exact[i], bytes);
        }
        set_input(a, p, before);
    }
}

static bool tried(const soma_kernel *kernel, bool half)
{
    if (kernel->isa > soma_cpu_isa() || (half ? kernel->bf16 == SOMA_BF16_NONE : kernel->stores == SOMA_BF16))
        return false;
    return !library || !strncmp(kernel->name, "onednn", 6);
}

/* Arrays of fewer than two dimensions stay f32 in a program of precision bf16, and a reshape copies bytes. */
static bool half_makes_sense(const soma_op *op, const layout_arrays *a)
{
    for (int i = 0; i < a->n_in + a->n_out && op->alias; i++)
        if (a->type[i].shape.rank < 2)
            return false;
    return true;
}

static void check(const soma_op *op, const soma_sample *sample, const char *field, const char *activation, bool half)
{
    int64_t attrs[SOMA_ATTRS_MAX / 8] = {0};
    char reason[SOMA_REASON_MAX] = "";
    layout_arrays a;
    static poison p[POISONS];
    assert_int_equal(soma_attrs_parse(op, attrs, sample->attrs, reason), SOMA_OK);
    if (activation)
        assert_int_equal(soma_attr_parse(op, attrs, field, activation, reason), SOMA_OK);
    bool made = layout_sample_make(op, sample, attrs, &a, half, reason) && (!half || half_makes_sense(op, &a));
    double work = made ? work_of(op, attrs, &a) : HUGE_VAL;
    if (work <= (all ? 1e6 : 6e4)) {
        bool large = work > 1e5;
        subject s = {op, sample->name, activation ? activation : "", NULL, attrs, &a, p, poisons_of(&a, p, large), {0}};
        references(&s);
        for (int k = 0; op->kernels[k]; k++) {
            s.kernel = op->kernels[k];
            if (tried(s.kernel, half))
                try_kernel(&s);
        }
        for (int k = 0; k < s.n; k++)
            for (int i = a.n_in; i < a.n_in + a.n_out; i++)
                free(p[k].want[i]);
    }
    layout_sample_close(&a);
}

static bool has_tried(const soma_op *op, bool half)
{
    for (int k = 0; op->kernels[k]; k++)
        if (tried(op->kernels[k], half))
            return true;
    return false;
}

static void check_op(const soma_op *op)
{
    const soma_field *field = op->fields;
    static const char *const none[] = {NULL};
    while (field && field->name && strcmp(field->name, "activation") != 0 && strcmp(field->name, "gate") != 0)
        field++;
    const char *const *choices = field && field->name ? field->choices : none;
    for (const soma_sample *sample = op->samples; sample->name; sample++)
        for (int half = 0; half <= (soma_cpu_isa() >= 4); half++)
            for (int i = 0; has_tried(op, half) && (i == 0 || (choices[0] && choices[i])); i++)
                check(op, sample, field ? field->name : NULL, choices[i], half);
}

/* ---- ops that assign: as programs, whose planning aliases states ---- */

static void compare_states(verdict *v, const sample_case *c, const sample_case *want, const char *sample)
{
    for (int i = 0; i < c->n_out; i++)
        for (int64_t j = 0; j < want->out[i].n && want->out[i].at; j++) {
            double y = c->out[i].at[j], w = want->out[i].at[j];
            v->wanted += !isfinite(w);
            v->lost += !isfinite(w) && isfinite(y);
            v->spread += isfinite(w) && !isfinite(y);
            bool other = isfinite(w) && isfinite(y) && fabs(y - w) > 1e-4 * (fabs(w) + 1e-3);
            v->unequal += other;
            if (!v->first[0] && (other || isfinite(w) != isfinite(y)))
                snprintf(v->first, sizeof v->first, "\"%s\": output %d[%lld] is %g, not %g", sample, i, (long long)j, y,
                         w);
        }
}

static void check_assigning(const soma_op *op, const soma_sample *sample)
{
    char error[SOMA_REASON_MAX];
    sample_case want, c;
    sample_begin(&want, op, sample);
    sample_begin(&c, op, sample);
    for (int i = 0; i < want.n_in; i++)
        for (int k = 0; k < 3 && want.in[i].at && !want.in[i].integer; k++) {
            int64_t at = element_of(want.in[i].n, all ? k : 0, i, k);
            double before = want.in[i].at[at];
            want.in[i].at[at] = c.in[i].at[at] = numbers[k];
            bool done = sample_run(&want, op, SOMA_F64, true, error, sizeof error);
            for (int q = 0; op->kernels[q] && done; q++) {
                const soma_kernel *const only[] = {op->kernels[q], NULL};
                soma_op one = *op;
                one.kernels = only;
                if (!tried(only[0], false) || !sample_run(&c, &one, SOMA_F32, false, error, sizeof error))
                    continue;
                verdict *v = verdict_of(op->name, only[0], "", false, "");
                v->runs++;
                compare_states(v, &c, &want, sample->name);
            }
            want.in[i].at[at] = c.in[i].at[at] = before;
        }
    sample_end(&want);
    sample_end(&c);
}

/* ---- all ops ---- */

static int check_all(const char *only)
{
    read_chapter();
    for (int k = 0; soma_op_at(k); k++) {
        const soma_op *op = soma_op_at(k);
        if (only && strcmp(only, op->name) != 0)
            continue;
        if (!op->assign)
            check_op(op);
        for (const soma_sample *sample = op->samples; op->assign && !library && sample->name; sample++)
            check_assigning(op, sample);
    }
    return report();
}

static void kernels_keep_what_is_not_finite(void **state)
{
    (void)state;
    assert_int_equal(check_all(NULL), 0);
    assert_true(n_verdicts > 200 || soma_cpu_isa() < 2);
}

#ifdef SOMA_HAVE_ONEDNN
/* The library reads its highest instruction set from the environment, once: a process for each. */
static int at_level(const char *level)
{
    char two[64],
        three[64], *const argv[] = {(char *)"test_nonfinite", (char *)"--library", all ? (char *)"--all" : NULL, NULL};
    char *const environment[] = {two, three, NULL};
    pid_t child;
    int status = -1;
    snprintf(two, sizeof two, "DNNL_MAX_CPU_ISA=%s", level);
    snprintf(three, sizeof three, "ONEDNN_MAX_CPU_ISA=%s", level);
    fflush(stdout);
    if (posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environment) != 0 || waitpid(child, &status, 0) < 0)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static const char *const levels[] = {"SSE41", "AVX2", "AVX512_CORE", NULL};

static void library_keeps_what_is_not_finite_at_lower_levels(void **state)
{
    (void)state;
    for (int i = 0; levels[i]; i++)
        assert_int_equal(at_level(levels[i]), 0);
}
#endif

int main(int argc, char **argv)
{
    const char *only = NULL;
    for (int i = 1; i < argc; i++) {
        all = all || !strcmp(argv[i], "--all");
        library = library || !strcmp(argv[i], "--library");
        only = argv[i][0] == '-' ? only : argv[i];
    }
    if (all || library || only) {
        int bad = check_all(only);
#ifdef SOMA_HAVE_ONEDNN
        for (int i = 0; levels[i] && all && !library && !only; i++) {
            printf("the library at most %s:\n", levels[i]);
            bad += at_level(levels[i]) != 0;
        }
#endif
        return bad != 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_keep_what_is_not_finite),
#ifdef SOMA_HAVE_ONEDNN
        cmocka_unit_test(library_keeps_what_is_not_finite_at_lower_levels),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
