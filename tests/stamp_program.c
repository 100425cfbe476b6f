/* SPDX-License-Identifier: Apache-2.0
 *
 * Makes a model file that is wrong in one place and otherwise sound: stamp_program IN OUT OLD NEW writes IN with NEW
 * instead of the first OLD in its header, the header's length and the file's hash made to fit. For
 * tests/check-bad-input: what stands behind the hash is only reached with a hash that is right.
 */
#include "io/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    char *bytes = file && fseek(file, 0, SEEK_END) == 0 ? malloc((size_t)ftell(file) + 1) : NULL;
    *size = bytes ? (size_t)ftell(file) : 0;
    if (bytes && (fseek(file, 0, SEEK_SET) || fread(bytes, 1, *size, file) != *size)) {
        free(bytes);
        bytes = NULL;
    }
    if (file)
        fclose(file);
    if (bytes)
        bytes[*size] = 0;
    return bytes;
}

int main(int argc, char **argv)
{
    size_t size;
    char *in = argc == 5 ? read_file(argv[1], &size) : NULL, *old = in ? strstr(in + 8, argv[3]) : NULL;
    if (!old) {
        fprintf(stderr, "usage: stamp_program IN OUT OLD NEW, with OLD in IN's header\n");
        return 2;
    }
    size_t header = 0, before = (size_t)(old - in), removed = strlen(argv[3]), added = strlen(argv[4]);
    for (int i = 7; i >= 0; i--)
        header = header << 8 | (unsigned char)in[i];
    size_t end = 8 + header, length = header - removed + added, padded = (length + 7) / 8 * 8;
    char *out = calloc(1, 8 + padded + size - end);
    for (int i = 0; out && i < 8; i++)
        out[i] = (char)(padded >> 8 * i);
    if (!out)
        return 2;
    memcpy(out + 8, in + 8, before - 8);
    memcpy(out + before, argv[4], added);
    memcpy(out + before + added, old + removed, end - before - removed);
    memset(out + 8 + length, ' ', padded - length);
    memcpy(out + 8 + padded, in + end, size - end);
    size = 8 + padded + size - end;
    char *hash = strstr(out + 8, "\"soma.hash\":\""), digits[17];
    if (hash) {
        hash += strlen("\"soma.hash\":\"");
        memset(hash, '0', 16);
        snprintf(digits, sizeof digits, "%016llx", (unsigned long long)soma_hash_once(out, size));
        memcpy(hash, digits, 16);
    }
    FILE *file = fopen(argv[2], "wb");
    bool done = file && fwrite(out, 1, size, file) == size;
    done = file && fclose(file) == 0 && done;
    free(in);
    free(out);
    return done ? 0 : 2;
}
