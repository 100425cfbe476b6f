/* SPDX-License-Identifier: Apache-2.0
 *
 * cpu/isa.c: which instruction-set level and caches this CPU has, and the line that says what the library is
 * made of.
 */
#include "cpu/isa.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cpu/parallel.h"
#include "base/context.h"
#include "base/version.h"

/* What the compiler's run-time detection says; it also asks whether the system saves the wide registers. */
int soma_cpu_isa(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return 0;
#if defined(SOMA_BF16_EMULATED) || defined(SOMA_AVX512_EMULATED)
    return 4;
#endif
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return __builtin_cpu_supports("avx512bf16") ? 4 : 3;
    return 2;
#else
    return 0;
#endif
}

#ifdef SOMA_BF16_EMULATED
#define BF16_NAME "AVX2, bf16 emulated"
#elif defined(SOMA_AVX512_EMULATED)
#define BF16_NAME "AVX-512 bf16, emulated"
#else
#define BF16_NAME "AVX-512 bf16"
#endif

const char *soma_isa_name(int isa)
{
    return isa == 4 ? BF16_NAME : isa == 3 ? "AVX-512" : isa == 2 ? "AVX2" : "baseline";
}

void soma_cpu_name(char text[SOMA_CPU_NAME])
{
    snprintf(text, SOMA_CPU_NAME, "unknown CPU");
#if defined(__x86_64__)
    unsigned name[12];
    for (unsigned i = 0; i < 3; i++) /* the brand string: 48 bytes in three leaves */
        if (!__get_cpuid(0x80000002u + i, &name[4 * i], &name[4 * i + 1], &name[4 * i + 2], &name[4 * i + 3]))
            return;
    char brand[sizeof name + 1] = "";
    memcpy(brand, name, sizeof name);
    const char *begin = brand + strspn(brand, " ");
    size_t size = strlen(begin);
    while (size > 0 && begin[size - 1] == ' ')
        size--;
    if (size > 0) {
        memcpy(text, begin, size);
        text[size] = 0;
    }
#endif
}

/* A core's second level is its own. The third is shared, in a virtual machine also with strangers, and is reported
 * for the whole package there: no more than 8 MB a core is counted on. */
uint64_t soma_cache_bytes(void)
{
    const long fair = 8L << 20;
    long second = 0, third = 0;
#ifdef _SC_LEVEL3_CACHE_SIZE
    second = sysconf(_SC_LEVEL2_CACHE_SIZE);
    third = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
    uint64_t cores = (uint64_t)soma_cpu_count();
    uint64_t own = second > 0 ? (uint64_t)second : (uint64_t)512 << 10; /* unknown: a small one */
    uint64_t shared = third > 0 ? (uint64_t)third : 0;
    return cores * own + (shared < cores * (uint64_t)fair ? shared : cores * (uint64_t)fair);
}

const char *soma_build_info(void)
{
#define SOMA_BUILD_TEXT(isa) "soma " SOMA_VERSION ", " SOMA_COMPILER_TEXT ", " isa SOMA_LIBRARIES_TEXT
    switch (soma_cpu_isa()) { /* one literal each: nothing to compose at run time, nothing to free */
    case 4:
        return SOMA_BUILD_TEXT(BF16_NAME);
    case 3:
        return SOMA_BUILD_TEXT("AVX-512");
    case 2:
        return SOMA_BUILD_TEXT("AVX2");
    default:
        return SOMA_BUILD_TEXT("baseline instructions");
    }
#undef SOMA_BUILD_TEXT
}
