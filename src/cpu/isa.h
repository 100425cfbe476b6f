/* SPDX-License-Identifier: Apache-2.0
 *
 * cpu/isa.h: files named *_cpu.c are compiled once per instruction-set level; each exports its kernels under a
 * name that ends in the level, and an op lists them best first. A kernel whose level the machine lacks is refused by
 * name when kernels are selected.
 *
 *     in relu_cpu.c:  const soma_kernel SOMA_ISA(soma_relu_cpu) = {.name = "cpu", SOMA_ISA_FIELDS, ...};
 *     in relu.c:      SOMA_ISA_DECLARE(soma_relu_cpu)
 *                     ... kernels = { SOMA_ISA_LIST(soma_relu_cpu) &reference, NULL }
 */
#ifndef SOMA_CPU_ISA_H
#define SOMA_CPU_ISA_H

#include <soma/op.h>

#ifndef SOMA_ISA_LEVEL
#define SOMA_ISA_LEVEL 0
#endif

#define SOMA_ISA_JOIN2(name, level) name##_isa##level
#define SOMA_ISA_JOIN(name, level) SOMA_ISA_JOIN2(name, level)
#define SOMA_ISA(name) SOMA_ISA_JOIN(name, SOMA_ISA_LEVEL)

/* Files that name the stored element, soma_elem, are compiled once more as level 4: AVX-512, with batched arrays
 * stored in bf16 and computed with in f32. SOMA_STORED is its type
 * (see cpu/vec.h for loads and stores), and lists the kernel before the others by SOMA_BF16_LIST.
 *
 * SOMA_BF16_EMULATED (a build for tests): level 4 is AVX2 that converts by integer shifts, and there is no level 3.
 * What a file makes of wide registers therefore hangs on SOMA_LANES, not on the level. */
#if SOMA_ISA_LEVEL == 4
#define SOMA_STORED SOMA_BF16
#define SOMA_STORED_RULE SOMA_BF16_FOLLOW
#define SOMA_PRODUCT_RULE SOMA_BF16_MULTIPLY
typedef struct soma_elem {
    uint16_t bits;
} soma_elem;
#else
#define SOMA_STORED SOMA_F32
#define SOMA_STORED_RULE SOMA_BF16_NONE
#define SOMA_PRODUCT_RULE SOMA_BF16_NONE
typedef float soma_elem;
#endif

/* Of every kernel in such a file. */
#define SOMA_ISA_FIELDS .isa = SOMA_ISA_LEVEL, .stores = SOMA_STORED

#if defined(__x86_64__)
#define SOMA_BF16_DECLARE(name) extern const soma_kernel name##_isa4;
#define SOMA_BF16_LIST(name) &name##_isa4,
#else
#define SOMA_BF16_DECLARE(name)
#define SOMA_BF16_LIST(name)
#endif

#if defined(__x86_64__) && defined(SOMA_BF16_EMULATED)
#define SOMA_ISA_DECLARE(name) extern const soma_kernel name##_isa0, name##_isa2;
#define SOMA_ISA_LIST(name) &name##_isa2, &name##_isa0,
#elif defined(__x86_64__)
#define SOMA_ISA_DECLARE(name) extern const soma_kernel name##_isa0, name##_isa2, name##_isa3;
#define SOMA_ISA_LIST(name) &name##_isa3, &name##_isa2, &name##_isa0,
#else
#define SOMA_ISA_DECLARE(name) extern const soma_kernel name##_isa0;
#define SOMA_ISA_LIST(name) &name##_isa0,
#endif

/* A body that is written once and compiled for constant arguments. */
#define SOMA_INLINE static inline __attribute__((always_inline))

/* f32 lanes of a vector register at this level. */
#if SOMA_ISA_LEVEL == 3 || (SOMA_ISA_LEVEL == 4 && !defined(SOMA_BF16_EMULATED))
#define SOMA_LANES 16
#elif SOMA_ISA_LEVEL >= 2
#define SOMA_LANES 8
#else
#define SOMA_LANES 4
#endif

#endif
