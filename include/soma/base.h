/* SPDX-License-Identifier: Apache-2.0
 *
 * soma/base.h: the context, errors, and the four seams (allocator, files, random numbers, clock).
 * Everything else in soma is opened from a context and freed with it.
 */
#ifndef SOMA_BASE_H
#define SOMA_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SOMA_VERSION_MAJOR 0
#define SOMA_VERSION_MINOR 1
#define SOMA_VERSION_PATCH 0
#define SOMA_VERSION "0.1.0"

#if defined(__GNUC__)
#define SOMA_API __attribute__((visibility("default")))
#define SOMA_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define SOMA_API
#define SOMA_PRINTF(f, a)
#endif

/** The version of the library in use; compare with #SOMA_VERSION, the version of the headers. */
SOMA_API const char *soma_version(void);

/** One line: version, compiler, instruction set in use, libraries found. The text lives as long as the library. */
SOMA_API const char *soma_build_info(void);

/** What an operational call returns. One list: name, code, meaning. */
#define SOMA_STATUS_LIST(X)                                                                                            \
    X(OK, 0, "success")                                                                                                \
    X(INVALID, 1, "an argument, shape, attribute or option is wrong")                                                  \
    X(MEMORY, 2, "memory could not be had, or the budget does not allow it")                                           \
    X(IO, 3, "a file could not be read or written")                                                                    \
    X(FORMAT, 4, "a file's content is not what it should be")                                                          \
    X(UNSUPPORTED, 5, "this build or this machine cannot do it")                                                       \
    X(DATA, 6, "a sample holds a value that the model cannot use (a label out of range, say)")                         \
    X(STATE, 7, "the call came at the wrong moment")                                                                   \
    X(END, 8, "no more batches in this epoch (not an error)")                                                          \
    X(CANCELLED, 9, "the caller asked to stop")

typedef enum soma_status {
#define SOMA_STATUS_ENUM(name, code, text) SOMA_##name = code,
    SOMA_STATUS_LIST(SOMA_STATUS_ENUM)
#undef SOMA_STATUS_ENUM
} soma_status;

/** The meaning of a status, a short phrase. */
SOMA_API const char *soma_status_text(soma_status status);

/** A place in the caller's source; the option macros fill it in. */
typedef struct soma_at {
    const char *file;
    int line; /**< counted from 1; 0: unknown; below 0: of a description that was read (-12: its line 12) */
} soma_at;

#ifdef __cplusplus
#define SOMA_AT (soma_at{__FILE__, __LINE__})
#else
#define SOMA_AT ((soma_at){__FILE__, __LINE__})
#endif

/** Zero that is meant. In an option struct 0 is "not said"; a field whose doc names SOMA_ZERO takes it for 0, and so
 *  does every field of type double that may be zero: .lr = SOMA_ZERO. A number that nobody means otherwise (about
 *  6.5e18), exact as int64_t, uint64_t, double and float, so that it is compared safely and is no narrowing in C++.
 *  Results, such as a soma_optimizer's numbers, hold plain 0. */
#define SOMA_ZERO INT64_C(0x5A45520000000000)

/* Option structs: the first field is struct_size, the second the caller's place; zero means default, #SOMA_ZERO zero.
 * A macro of the public API builds one from designated initialisers: SOMA_OPTIONS(T, .field = ...). */
#ifdef __cplusplus
} /* extern "C" */
namespace soma_cpp
{
template <class T> inline const T *pointer(const T &options)
{
    return &options;
}
} // namespace soma_cpp
extern "C" {
#define SOMA_OPTIONS(T, ...) soma_cpp::pointer(T{.struct_size = sizeof(T), .at = SOMA_AT, __VA_ARGS__})
#else
#define SOMA_OPTIONS(T, ...) (&(T){.struct_size = sizeof(T), .at = SOMA_AT, __VA_ARGS__})
#endif

/** The context: memory, threads, seed, log, first error. One thread at a time; distinct contexts are independent. */
typedef struct soma soma;

/** Seam 1. Lua's convention: new_size 0 frees and returns NULL; old_size is what the block was asked for.
 *  Blocks must be aligned for max_align_t; soma aligns further itself. */
typedef struct soma_allocator {
    void *(*resize)(void *user, void *block, size_t old_size, size_t new_size);
    void *user;
    uint64_t reserved[2]; /**< zero, as all that is called so in structs of other structs: room for what comes */
} soma_allocator;

/** Seam 2. Calls return 0 or a count on success and a negative errno on failure; short reads and writes are allowed. */
typedef struct soma_files {
    void *user;
    /** write: a new file, -EEXIST where there is one; never through a link. Returns a handle >= 0 */
    int (*open)(void *user, const char *path, bool write);
    int64_t (*size)(void *user, int handle);
    int64_t (*read)(void *user, int handle, void *bytes, size_t size);
    int64_t (*write)(void *user, int handle, const void *bytes, size_t size);
    int (*sync)(void *user, int handle);
    int (*close)(void *user, int handle);
    int (*rename)(void *user, const char *from, const char *to);
    int (*remove)(void *user, const char *path);
    int (*sync_folder)(void *user, const char *path); /**< the folder that holds path */
    /** Calls each(to, name) for every entry of a folder, in any order. May be NULL: folders cannot be listed then. */
    int (*list)(void *user, const char *path, void (*each)(void *to, const char *name), void *to);
    /** Writes what the symbolic link at path points to, without an end mark, and returns its length, at most `room`;
     *  -EINVAL: it is no link. May be NULL: links are replaced by files. */
    int64_t (*read_link)(void *user, const char *path, char *to, size_t room);
    /** Locks the file of that name for as long as the handle that it returns is open, without waiting: -EWOULDBLOCK
     *  where somebody else holds it, -ENOENT where it is gone, -ENOTSUP where there are no locks. May be NULL: what a
     *  killed process left behind is not removed. */
    int (*lock)(void *user, const char *path);
    /** May the file at path be replaced? 0 also where there is none; -EISDIR or -ESPIPE: it is no regular file. With a
     *  handle >= 0, the file behind it, which is to take its place, gets its mode and, as far as permitted, its owner.
     *  May be NULL. */
    int (*inherit)(void *user, const char *path, int handle);
    /** Can the file hold `size` bytes, as far as is known (space, quota, limits)? May be NULL. */
    int (*reserve)(void *user, int handle, uint64_t size);
    uint64_t reserved[8];
} soma_files;

/** Seam 3. Fills out from a counter and a key; the default is Philox 4x32-10. */
typedef struct soma_random {
    void (*draw)(void *user, const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
    void *user;
    uint64_t reserved[2];
} soma_random;

/** Seam 4. Seconds from any fixed point, never going back. */
typedef struct soma_clock {
    double (*now)(void *user);
    void *user;
    uint64_t reserved[2];
} soma_clock;

typedef enum soma_log_level { SOMA_LOG_INFO, SOMA_LOG_WARNING } soma_log_level;
typedef void (*soma_log_fn)(void *user, soma_log_level level, const char *text);

typedef struct soma_context_options {
    size_t struct_size;
    soma_at at;
    uint64_t seed;   /**< default 0, which is a seed like any other */
    int64_t threads; /**< 0: as many as the machine has for this process */
    bool exact;      /**< reference kernels only: the same bits on every machine, compiler and thread count */
    bool tune;       /**< every program is compiled as with soma_program_options.tune */
    soma_log_fn log;
    void *log_user;
    soma_allocator allocator;
    soma_files files;
    soma_random random;
    soma_clock clock;
    /** folders in which soma_dataset_open looks for a data set's name, a colon between them, the first that has it
     *  counts; copied. NULL: #SOMA_DATA_PATH; "": none */
    const char *data_path;
    /** How whoever uses this program writes a field of an option struct, such as "--batch-size" for "batch_size"; NULL
     *  where they have no word for it. Errors then speak of that instead of C's `.batch_size = 32`, and name no calls
     *  and no places in C. NULL: C. */
    const char *(*field_name)(void *user, const char *field);
    void *field_user;
} soma_context_options;

/** Where Debian's packages put data sets. */
#define SOMA_DATA_PATH "/usr/share/datasets"

/** Opens a context. NULL: all defaults. Returns NULL only when memory for the context itself cannot be had;
 *  every other mistake is reported by soma_failed. */
SOMA_API soma *soma_open(const soma_context_options *options);

/** Frees the context and everything opened from it that was not freed before. NULL is fine, here and in every
 *  soma_X_free. Handles are freed once, in any order: what another object still uses (a training its model and data, a
 *  program its model, a part its data set) is kept inside until that one is freed as well. soma_close comes last: it
 *  takes all handles of its context with it, which then may be neither used nor freed. */
SOMA_API void soma_close(soma *s);

/** True after an error and until soma_clear; true for NULL. */
SOMA_API bool soma_failed(const soma *s);

/** The first error since opening or soma_clear, one full sentence; "" when there was none. */
SOMA_API const char *soma_error(const soma *s);
SOMA_API soma_status soma_error_status(const soma *s);
SOMA_API void soma_clear(soma *s);

SOMA_API int soma_threads(const soma *s);
SOMA_API uint64_t soma_seed(const soma *s);

/** Bytes that the context holds now, the most it held, and how many allocations it made. */
typedef struct soma_memory {
    uint64_t now, peak, calls;
    uint64_t reserved[2];
} soma_memory;
SOMA_API soma_memory soma_memory_use(const soma *s);

#ifdef __cplusplus
}
#endif
#endif
